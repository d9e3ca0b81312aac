//! A run from its start to its end: the lake is opened, threads are started around the dataflow, and all of it ends together.
//!
//! `reprise run` and `reprise demo` are this with different options. In a cluster it is process 0 that does this; the others
//! follow it.

mod clock;
mod follow;
mod open;
mod start;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Error, Result, anyhow};
use reprise_dataflows::definition::Definitions;
use reprise_dataflows::plan::Plan;
use tracing::{info, warn};
use url::Url;

use crate::background::{Background, Closing, unless_stopped};
use crate::broker::{ANSWER_TIMEOUT, Broker};
use crate::changelog;
use crate::charts::{AsOf, Charts};
use crate::checkpoint;
use crate::cluster::place::is_loopback;
use crate::cluster::{Place, Profile, Team, join};
use crate::ending::{Ending, fail};
use crate::engine::{Engine, Live, for_each_worker};
use crate::lake::care;
use crate::lake::{Gathering, LakeFile, Room, Snapshot, balance, recorded_other};
use crate::memory;
use crate::monitor::{monitor, warn_of_rest};
use crate::otlp;
use crate::publish::publisher;
use crate::serve::status::Phase;
use crate::serve::{self, Access, Shared, Status};
use crate::source::kafka::{Found, discover};
use crate::source::lake::{Counted, Progress};
use crate::tick::Pace;
use open::Opened;

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
    /// Where only those who watch over the process are answered.
    pub probe_listen: Option<SocketAddr>,
    pub access: Access,
    /// Begin at the end of partitions that a new lake has no offset for, instead of at their first offset.
    pub from_latest: bool,
    /// Go on behind offsets that Kafka no longer has.
    pub accept_gap: bool,
    /// Become the writer of the lake although another process is.
    pub take_over: bool,
    /// Set the lake's clock back to where its plays are.
    pub reset_clock: bool,
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

impl Run {
    /// Whether this process is one of a cluster that commits and serves nothing by itself, and is to [`Run::follow`].
    pub fn is_follower(&self) -> bool {
        self.place.as_ref().is_some_and(|place| place.process > 0)
    }

    /// Why nothing can listen here, which for a second run by mistake is that the first one writes to the same lake.
    fn or_lake_in_use(&self, error: Error) -> Error {
        let writer = recorded_other(&self.lake).filter(|writer| writer.address == format!("http://{}", self.listen));
        let Some(writer) = writer else { return error };
        anyhow!(
            "the lake {} is in use: it is written by {writer}. Stop that one first, or start with --take-over and another --listen, \
             such as 127.0.0.1:0. Nothing was changed",
            self.lake.display()
        )
    }

    /// Runs until `stop` is set, or all is read if that is asked for. `started` is called when HTTP answers.
    pub fn run(self, stop: Arc<AtomicBool>, started: impl FnOnce(&Arc<Shared>) -> Result<()>) -> Result<Arc<Shared>> {
        let shared = Arc::new(Shared::new(Charts::new(self.definitions.clone())));
        let server = serve::start(self.listen, shared.clone(), self.access.clone());
        let server = server.map_err(|error| self.or_lake_in_use(error))?;
        let probes = self.probe_listen.map(|listen| serve::start_probes(listen, shared.clone(), self.access.clone()));
        let probes = probes.transpose()?;
        let begun = Arc::new(AtomicBool::new(false));
        let Some(team) = self.team(&stop, &begun)? else { return Ok(shared) };
        let watch = team.watch()?;
        let address = format!("http://{}", server.address);
        // As everything that may not work, before the lake is taken over: until then it may have a writer that is well.
        let exporter = self.otlp.as_ref().map(|endpoint| otlp::export(endpoint, shared.clone())).transpose()?;
        let Some((opened, holding)) = self.open(&address, &stop)? else {
            team.leave();
            return Ok(shared);
        };
        team.announce(&opened.start(self.seen_by_others(server.address)))?;
        self.tell(&opened, &shared, &address, &team);
        let (lake, partitions) = (self.lake.display(), opened.starts.len());
        if let Some(probes) = &probes {
            info!(probe_address = %format!("http://{}", probes.address), "probes are answered");
        }
        info!(%address, %lake, workers = team.workers(), partitions, "running");
        started(&shared)?;
        let rebuilt = Arc::new(Progress {
            rows_total: rows_to_read(&opened.snapshot, opened.counted.as_deref()),
            said_after: Some(self.workers),
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
            exporter,
            self.watch_memory(&ending, &shared)?,
            holding,
        );
        let rest =
            self.pace.until_caught_up.then(|| (self.broker.clone(), opened.starts.keys().copied().collect::<Vec<_>>()));
        let engine = self.engine(opened, team, rebuilt, found, shared.clone(), ending.clone());
        drop(watch);
        engine.team.await_all()?;
        begun.store(true, Ordering::Relaxed);
        engine.run()?;
        drop(threads);
        server.stop();
        drop(probes);
        ending.outcome()?;
        if let Some((broker, partitions)) = rest
            && let Err(error) = warn_of_rest(&broker, &partitions, ANSWER_TIMEOUT)
        {
            warn!("whether a transaction hides records is not known: {error:#}");
        }
        Ok(shared)
    }

    /// Ends the run when it holds more than it may.
    fn watch_memory(&self, ending: &Ending, shared: &Arc<Shared>) -> Result<Background> {
        let (ending, shared) = (ending.clone(), shared.clone());
        memory::watch(self.memory_max_bytes, move || shared.memory_parts(), move |error| ending.because(error))
    }

    /// The workers, with those of the other processes. None if it was stopped before all had come. Until the run has `begun` there
    /// is nothing to commit, so who is to stop then may lose others that are as well.
    fn team(&self, stop: &Arc<AtomicBool>, begun: &Arc<AtomicBool>) -> Result<Option<Team>> {
        let Some(place) = &self.place else { return Ok(Some(Team::alone(self.workers))) };
        let mut profile = Profile::new("run", self.workers, &self.definitions);
        profile.set("topic", &self.broker.topic);
        // The offsets of one cluster mean nothing in another.
        let Some(cluster_id) = self.cluster_id(stop)? else { return Ok(None) };
        profile.set("Kafka cluster (--brokers)", cluster_id);
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

    /// The id of the Kafka cluster that this process reads. Nothing if it was stopped meanwhile.
    fn cluster_id(&self, stop: &AtomicBool) -> Result<Option<String>> {
        let broker = self.broker.clone();
        unless_stopped(stop, move || {
            let asker = broker.asker()?;
            broker.partitions(&asker)?;
            broker.cluster_id(&asker)
        })
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
            clock_us: progress.clock_us,
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
            files: for_each_worker(snapshot.files(), self.workers),
            times_us: i64::MIN..i64::MAX,
            progress: rebuilt,
            live: Some(Live {
                broker: self.broker,
                starts: starts.into_iter().collect(),
                found,
                accept_gap: self.accept_gap,
                lake: self.lake,
                incarnation: committer.progress().incarnation,
                gathering: Arc::new(Gathering::new(self.workers)),
                room: Room::new(ending.asked(), move |reason| paused.pause(reason)),
                committer: Mutex::new(Some(committer)),
            }),
            shared,
            ending,
            fail,
        }
    }
}

/// Plays of the lake that no checkpoint has counted.
fn rows_to_read(snapshot: &Snapshot, counted: Option<&Counted>) -> u64 {
    let is_counted = |file: &LakeFile| counted.is_some_and(|counted| counted.files.contains(&file.path));
    snapshot.files().iter().filter(|file| !is_counted(file)).map(|file| file.rows).sum()
}
