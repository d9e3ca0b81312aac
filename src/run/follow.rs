//! A run in the processes of a cluster other than process 0: they read, count and write their
//! share, and leave committing and serving to process 0.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use reprise_dataflows::rules::plan::Plan;
use tracing::info;

use super::engine::{Engine, Live, for_each_worker};
use super::mode::Mode;
use super::open::rows_to_read;
use super::options::Run;
use super::start::Start;
use crate::checkpoint;
use crate::cluster::Team;
use crate::lake::{DiskFullRetry, Gathering};
use crate::process::memory;
use crate::process::shutdown::{Shutdown, fail};
use crate::process::threads::unless_stopped;
use crate::serve;
use crate::serve::follower::Follower;
use crate::source::kafka::{AddedPartitions, Origin, discover};
use crate::source::lake::ReadProgress;
use crate::state::State;
use crate::state::charts::Charts;

impl Run {
    /// Runs until process 0 ends the run, or until `stop` is set, which ends the run in all
    /// processes.
    ///
    /// # Errors
    /// If the cluster cannot be joined, or the run fails in any process.
    pub fn follow(self, stop: Arc<AtomicBool>) -> Result<()> {
        let follower = Arc::new(Follower::default());
        let server = serve::start_follower(self.listen, "--listen", follower.clone())?;
        let probes = self.probe_listen.map(|listen| serve::start_follower(listen, "--probe-listen", follower.clone()));
        let _probes = probes.transpose()?;
        let begun = Arc::new(AtomicBool::new(false));
        let Some(team) = self.team(&stop, &begun)? else { return Ok(()) };
        let team = Arc::new(team);
        let (listening, watch) = (team.clone(), team.watch()?);
        // If this process is stopped here it exits without notifying the others: they cannot begin
        // without it, so they must see the connection break instead of waiting.
        let Some(received) = unless_stopped(&stop, move || listening.receive::<Start>())? else { return Ok(()) };
        let Some(start) = received else {
            team.leave();
            return Ok(());
        };
        let first = team.watch_first()?;
        let listening = format!("http://{}", server.address);
        let leader = start.leader.as_deref().unwrap_or("(on its own loopback)");
        info!(process = team.process(), %listening, leader, lake = %self.lake, "running");
        follower.follow(start.leader.clone());
        let (shutdown, found) = (Shutdown::new(stop), Arc::<AddedPartitions>::default());
        let known = start.starts.keys().copied().collect();
        // Only process 0 checks that the topic is still the same one.
        let origin = Arc::new(Origin::new(&self.broker, None)?);
        let discovery = discover(&self.broker, origin, known, found.clone(), shutdown.clone())?;
        let (max_bytes, over) = (self.memory_max_bytes, shutdown.clone());
        let engine = self.engine_of(start, team, found, shutdown.clone())?;
        let state = engine.state.clone();
        let memory = memory::watch(max_bytes, move || state.memory_parts(), move |error| over.because(error))?;
        drop(first);
        if !engine.team.await_all()? {
            engine.team.leave();
            return Ok(());
        }
        drop(watch);
        begun.store(true, Ordering::Relaxed);
        engine.run()?;
        drop((discovery, memory));
        server.stop();
        shutdown.outcome()
    }

    fn engine_of(
        self,
        start: Start,
        team: Arc<Team>,
        found: Arc<AddedPartitions>,
        shutdown: Shutdown,
    ) -> Result<Engine> {
        let snapshot = start.view.open(&self.lake)?;
        let plan = Plan::new(&self.definitions);
        let checkpoint = match start.checkpoint {
            None => None,
            Some(version) => {
                let checkpoint = checkpoint::of_version(&self.lake, version, &snapshot, &plan);
                Some(Arc::new(checkpoint.context("this process cannot use the checkpoint that process 0 uses")?))
            }
        };
        let counted = checkpoint.as_ref().map(|checkpoint| checkpoint.counted(&snapshot));
        let state = Arc::new(State::new(Charts::new(self.definitions.clone())));
        let paused = state.clone();
        let rows_total = rows_to_read(&snapshot, counted.as_deref());
        Ok(Engine {
            team,
            definitions: self.definitions,
            pace: self.pace,
            last_epoch: start.last_epoch,
            clock_us: snapshot.progress().clock_us,
            checkpoint,
            counted,
            files: for_each_worker(snapshot.files(), self.workers),
            times_us: i64::MIN..i64::MAX,
            progress: Arc::new(ReadProgress {
                rows_total,
                workers_to_report: Some(self.workers),
                ..ReadProgress::default()
            }),
            mode: Mode::Run(Live {
                broker: self.broker,
                starts: start.starts.into_iter().collect(),
                seen_us: snapshot.progress().seen_us.clone(),
                found,
                accept_gap: self.accept_gap,
                lake: self.lake,
                incarnation: start.incarnation,
                gathering: Arc::new(Gathering::new(self.workers)),
                retry: DiskFullRetry::new(shutdown.requested(), move |reason| paused.pause(reason)),
                committer: Mutex::new(None),
            }),
            state,
            shutdown,
            fail,
        })
    }
}
