//! The parameters that maintenance tasks share, and how they open a table.

use crate::lake::store::Place;
use crate::lake::table::{Table, TableKind};
use anyhow::{Result, bail};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The ages by which background maintenance decides.
#[derive(Clone, Copy, Debug)]
pub struct Intervals {
    /// How old a small file must be before it is merged with others of its partition.
    pub compact_after: Duration,
    /// How long files are kept after the newest version has stopped naming them.
    pub retain: Duration,
}

impl Default for Intervals {
    fn default() -> Self {
        Self { compact_after: Duration::from_secs(2 * 3600), retain: Duration::from_secs(3600) }
    }
}

/// How the caller of a long maintenance task stops it and follows its progress.
pub struct Attention<'a> {
    /// Ends the task early, between two items. Completed items stay done.
    pub stop: &'a AtomicBool,
    /// Called with the number of bytes that are done, and their total.
    pub progress: &'a (dyn Fn(u64, u64) + Sync),
}

impl Attention<'_> {
    /// Whether the task is to end early.
    pub fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// Opens the newest version of a table of `kind` in `lake` for maintenance.
///
/// # Errors
/// If the table cannot be opened, or was not made by `reprise run`: in a table of another tool,
/// files that the log does not name may belong to a commit in progress.
pub fn open(lake: &Place, kind: &'static TableKind) -> Result<Table> {
    crate::lake::snapshot::check_is_lake(lake)?;
    let table = Table::open(lake, kind, lake.engine()?, None)?;
    if table.topic().is_none() {
        bail!(
            "the table {} was not made by `reprise run`, so others may be writing to it: maintain it with their tools",
            table.root
        );
    }
    Ok(table)
}

/// The moment `span` before now.
pub fn ago(span: Duration) -> SystemTime {
    SystemTime::now().checked_sub(span).unwrap_or(UNIX_EPOCH)
}

/// `time` in ms since 1970, as the log has it.
pub fn ms(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
