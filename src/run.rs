//! A run from its start to its end: the lake is opened, threads are started around the dataflow, and all of it ends together.
//!
//! `reprise run` and `reprise demo` are this with different options.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use reprise_dataflows::definition::Definitions;
use reprise_dataflows::plan::Plan;
use tracing::{info, warn};

use crate::background::Background;
use crate::broker::{ANSWER_TIMEOUT, Broker, Extent};
use crate::charts::{AsOf, Charts};
use crate::checkpoint::{self, Checkpoint};
use crate::ending::{Ending, fail};
use crate::engine::{Engine, Live};
use crate::lake::care;
use crate::lake::{self, Committer, Identity, LakeFile, Room, Snapshot, balance};
use crate::monitor::monitor;
use crate::publish::Publisher;
use crate::serve::{self, Shared, Status};
use crate::source::kafka::{Found, PASSED, Resumption, check_remade, discover, lost, resume};
use crate::source::lake::{Counted, Progress};
use crate::tick::Pace;

/// How soon somebody who wants to leave is heard while Kafka does not answer.
const STOP_INTERVAL: Duration = Duration::from_millis(50);

/// What is read, where it goes, and how often things happen.
pub struct Run {
    pub broker: Broker,
    /// An absolute path.
    pub lake: PathBuf,
    pub workers: usize,
    pub definitions: Arc<Definitions>,
    pub listen: SocketAddr,
    /// Begin at the end of partitions that a new lake has no offset for, instead of at their first offset.
    pub from_latest: bool,
    /// Go on behind offsets that Kafka no longer has.
    pub accept_gap: bool,
    pub pace: Pace,
    pub care: care::Spans,
    pub checkpoint_interval: Duration,
    /// Lines below the live table.
    pub notes: Vec<String>,
}

/// A lake that has been taken over, and what the charts begin with.
struct Opened {
    committer: Committer,
    /// Where each partition goes on.
    starts: BTreeMap<i32, i64>,
    snapshot: Snapshot,
    checkpoint: Option<Arc<Checkpoint>>,
    counted: Option<Arc<Counted>>,
}

impl Run {
    /// Runs until `stop` is set, or all is read if that is asked for. `started` is called when HTTP answers.
    pub fn run(self, stop: Arc<AtomicBool>, started: impl FnOnce(&Arc<Shared>) -> Result<()>) -> Result<Arc<Shared>> {
        let shared = Arc::new(Shared::new(Charts::new(self.definitions.clone())));
        // Before the lake is taken over: a second start by mistake ends here, and leaves the first one alone.
        let server = serve::start(self.listen, shared.clone())?;
        let Some(opened) = self.open(&stop)? else { return Ok(shared) };
        let address = format!("http://{}", server.address);
        self.tell(&opened, &shared, &address);
        let (lake, partitions) = (self.lake.display(), opened.starts.len());
        info!(%address, %lake, workers = self.workers, partitions, "running");
        started(&shared)?;
        let rebuilt = Arc::new(Progress { rows_total: opened.rows_to_read(), ..Progress::default() });
        let paused = shared.clone();
        let room = Room::new(stop.clone(), move |reason| paused.status_mut().paused = reason);
        let (ending, found) = (Ending::new(stop), Arc::<Found>::default());
        let known = opened.starts.keys().copied().collect();
        let threads = (
            monitor(shared.clone(), self.broker.clone(), rebuilt.clone(), self.notes.clone())?,
            Publisher::start(shared.clone(), &self.broker)?,
            discover(&self.broker, known, found.clone(), ending.clone())?,
            self.caretaker(&shared)?,
        );
        self.engine(opened, rebuilt, room, found, shared.clone(), ending.clone()).run()?;
        drop(threads);
        server.stop();
        ending.outcome()?;
        Ok(shared)
    }

    /// Takes the lake over, and finds out where each partition goes on. Nothing if it was stopped meanwhile.
    fn open(&self, stop: &AtomicBool) -> Result<Option<Opened>> {
        let broker = self.broker.clone();
        let Some((identity, extents)) = unless_stopped(stop, move || look(&broker))? else { return Ok(None) };
        // Before the lake is taken over: who is refused must not have ended the instance that writes to it.
        let found = Committer::found(&self.lake, &identity)?;
        self.resume(&extents, &found)?;
        let (broker, known) = (self.broker.clone(), extents.clone());
        if unless_stopped(stop, move || check_remade(&broker, &known, &found))?.is_none() {
            return Ok(None);
        }
        let mut committer = Committer::open(&self.lake, &identity)?;
        let Resumption { starts, gaps } = self.resume(&extents, committer.progress())?;
        for gap in &gaps {
            let topic = &self.broker.topic;
            warn!(topic, partition = gap.partition, first = gap.first, end = gap.end, "{}", PASSED);
        }
        committer.begin(&starts)?;
        committer.pass(&gaps)?;
        let snapshot = Snapshot::open(&self.lake, None)?;
        balance::check(&self.lake, &snapshot)?;
        let checkpoint = checkpoint::newest(&self.lake, &snapshot, &Plan::new(&self.definitions))?.map(Arc::new);
        let counted = checkpoint.as_ref().map(|checkpoint| checkpoint.counted(&snapshot));
        Ok(Some(Opened { committer, starts, snapshot, checkpoint, counted }))
    }

    /// Where a lake that has come so far goes on, if it can.
    fn resume(&self, extents: &BTreeMap<i32, Extent>, progress: &lake::Progress) -> Result<Resumption> {
        let resumption = resume(&self.broker.topic, extents, progress, self.from_latest).and_then(|resumption| {
            let accepted = self.accept_gap || resumption.gaps.is_empty();
            if accepted { Ok(resumption) } else { Err(lost(&self.broker.topic, &resumption.gaps)) }
        });
        resumption.context("cannot go on with this lake")
    }

    /// Tells those who ask what the run begins with.
    fn tell(&self, opened: &Opened, shared: &Shared, address: &str) {
        let (progress, version) = (opened.snapshot.progress(), opened.snapshot.version());
        let missing = progress.missing.values().sum::<i64>().unsigned_abs();
        shared.began(&progress.offsets, missing);
        let epoch = progress.epoch.unwrap_or(0);
        shared.opened(AsOf { epoch, clock_us: progress.clock_us, lake_version: Some(version), durable: true });
        *shared.status_mut() = Status {
            topic: self.broker.topic.clone(),
            workers: self.workers,
            address: address.to_owned(),
            lake: self.lake.display().to_string(),
            lake_version: Some(version),
            lake_plays: opened.snapshot.files().iter().map(|file| file.rows).sum(),
            checkpoint_version: opened.checkpoint.as_ref().map(|checkpoint| checkpoint.manifest.version),
            missing,
            started_at_us: SystemTime::now().duration_since(UNIX_EPOCH).ok().map(|since| since.as_micros() as i64),
            ..Status::default()
        };
    }

    /// The thread that looks after the lake.
    fn caretaker(&self, shared: &Arc<Shared>) -> Result<Background> {
        let (lake, plan) = (self.lake.clone(), Plan::new(&self.definitions));
        let checkpoints = checkpoint::chore(lake, plan, self.checkpoint_interval, shared.clone());
        let interval = self.care.compact_after.min(self.care.retain).min(self.checkpoint_interval);
        let care = care::chore(self.lake.clone(), self.care);
        let ready = shared.clone();
        let is_ready = move || ready.ready.load(Ordering::Relaxed);
        care::caretaker(interval, is_ready, vec![("making a checkpoint", checkpoints), ("the care of the lake", care)])
    }

    fn engine(
        self,
        opened: Opened,
        rebuilt: Arc<Progress>,
        room: Room,
        found: Arc<Found>,
        shared: Arc<Shared>,
        ending: Ending,
    ) -> Engine {
        let Opened { committer, starts, snapshot, checkpoint, counted } = opened;
        Engine {
            workers: self.workers,
            definitions: self.definitions,
            pace: self.pace,
            last_epoch: committer.progress().epoch,
            clock_us: snapshot.progress().clock_us,
            checkpoint,
            counted,
            files: snapshot.files().to_vec(),
            times_us: i64::MIN..i64::MAX,
            progress: rebuilt,
            live: Some(Live {
                broker: self.broker,
                starts: starts.into_iter().collect(),
                found,
                accept_gap: self.accept_gap,
                lake: self.lake,
                incarnation: committer.progress().incarnation,
                room,
                committer: Mutex::new(Some(committer)),
            }),
            shared,
            ending,
            fail,
        }
    }
}

impl Opened {
    /// Plays of the lake that no checkpoint has counted.
    fn rows_to_read(&self) -> u64 {
        let is_counted = |file: &LakeFile| self.counted.as_ref().is_some_and(|it| it.files.contains(&file.path));
        self.snapshot.files().iter().filter(|file| !is_counted(file)).map(|file| file.rows).sum()
    }
}

/// What the broker says of the topic.
fn look(broker: &Broker) -> Result<(Identity, BTreeMap<i32, Extent>)> {
    let consumer = broker.consumer()?;
    let partitions = broker.partitions(&consumer)?;
    let extents = broker.extents(&consumer, &partitions, ANSWER_TIMEOUT)?;
    Ok((Identity { cluster_id: broker.cluster_id(&consumer)?, topic: broker.topic.clone() }, extents))
}

/// Asks Kafka on a thread of its own, since that may take long, and does not wait for the answer when `stop` is set.
fn unless_stopped<T: Send + 'static>(
    stop: &AtomicBool,
    ask: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<Option<T>> {
    let (answered, answer) = channel();
    let ask = move || drop(answered.send(ask()));
    std::thread::Builder::new().name("reprise-ask".to_owned()).spawn(ask).context("a thread cannot be started")?;
    loop {
        if stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        match answer.recv_timeout(STOP_INTERVAL) {
            Ok(answer) => return answer.map(Some),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => bail!("the thread that asks Kafka has died"),
        }
    }
}
