//! Takes over the lake for a run, in two phases.
//!
//! *Preflight* only reads. All checks that can refuse a start are made there, while another process
//! may still be writing to the lake, so a refused start does not disturb that process. The
//! *takeover* then fences that process off. By then it may have committed more than preflight saw,
//! so the takeover refuses nothing: where the lake is ahead of the offsets that preflight got from
//! Kafka, the lake is right.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, ensure};
use reprise_dataflows::rules::definition::Definitions;
use reprise_dataflows::rules::plan::Plan;
use tracing::warn;

use super::clock;
use super::options::Run;
use super::start::Start;
use crate::checkpoint::{self, Checkpoint};
use crate::cluster::view::View;
use crate::kafka::{ANSWER_TIMEOUT, Consumer, Extent, TopicConfig};
use crate::lake::store::Place;
use crate::lake::{Committer, Holder, Identity, LakeFile, Snapshot, WriterProcess, balance};
use crate::process::threads::{Background, unless_stopped};
use crate::source::kafka::{Origin, PASSED, Resumption, check_recreated, extents, lost, resume, retry_for};
use crate::source::lake::Counted;

/// A lake that has been taken over, and the state that the run begins with.
pub struct Opened {
    /// Checks that the topic is still the one that the lake was made from.
    pub origin: Arc<Origin>,
    /// The writer of the lake.
    pub committer: Committer,
    /// The next offset of each partition.
    pub starts: BTreeMap<i32, i64>,
    /// The lake as of the takeover.
    pub snapshot: Snapshot,
    /// The newest usable checkpoint of `snapshot`, if there is one.
    pub checkpoint: Option<Arc<Checkpoint>>,
    /// The part of `snapshot` that `checkpoint` has counted.
    pub counted: Option<Arc<Counted>>,
}

/// The results of the checks before anything is changed.
struct Preflight {
    identity: Identity,
    extents: BTreeMap<i32, Extent>,
    origin: Arc<Origin>,
    /// The clock that `--reset-clock` sets, in µs since 1970.
    clock_us: Option<i64>,
}

impl Run {
    /// Takes the lake over for this process, which serves HTTP at `address`, and determines where
    /// each partition resumes. The [`Background`] watches whether another process takes the lake
    /// over in turn. `None` if `stop` is set meanwhile.
    ///
    /// # Errors
    /// If preflight refuses to resume from this lake: nothing has changed then, and the process
    /// that writes to the lake continues. Also if the takeover itself fails.
    pub(super) fn open(&self, address: &str, stop: &AtomicBool) -> Result<Option<(Opened, Background)>> {
        let (broker, lake, accept_gap) = (self.broker.clone(), self.lake.clone(), self.accept_gap);
        let reset_by = self.reset_clock.then(|| self.definitions.clone());
        let check = move || preflight(&broker, &lake, accept_gap, reset_by.as_deref());
        let Some(preflight) = unless_stopped(stop, check)? else { return Ok(None) };
        let holder = Holder::take(&self.lake, WriterProcess::this(address.to_owned()), self.take_over)?;
        self.take_over(preflight, holder).map(Some)
    }

    fn take_over(&self, preflight: Preflight, holder: Holder) -> Result<(Opened, Background)> {
        let Preflight { identity, extents, origin, clock_us } = preflight;
        let mut committer = Committer::open(&self.lake, &identity)?;
        let Resumption { starts, gaps } = resume(&extents, committer.progress(), self.from_latest);
        for gap in &gaps {
            let topic = &self.broker.topic;
            warn!(topic, partition = gap.partition, first = gap.first, end = gap.end, "{}", PASSED);
        }
        let same = origin.clone();
        committer.check_origin_by(move |read| same.check_read(read));
        committer.begin(&starts)?;
        committer.pass(&gaps)?;
        let watch = holder.watch(&self.lake, committer.progress())?;
        if let Some(clock_us) = clock_us {
            clock::set_back(&mut committer, clock_us)?;
        }
        let snapshot = Snapshot::open(&self.lake, None)?;
        let checkpoint = checkpoint::newest(&self.lake, &snapshot, &Plan::new(&self.definitions)).map(Arc::new);
        let counted = checkpoint.as_ref().map(|checkpoint| checkpoint.counted(&snapshot));
        Ok((Opened { origin, committer, starts, snapshot, checkpoint, counted }, watch))
    }
}

impl Opened {
    /// The message that tells the other processes where to begin. `leader` is the URL of this one.
    pub fn start(&self, leader: Option<String>) -> Start {
        let progress = self.committer.progress();
        Start {
            incarnation: progress.incarnation,
            last_epoch: progress.epoch,
            starts: self.starts.clone(),
            view: View::of(&self.snapshot),
            checkpoint: self.checkpoint.as_ref().map(|checkpoint| checkpoint.manifest.version),
            leader,
        }
    }
}

/// Checks the topic and the lake without changing them. Another process may be writing to the lake.
fn preflight(
    broker: &TopicConfig,
    lake: &Place,
    accept_gap: bool,
    reset_by: Option<&Definitions>,
) -> Result<Preflight> {
    let consumer = broker.metadata_consumer()?;
    broker.partitions(&consumer)?;
    let identity = identity(broker, &consumer)?;
    // The lake's offsets are read first: Kafka then has at least the records that the lake has.
    let found = Committer::found(lake, &identity)?;
    let refused = "cannot resume from this lake";
    let extents = extents(broker, &consumer, &found).context(refused)?;
    let topic = &broker.topic;
    ensure!(
        self::identity(broker, &consumer)? == identity,
        "topic {topic} is being deleted and created again: start again when that is done"
    );
    let gaps = resume(&extents, &found, false).gaps;
    if !gaps.is_empty() && !accept_gap {
        return Err(lost(topic, &gaps)).context(refused);
    }
    check_recreated(broker, &extents, &found)?;
    balance::check(lake)?;
    let origin = Arc::new(Origin::new(broker, identity.topic_id.clone())?);
    let reset_by = reset_by.filter(|_| found.clock_us.is_some());
    let clock_us = reset_by.map(|definitions| clock::of_plays(lake, definitions)).transpose()?.flatten();
    Ok(Preflight { identity, extents, origin, clock_us })
}

/// The topic and cluster that `broker` points to.
fn identity(broker: &TopicConfig, consumer: &Consumer) -> Result<Identity> {
    let topic = &broker.topic;
    // A partition has no leader for a moment after an election, and the request fails then.
    let topic_id = retry_for(ANSWER_TIMEOUT, || Ok(broker.topic_id(consumer, ANSWER_TIMEOUT)?));
    let topic_id = topic_id.with_context(|| format!("{} does not return the id of topic {topic}", broker.servers))?;
    Ok(Identity { cluster_id: broker.cluster_id(consumer)?, topic: topic.clone(), topic_id })
}

/// The number of plays in `snapshot` that no checkpoint has counted.
pub fn rows_to_read(snapshot: &Snapshot, counted: Option<&Counted>) -> u64 {
    let is_counted = |file: &LakeFile| counted.is_some_and(|counted| counted.files.contains(&file.place));
    snapshot.files().iter().filter(|file| !is_counted(file)).map(|file| file.rows).sum()
}
