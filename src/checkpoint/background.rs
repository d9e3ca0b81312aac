//! Checkpoints that a run makes by itself, beside everything else it does.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use reprise_dataflows::plan::Plan;
use tracing::{info, warn};

use super::{Made, make};
use crate::serve::Shared;

/// How often it looks whether it is time.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A thread that makes checkpoints, until it is dropped.
pub struct Background {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    /// Makes a checkpoint of `lake` for charts of `plan` when the run is ready, and then every `interval`.
    pub fn start(lake: PathBuf, plan: Plan, interval: Duration, shared: Arc<Shared>) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let until = stop.clone();
        let work = move || {
            let mut made_at: Option<Instant> = None;
            while !until.load(Ordering::Relaxed) {
                if shared.ready.load(Ordering::Relaxed) && made_at.is_none_or(|at| at.elapsed() >= interval) {
                    match make(&lake, &plan, &until, |_, _| ()) {
                        Ok(Made::New { version, plays }) => {
                            info!(version, plays, "made a checkpoint");
                            shared.status_mut().checkpoint_version = Some(version);
                        }
                        Ok(Made::Nothing | Made::Busy | Made::Stopped) => {}
                        Err(error) => warn!("no checkpoint could be made, so a start takes longer: {error:#}"),
                    }
                    made_at = Some(Instant::now());
                }
                std::thread::park_timeout(LOOK_EVERY);
            }
        };
        let thread = std::thread::Builder::new().name("reprise-checkpoint".to_owned()).spawn(work);
        Ok(Self { stop, thread: Some(thread.context("the thread for checkpoints cannot be started")?) })
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}
