//! What every task of maintenance is given, and how it opens a table.

use crate::lake::table::{self, Table, TableKind};
use anyhow::{Result, bail};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// When what is done by itself.
#[derive(Clone, Copy, Debug)]
pub struct Intervals {
    /// How old a small file has to be before it is merged with others of its partition.
    pub compact_after: Duration,
    /// How long files are kept that the newest version does not have.
    pub retain: Duration,
}

impl Default for Intervals {
    fn default() -> Self {
        Self { compact_after: Duration::from_secs(2 * 3600), retain: Duration::from_secs(3600) }
    }
}

/// How care that takes long is looked at from outside.
pub struct Attention<'a> {
    /// Ends it early, between two items; what is done by then stays done.
    pub stop: &'a AtomicBool,
    /// Hears how many bytes are done, of how many.
    pub progress: &'a (dyn Fn(u64, u64) + Sync),
}

impl Attention<'_> {
    pub fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// Opens a table to care for it. Only ours: in a table of somebody else's, files outside of the log may be work under way.
pub fn open(lake: &Path, kind: &'static TableKind) -> Result<Table> {
    crate::lake::snapshot::check_is_lake(lake)?;
    let table = Table::open(lake, kind, table::engine()?, None)?;
    if table.topic().is_none() {
        bail!(
            "the table {} was not made by `reprise run`, so others may be writing to it: look after it with their tools",
            table.root.display()
        );
    }
    Ok(table)
}

/// The moment `span` ago.
pub fn ago(span: Duration) -> SystemTime {
    SystemTime::now().checked_sub(span).unwrap_or(UNIX_EPOCH)
}

/// A moment in ms since 1970, as the log has it.
pub fn ms(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
