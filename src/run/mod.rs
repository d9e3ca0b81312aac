//! The life of a run: opens the lake, starts the threads around the dataflow, and ends all of them
//! together.
//!
//! `reprise run` and `reprise demo` are runs with different options. In a cluster process 0 does
//! this, and the others follow it ([`Run::follow`]).

mod clock;
pub mod engine;
mod follow;
pub mod mode;
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
use mode::Mode;
use open::{Opened, rows_to_read};
pub use options::Run;

/// The longest time between the stop requests to two processes that are stopped together.
const STOP_TOGETHER: Duration = Duration::from_millis(300);

impl Run {
    /// Whether this process belongs to a cluster and is not process 0. Such a process neither
    /// commits nor serves, and calls [`Run::follow`] instead of [`Run::run`].
    pub fn is_follower(&self) -> bool {
        self.membership.as_ref().is_some_and(|membership| membership.process > 0)
    }

    /// Explains why the address is taken: after an accidental second start the first process holds
    /// both the address and the lake.
    fn or_lake_in_use(&self, error: Error) -> Error {
        let writer = recorded_other(&self.lake).filter(|writer| writer.address == format!("http://{}", self.listen));
        let Some(writer) = writer else { return error };
        anyhow!(
            "the lake {} is in use: it is written by {writer}. Stop that one first, or start with --take-over and another --listen, \
             such as 127.0.0.1:0. Nothing was changed",
            self.lake
        )
    }

    /// Runs until `stop` is set, or until everything has been read if `pace` says so. Calls
    /// `started` once HTTP is served. Returns the final state.
    ///
    /// # Errors
    /// If the start is refused, or the run fails. What was committed before stays.
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
        // Everything that can fail comes before the takeover of the lake, which ends another
        // writer.
        let exporter = self.otlp.as_ref().map(|endpoint| otlp::export(endpoint, state.clone())).transpose()?;
        let Some((opened, holding)) = self.open(&address, &stop)? else {
            team.leave();
            return Ok(state);
        };
        team.broadcast(&opened.start(self.url_for_others(server.address)))?;
        self.set_status(&opened, &state, &address, &team);
        let (lake, partitions) = (&self.lake, opened.starts.len());
        if let Some(probes) = &probes {
            info!(probe_address = %format!("http://{}", probes.address), "serving probes");
        }
        info!(%address, %lake, workers = team.workers(), partitions, "running");
        started(&state)?;
        let rebuilt = Arc::new(ReadProgress {
            rows_total: rows_to_read(&opened.snapshot, opened.counted.as_deref()),
            workers_to_report: Some(self.workers),
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
            warn!("cannot tell whether an open transaction hides records: {error:#}");
        }
        Ok(state)
    }

    /// Ends the run when it exceeds its memory limit.
    fn watch_memory(&self, shutdown: &Shutdown, state: &Arc<State>) -> Result<Background> {
        let (shutdown, state) = (shutdown.clone(), state.clone());
        memory::watch(self.memory_max_bytes, move || state.memory_parts(), move |error| shutdown.because(error))
    }

    /// The workers, joined with those of the other processes. `None` if it was stopped before all
    /// processes had joined. Until `begun` is set there is nothing to commit, so a process that is
    /// being stopped ignores the loss of another, which is probably being stopped as well.
    fn team(&self, stop: &Arc<AtomicBool>, begun: &Arc<AtomicBool>) -> Result<Option<Team>> {
        let Some(membership) = &self.membership else { return Ok(Some(Team::alone(self.workers))) };
        let mut fingerprint = Fingerprint::new("run", self.workers, &self.definitions);
        fingerprint.set("topic", &self.broker.topic);
        // Offsets of one cluster are meaningless in another.
        let Some(cluster_id) = self.cluster_id(stop)? else { return Ok(None) };
        fingerprint.set("Kafka cluster (--brokers)", cluster_id);
        fingerprint.set("option --accept-gap", self.accept_gap);
        let (stops, has_begun) = (stop.clone(), begun.clone());
        let lost = move |error| {
            if !has_begun.load(Ordering::Relaxed) {
                // Processes that are stopped together receive their signals at slightly different
                // times.
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

    /// The id of the Kafka cluster that this process reads. `None` if it was stopped meanwhile.
    fn cluster_id(&self, stop: &AtomicBool) -> Result<Option<String>> {
        let broker = self.broker.clone();
        unless_stopped(stop, move || {
            let consumer = broker.metadata_consumer()?;
            broker.partitions(&consumer)?;
            broker.cluster_id(&consumer)
        })
    }

    /// The URL to which the other processes redirect clients. `None` if this process listens on
    /// loopback and the others may be on other machines.
    fn url_for_others(&self, address: SocketAddr) -> Option<String> {
        let first = self.membership.as_ref()?.addresses.first()?;
        let (host, _) = first.rsplit_once(':')?;
        match address.ip() {
            ip if ip.is_unspecified() => Some(format!("http://{host}:{}", address.port())),
            ip if ip.is_loopback() && !is_loopback(first) => None,
            _ => Some(format!("http://{address}")),
        }
    }

    /// Initializes the served state from what the run begins with.
    fn set_status(&self, opened: &Opened, state: &State, address: &str, team: &Team) {
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
            lake: self.lake.to_string(),
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

    /// Starts the thread that publishes changes of the charts, if a topic is set for them.
    fn changelog(&self, state: &Arc<State>) -> Result<Option<Closing>> {
        let topic = self.changelog.as_deref();
        topic.map(|topic| changelog::start(state.clone(), &self.broker, topic, &self.lake)).transpose()
    }

    /// Starts the thread for checkpoints, compaction and deletion.
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
            vec![("making a checkpoint", checkpoints), ("maintaining the lake", maintenance)],
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
            mode: Mode::Run(Live {
                broker: self.broker,
                starts: starts.into_iter().collect(),
                seen_us: snapshot.progress().seen_us.clone(),
                found,
                accept_gap: self.accept_gap,
                lake: self.lake,
                incarnation: committer.progress().incarnation,
                gathering: Arc::new(Gathering::new(self.workers)),
                retry: DiskFullRetry::new(shutdown.requested(), move |reason| paused.pause(reason)),
                committer: Mutex::new(Some(committer)),
            }),
            state,
            shutdown,
            fail,
        }
    }
}
