//! A run from its start to its end: the lake is opened, threads are started around the dataflow, and all of it ends together.
//!
//! `reprise run` and `reprise demo` are this with different options. In a cluster it is process 0 that does this; the others
//! follow it.

mod follow;
mod start;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use reprise_dataflows::definition::Definitions;
use reprise_dataflows::plan::Plan;
use tracing::{info, warn};
use url::Url;

use crate::background::{Background, Closing, unless_stopped};
use crate::broker::{ANSWER_TIMEOUT, Broker, Extent};
use crate::changelog;
use crate::charts::{AsOf, Charts};
use crate::checkpoint::{self, Checkpoint};
use crate::cluster::place::is_loopback;
use crate::cluster::view::View;
use crate::cluster::{Place, Profile, Team, join};
use crate::ending::{Ending, fail};
use crate::engine::{Engine, Live};
use crate::lake::care;
use crate::lake::{self, Committer, Identity, LakeFile, Room, Snapshot, balance};
use crate::memory;
use crate::monitor::monitor;
use crate::otlp;
use crate::publish::publisher;
use crate::serve::status::Phase;
use crate::serve::{self, Access, Shared, Status};
use crate::source::kafka::{Found, Origin, PASSED, Resumption, check_remade, discover, lost, resume};
use crate::source::lake::{Counted, Progress};
use crate::tick::Pace;
use start::Start;

/// Between the stop of one process and that of another by the same hand, at most.
const STOP_TOGETHER: Duration = Duration::from_millis(300);

/// What is read, where it goes, and how often things happen.
pub struct Run {
    pub broker: Broker,
    /// An absolute path.
    pub lake: PathBuf,
    /// Of this process.
    pub workers: usize,
    /// The cluster that this process is in, if it is in one.
    pub place: Option<Place>,
    pub definitions: Arc<Definitions>,
    pub listen: SocketAddr,
    pub access: Access,
    /// Begin at the end of partitions that a new lake has no offset for, instead of at their first offset.
    pub from_latest: bool,
    /// Go on behind offsets that Kafka no longer has.
    pub accept_gap: bool,
    /// What this process may hold, instead of most of what there is.
    pub memory_max_bytes: Option<u64>,
    pub pace: Pace,
    pub care: care::Spans,
    pub checkpoint_interval: Duration,
    /// The topic that changes of the charts are published to, if they are.
    pub changelog: Option<String>,
    /// The collector that gets the metrics.
    pub otlp: Option<Url>,
    /// Lines below the live table.
    pub notes: Vec<String>,
}

/// A lake that has been taken over, and what the charts begin with.
struct Opened {
    origin: Arc<Origin>,
    committer: Committer,
    /// Where each partition goes on.
    starts: BTreeMap<i32, i64>,
    snapshot: Snapshot,
    checkpoint: Option<Arc<Checkpoint>>,
    counted: Option<Arc<Counted>>,
}

impl Run {
    /// Whether this process is one of a cluster that commits and serves nothing by itself, and is to [`Run::follow`].
    pub fn is_follower(&self) -> bool {
        self.place.as_ref().is_some_and(|place| place.process > 0)
    }

    /// Runs until `stop` is set, or all is read if that is asked for. `started` is called when HTTP answers.
    pub fn run(self, stop: Arc<AtomicBool>, started: impl FnOnce(&Arc<Shared>) -> Result<()>) -> Result<Arc<Shared>> {
        let shared = Arc::new(Shared::new(Charts::new(self.definitions.clone())));
        // Before the lake is taken over: a second start by mistake ends here, and leaves the first one alone.
        let server = serve::start(self.listen, shared.clone(), self.access.clone())?;
        let begun = Arc::new(AtomicBool::new(false));
        let Some(team) = self.team(&stop, &begun)? else { return Ok(shared) };
        let watch = team.watch()?;
        let Some(opened) = self.open(&stop)? else {
            team.leave();
            return Ok(shared);
        };
        let address = format!("http://{}", server.address);
        team.announce(&opened.start(self.seen_by_others(server.address)))?;
        self.tell(&opened, &shared, &address, &team);
        let (lake, partitions) = (self.lake.display(), opened.starts.len());
        info!(%address, %lake, workers = team.workers(), partitions, "running");
        started(&shared)?;
        let rebuilt = Arc::new(Progress {
            rows_total: rows_to_read(&opened.snapshot, opened.counted.as_deref()),
            ..Progress::default()
        });
        let (ending, found) = (Ending::new(stop), Arc::<Found>::default());
        let known = opened.starts.keys().copied().collect();
        let threads = (
            monitor(shared.clone(), self.broker.clone(), rebuilt.clone(), self.notes.clone())?,
            publisher(shared.clone(), &self.broker)?,
            self.changelog(&shared)?,
            discover(&self.broker, opened.origin.clone(), known, found.clone(), ending.clone())?,
            self.caretaker(&shared)?,
            self.otlp.as_ref().map(|endpoint| otlp::export(endpoint, shared.clone())).transpose()?,
            self.watch_memory(&ending)?,
        );
        let engine = self.engine(opened, team, rebuilt, found, shared.clone(), ending.clone());
        drop(watch);
        engine.team.await_all()?;
        begun.store(true, Ordering::Relaxed);
        engine.run()?;
        drop(threads);
        server.stop();
        ending.outcome()?;
        Ok(shared)
    }

    /// Ends the run when it holds more than it may.
    fn watch_memory(&self, ending: &Ending) -> Result<Background> {
        let ending = ending.clone();
        memory::watch(self.memory_max_bytes, move |error| ending.because(error))
    }

    /// The workers, with those of the other processes. None if it was stopped before all had come. Until the run has `begun` there
    /// is nothing to commit, so who is to stop then may lose others that are as well.
    fn team(&self, stop: &Arc<AtomicBool>, begun: &Arc<AtomicBool>) -> Result<Option<Team>> {
        let Some(place) = &self.place else { return Ok(Some(Team::alone(self.workers))) };
        let mut profile = Profile::new("run", self.workers, &self.definitions);
        profile.set("topic", &self.broker.topic);
        profile.set("option --accept-gap", self.accept_gap);
        let (stops, has_begun) = (stop.clone(), begun.clone());
        let lost = move |error| {
            if !has_begun.load(Ordering::Relaxed) {
                // Those who are asked to stop are not asked at the same moment.
                std::thread::sleep(STOP_TOGETHER);
                if stops.load(Ordering::Relaxed) {
                    std::process::exit(0);
                }
            }
            fail(error);
        };
        let cluster = join(place, &profile, stop, Arc::new(lost))?;
        Ok(cluster.map(|cluster| Team { threads: self.workers, cluster: Some(cluster) }))
    }

    /// Where the other processes send those who want charts, as a URL; none if this process listens on loopback and they may be
    /// elsewhere.
    fn seen_by_others(&self, address: SocketAddr) -> Option<String> {
        let first = self.place.as_ref()?.addresses.first()?;
        let (host, _) = first.rsplit_once(':')?;
        match address.ip() {
            ip if ip.is_unspecified() => Some(format!("http://{host}:{}", address.port())),
            ip if ip.is_loopback() && !is_loopback(first) => None,
            _ => Some(format!("http://{address}")),
        }
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
        let origin = Arc::new(Origin::new(&self.broker, identity.topic_id)?);
        let same = origin.clone();
        committer.check_origin_by(move |read| same.check_read(read));
        committer.begin(&starts)?;
        committer.pass(&gaps)?;
        let snapshot = Snapshot::open(&self.lake, None)?;
        balance::check(&self.lake, &snapshot)?;
        let checkpoint = checkpoint::newest(&self.lake, &snapshot, &Plan::new(&self.definitions))?.map(Arc::new);
        let counted = checkpoint.as_ref().map(|checkpoint| checkpoint.counted(&snapshot));
        Ok(Some(Opened { origin, committer, starts, snapshot, checkpoint, counted }))
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
    fn tell(&self, opened: &Opened, shared: &Shared, address: &str, team: &Team) {
        let (progress, version) = (opened.snapshot.progress(), opened.snapshot.version());
        let max_bytes = memory::limit_bytes(self.memory_max_bytes);
        shared.limit_memory(max_bytes.unwrap_or(0));
        let missing = progress.missing.values().sum::<i64>().unsigned_abs();
        shared.began(&progress.offsets, missing);
        let epoch = progress.epoch.unwrap_or(0);
        shared.opened(
            progress.incarnation,
            AsOf { epoch, clock_us: progress.clock_us, lake_version: Some(version), durable: true },
        );
        *shared.status_mut() = Status {
            topic: self.broker.topic.clone(),
            processes: team.processes(),
            workers: team.workers(),
            address: address.to_owned(),
            lake: self.lake.display().to_string(),
            lake_version: Some(version),
            phase: Phase::Rebuilding,
            lake_dead_letters: balance::dead_letters(&opened.snapshot),
            lake_plays: opened.snapshot.files().iter().map(|file| file.rows).sum(),
            checkpoint_version: opened.checkpoint.as_ref().map(|checkpoint| checkpoint.manifest.version),
            missing,
            started_at_us: SystemTime::now().duration_since(UNIX_EPOCH).ok().map(|since| since.as_micros() as i64),
            ..Status::default()
        };
    }

    /// The thread that publishes changes of the charts, if there is a topic for them.
    fn changelog(&self, shared: &Arc<Shared>) -> Result<Option<Closing>> {
        let topic = self.changelog.as_deref();
        topic.map(|topic| changelog::start(shared.clone(), &self.broker, topic, &self.lake)).transpose()
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
        team: Team,
        rebuilt: Arc<Progress>,
        found: Arc<Found>,
        shared: Arc<Shared>,
        ending: Ending,
    ) -> Engine {
        let Opened { committer, starts, snapshot, checkpoint, counted, .. } = opened;
        let paused = shared.clone();
        Engine {
            team: Arc::new(team),
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
                room: Room::new(ending.asked(), move |reason| paused.pause(reason)),
                committer: Mutex::new(Some(committer)),
            }),
            shared,
            ending,
            fail,
        }
    }
}

impl Opened {
    /// What the other processes are told, with the URL of this one.
    fn start(&self, leader: Option<String>) -> Start {
        let progress = self.committer.progress();
        Start {
            incarnation: progress.incarnation,
            last_epoch: progress.epoch,
            starts: self.starts.clone(),
            cluster_id: self.snapshot.cluster_id().map(str::to_owned),
            view: View::of(&self.snapshot),
            checkpoint: self.checkpoint.as_ref().map(|checkpoint| checkpoint.manifest.version),
            leader,
        }
    }
}

/// Plays of the lake that no checkpoint has counted.
fn rows_to_read(snapshot: &Snapshot, counted: Option<&Counted>) -> u64 {
    let is_counted = |file: &LakeFile| counted.is_some_and(|counted| counted.files.contains(&file.path));
    snapshot.files().iter().filter(|file| !is_counted(file)).map(|file| file.rows).sum()
}

/// What the broker says of the topic.
fn look(broker: &Broker) -> Result<(Identity, BTreeMap<i32, Extent>)> {
    let consumer = broker.asker()?;
    let partitions = broker.partitions(&consumer)?;
    let topic_id = || {
        let topic_id = broker.topic_id(&consumer, ANSWER_TIMEOUT);
        topic_id.with_context(|| format!("{} does not tell the id of topic {}", broker.servers, broker.topic))
    };
    let before = topic_id()?;
    let extents = broker.extents(&consumer, &partitions, ANSWER_TIMEOUT)?;
    let topic_id = topic_id()?;
    ensure!(topic_id == before, "topic {} is being made anew: start again when that is done", broker.topic);
    Ok((Identity { cluster_id: broker.cluster_id(&consumer)?, topic: broker.topic.clone(), topic_id }, extents))
}
