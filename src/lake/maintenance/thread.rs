//! The maintenance thread of a run: every minute, or more often, it runs its tasks one after the
//! other.
//!
//! A task that fails is reported as a warning and tried again the next time: no task is needed for
//! a run to continue.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tracing::{debug, info, warn};

use super::attention::{Attention, Intervals};
use super::{Lock, clean_logs, compact, vacuum};
use crate::lake::store::Place;
use crate::process::threads::Background;

/// The longest time between two rounds of tasks.
const INTERVAL_MAX: Duration = Duration::from_secs(60);
/// The shortest time between two rounds of tasks.
const INTERVAL_MIN: Duration = Duration::from_millis(500);

/// A periodic task. It is called with a flag that ends it early.
pub type Task = Box<dyn FnMut(&AtomicBool) -> Result<()> + Send>;

/// Starts a thread that runs all `tasks` once in `interval`, but at least once a minute. Each task
/// has a name for the log. No task runs before `is_ready` returns true: while a run rebuilds its
/// charts from the lake, it needs the processors, and the files that it has listed must stay.
///
/// # Errors
/// If the thread cannot be started.
pub fn start(
    interval: Duration,
    is_ready: impl Fn() -> bool + Send + 'static,
    mut tasks: Vec<(&'static str, Task)>,
) -> Result<Background> {
    let interval = interval.clamp(INTERVAL_MIN, INTERVAL_MAX);
    Background::start("reprise-maint", move |stop| {
        while wait(interval, stop) {
            if !is_ready() {
                continue;
            }
            for (name, task) in &mut tasks {
                if let Err(error) = task(stop)
                    && !stop.load(Ordering::Relaxed)
                {
                    warn!("{name} has failed, and is tried again later: {error:#}");
                }
            }
        }
    })
}

/// Waits for `interval`. Returns false if `stop` was set.
fn wait(interval: Duration, stop: &AtomicBool) -> bool {
    let began = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        match interval.checked_sub(began.elapsed()) {
            Some(rest) if !rest.is_zero() => std::thread::park_timeout(rest),
            _ => return true,
        }
    }
    false
}

/// The task that compacts and vacuums `lake` and cleans up its logs. It does nothing while another
/// process holds the lock.
pub fn task(lake: Place, intervals: Intervals) -> Task {
    Box::new(move |stop| match Lock::take(&lake)? {
        Some(lock) => maintain(&lake, &lock, intervals, stop),
        None => {
            debug!("another process does the maintenance of the lake");
            Ok(())
        }
    })
}

fn maintain(lake: &Place, lock: &Lock, intervals: Intervals, stop: &AtomicBool) -> Result<()> {
    let attention = Attention { stop, progress: &|_, _| {} };
    let compacted = compact(lake, lock, intervals.compact_after, &attention).context("compaction")?;
    if compacted.partitions > 0 {
        let (before, after) = (compacted.files_before, compacted.files_after);
        info!("compacted {} partitions of the lake: {before} files became {after}", compacted.partitions);
    }
    let vacuumed = vacuum(lake, lock, intervals.retain, false, &attention).context("vacuum")?;
    if vacuumed.published > 0 {
        info!("put {} compacted files in the place of those that they replace", vacuumed.published);
    }
    if vacuumed.files > 0 {
        info!("deleted {} files that no version of the lake needs, {} bytes", vacuumed.files, vacuumed.bytes);
    }
    let deleted = clean_logs(lake, lock, intervals.retain).context("cleaning up the log")?;
    if deleted > 0 {
        debug!("deleted {deleted} old files of the lake's logs");
    }
    Ok(())
}
