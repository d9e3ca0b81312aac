//! How a run becomes the writer of its lake, in two phases.
//!
//! *Preflight* only reads. Everything that can refuse a start is looked at there, while another process may be writing to the
//! lake, so a start that is refused leaves that process alone. The *takeover* then shuts that process out. By then it may have
//! committed more than preflight saw, so nothing may be refused any more: where the lake is ahead of what Kafka said before, the
//! lake is right.

use std::collections::BTreeMap;
use std::path::Path;
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
use crate::lake::{Committer, Holder, Identity, LakeFile, Snapshot, WriterProcess, balance};
use crate::process::threads::{Background, unless_stopped};
use crate::source::kafka::{Origin, PASSED, Resumption, check_remade, extents, lost, patiently, resume};
use crate::source::lake::Counted;

/// A lake that has been taken over, and what the charts begin with.
pub struct Opened {
    pub origin: Arc<Origin>,
    pub committer: Committer,
    /// Where each partition goes on.
    pub starts: BTreeMap<i32, i64>,
    pub snapshot: Snapshot,
    pub checkpoint: Option<Arc<Checkpoint>>,
    pub counted: Option<Arc<Counted>>,
}

/// What a start has found out before it changes anything.
struct Preflight {
    identity: Identity,
    extents: BTreeMap<i32, Extent>,
    origin: Arc<Origin>,
    /// Where the clock is to be set back to, in µs since 1970.
    clock_us: Option<i64>,
}

impl Run {
    /// Takes the lake over for this process, which answers HTTP at `address`, and finds out where each partition goes on. Also
    /// gives what watches over the lake while this process writes to it. Nothing if it was stopped meanwhile.
    ///
    /// # Errors
    /// Whatever speaks against going on with this lake. Nothing has changed then, and the process that writes to the lake goes on.
    pub(super) fn open(&self, address: &str, stop: &AtomicBool) -> Result<Option<(Opened, Background)>> {
        let (broker, lake, accept_gap) = (self.broker.clone(), self.lake.clone(), self.accept_gap);
        let reset_by = self.reset_clock.then(|| self.definitions.clone());
        let look = move || preflight(&broker, &lake, accept_gap, reset_by.as_deref());
        let Some(preflight) = unless_stopped(stop, look)? else { return Ok(None) };
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
    /// What the other processes are told, with the URL of this one.
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

/// Looks at the topic and at the lake, which another process may be writing to.
fn preflight(broker: &TopicConfig, lake: &Path, accept_gap: bool, reset_by: Option<&Definitions>) -> Result<Preflight> {
    let asker = broker.asker()?;
    broker.partitions(&asker)?;
    let identity = identity(broker, &asker)?;
    // In this order: then Kafka has all that the lake has.
    let found = Committer::found(lake, &identity)?;
    let refused = "cannot go on with this lake";
    let extents = extents(broker, &asker, &found).context(refused)?;
    let topic = &broker.topic;
    ensure!(
        self::identity(broker, &asker)? == identity,
        "topic {topic} is being deleted and made again: start again when that is done"
    );
    let gaps = resume(&extents, &found, false).gaps;
    if !gaps.is_empty() && !accept_gap {
        return Err(lost(topic, &gaps)).context(refused);
    }
    check_remade(broker, &extents, &found)?;
    balance::check(lake)?;
    let origin = Arc::new(Origin::new(broker, identity.topic_id.clone())?);
    let reset_by = reset_by.filter(|_| found.clock_us.is_some());
    let clock_us = reset_by.map(|definitions| clock::of_plays(lake, definitions)).transpose()?.flatten();
    Ok(Preflight { identity, extents, origin, clock_us })
}

/// Which topic of which cluster it is.
fn identity(broker: &TopicConfig, asker: &Consumer) -> Result<Identity> {
    let topic = &broker.topic;
    // For a moment a partition may have no leader, and then there is nobody to ask.
    let topic_id = patiently(ANSWER_TIMEOUT, || Ok(broker.topic_id(asker, ANSWER_TIMEOUT)?));
    let topic_id = topic_id.with_context(|| format!("{} does not tell the id of topic {topic}", broker.servers))?;
    Ok(Identity { cluster_id: broker.cluster_id(asker)?, topic: topic.clone(), topic_id })
}

/// Plays of the lake that no checkpoint has counted.
pub fn rows_to_read(snapshot: &Snapshot, counted: Option<&Counted>) -> u64 {
    let is_counted = |file: &LakeFile| counted.is_some_and(|counted| counted.files.contains(&file.path));
    snapshot.files().iter().filter(|file| !is_counted(file)).map(|file| file.rows).sum()
}
