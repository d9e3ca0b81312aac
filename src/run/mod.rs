//! A run from its start to its end: the lake is opened, threads are started around the dataflow, and all of it ends together.
//!
//! `reprise run` and `reprise demo` are this with different options. In a cluster it is process 0 that does this; the others
//! follow it.

mod clock;
pub mod engine;
mod follow;
mod open;
mod options;
mod start;
pub mod tick;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Error, Result, anyhow};
use reprise_dataflows::rules::plan::Plan;
use tracing::{info, warn};

use crate::checkpoint;
use crate::cluster::membership::is_loopback;
use crate::cluster::{Fingerprint, Team, join};
use crate::kafka::ANSWER_TIMEOUT;
use crate::lake::maintenance;
use crate::lake::{DiskFullRetry, Gathering, balance, recorded_other};
use crate::process::memory;
use crate::process::shutdown::{Shutdown, fail};
use crate::process::threads::{Background, Closing, unless_stopped};
use crate::publish::changelog;
use crate::publish::offsets::publisher;
use crate::publish::otlp;
use crate::serve::{self, Http};
use crate::source::kafka::{AddedPartitions, discover};
use crate::source::lake::ReadProgress;
use crate::state::charts::{AsOf, Charts};
use crate::state::{Phase, State, Status};
use crate::terminal::monitor::{monitor, warn_of_rest};
use engine::{Engine, Live, for_each_worker};
use open::{Opened, rows_to_read};
pub use options::Run;

/// Between the stop of one process and that of another by the same hand, at most.
const STOP_TOGETHER: Duration = Duration::from_millis(300);

impl Run {
    /// Whether this process is one of a cluster that commits and serves nothing by itself, and is to [`Run::follow`].
    pub fn is_follower(&self) -> bool {
        self.membership.as_ref().is_some_and(|membership| membership.process > 0)
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
    pub fn run(self, stop: Arc<AtomicBool>, started: impl FnOnce(&Arc<State>) -> Result<()>) -> Result<Arc<State>> {
        let state = Arc::new(State::new(Charts::new(self.definitions.clone())));
        let http = Arc::new(Http::new(state.clone()));
        let server = serve::start(self.listen, http.clone(), self.access.clone());
        let server = server.map_err(|error| self.or_lake_in_use(error))?;
        let probes = self.probe_listen.map(|listen| serve::start_probes(listen, http.clone(), self.access.clone()));
        let probes = probes.transpose()?;
        let begun = Arc::new(AtomicBool::new(false));
        let Some(team) = self.team(&stop, &begun)? else { return Ok(state) };
        let watch = team.watch()?;
        let address = format!("http://{}", server.address);
        // As everything that may not work, before the lake is taken over: until then it may have a writer that is well.
        let exporter = self.otlp.as_ref().map(|endpoint| otlp::export(endpoint, state.clone())).transpose()?;
        let Some((opened, holding)) = self.open(&address, &stop)? else {
            team.leave();
            return Ok(state);
        };
        team.announce(&opened.start(self.seen_by_others(server.address)))?;
        self.tell(&opened, &state, &address, &team);
        let (lake, partitions) = (self.lake.display(), opened.starts.len());
        if let Some(probes) = &probes {
            info!(probe_address = %format!("http://{}", probes.address), "probes are answered");
        }
        info!(%address, %lake, workers = team.workers(), partitions, "running");
        started(&state)?;
        let rebuilt = Arc::new(ReadProgress {
            rows_total: rows_to_read(&opened.snapshot, opened.counted.as_deref()),
            said_after: Some(self.workers),
            ..ReadProgress::default()
        });
        let (shutdown, found) = (Shutdown::new(stop), Arc::<AddedPartitions>::default());
        let known = opened.starts.keys().copied().collect();
        let threads = (
            monitor(state.clone(), self.broker.clone(), rebuilt.clone(), self.notes.clone())?,
            publisher(state.clone(), &self.broker)?,
            self.changelog(&state)?,
            discover(&self.broker, opened.origin.clone(), known, found.clone(), shutdown.clone())?,
            self.maintain(&state)?,
            exporter,
            self.watch_memory(&shutdown, &state)?,
            holding,
        );
        let rest =
            self.pace.until_caught_up.then(|| (self.broker.clone(), opened.starts.keys().copied().collect::<Vec<_>>()));
        let engine = self.engine(opened, team, rebuilt, found, state.clone(), shutdown.clone());
        drop(watch);
        engine.team.await_all()?;
        begun.store(true, Ordering::Relaxed);
        engine.run()?;
        drop(threads);
        server.stop();
        drop(probes);
        shutdown.outcome()?;
        if let Some((broker, partitions)) = rest
            && let Err(error) = warn_of_rest(&broker, &partitions, ANSWER_TIMEOUT)
        {
            warn!("whether a transaction hides records is not known: {error:#}");
        }
        Ok(state)
    }

    /// Ends the run when it holds more than it may.
    fn watch_memory(&self, shutdown: &Shutdown, state: &Arc<State>) -> Result<Background> {
        let (shutdown, state) = (shutdown.clone(), state.clone());
        memory::watch(self.memory_max_bytes, move || state.memory_parts(), move |error| shutdown.because(error))
    }

    /// The workers, with those of the other processes. None if it was stopped before all had come. Until the run has `begun` there
    /// is nothing to commit, so who is to stop then may lose others that are as well.
    fn team(&self, stop: &Arc<AtomicBool>, begun: &Arc<AtomicBool>) -> Result<Option<Team>> {
        let Some(membership) = &self.membership else { return Ok(Some(Team::alone(self.workers))) };
        let mut fingerprint = Fingerprint::new("run", self.workers, &self.definitions);
        fingerprint.set("topic", &self.broker.topic);
        // The offsets of one cluster mean nothing in another.
        let Some(cluster_id) = self.cluster_id(stop)? else { return Ok(None) };
        fingerprint.set("Kafka cluster (--brokers)", cluster_id);
        fingerprint.set("option --accept-gap", self.accept_gap);
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
        let cluster = join(membership, &fingerprint, stop, Arc::new(lost))?;
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
        let first = self.membership.as_ref()?.addresses.first()?;
        let (host, _) = first.rsplit_once(':')?;
        match address.ip() {
            ip if ip.is_unspecified() => Some(format!("http://{host}:{}", address.port())),
            ip if ip.is_loopback() && !is_loopback(first) => None,
            _ => Some(format!("http://{address}")),
        }
    }

    /// Tells those who ask what the run begins with.
    fn tell(&self, opened: &Opened, state: &State, address: &str, team: &Team) {
        let (progress, version) = (opened.snapshot.progress(), opened.snapshot.version());
        let max_bytes = memory::limit_bytes(self.memory_max_bytes);
        state.limit_memory(max_bytes.unwrap_or(0));
        let missing = progress.missing.values().sum::<i64>().unsigned_abs();
        state.began(&progress.offsets, missing);
        let epoch = progress.epoch.unwrap_or(0);
        state.opened(
            progress.incarnation,
            AsOf { epoch, clock_us: progress.clock_us, lake_version: Some(version), durable: true },
        );
        *state.status_mut() = Status {
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
    fn changelog(&self, state: &Arc<State>) -> Result<Option<Closing>> {
        let topic = self.changelog.as_deref();
        topic.map(|topic| changelog::start(state.clone(), &self.broker, topic, &self.lake)).transpose()
    }

    /// The thread that looks after the lake.
    fn maintain(&self, state: &Arc<State>) -> Result<Background> {
        let (lake, plan) = (self.lake.clone(), Plan::new(&self.definitions));
        let checkpoints = checkpoint::task(lake, plan, self.checkpoint_interval, state.clone());
        let interval = self.maintenance.compact_after.min(self.maintenance.retain).min(self.checkpoint_interval);
        let maintenance = maintenance::task(self.lake.clone(), self.maintenance);
        let ready = state.clone();
        let is_ready = move || ready.ready.load(Ordering::Relaxed);
        maintenance::start(
            interval,
            is_ready,
            vec![("making a checkpoint", checkpoints), ("the care of the lake", maintenance)],
        )
    }

    fn engine(
        self,
        opened: Opened,
        team: Team,
        rebuilt: Arc<ReadProgress>,
        found: Arc<AddedPartitions>,
        state: Arc<State>,
        shutdown: Shutdown,
    ) -> Engine {
        let Opened { committer, starts, snapshot, checkpoint, counted, .. } = opened;
        let paused = state.clone();
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
                retry: DiskFullRetry::new(shutdown.asked(), move |reason| paused.pause(reason)),
                committer: Mutex::new(Some(committer)),
            }),
            state,
            shutdown,
            fail,
        }
    }
}
