//! The lake's care: small files become large ones, what nothing names is deleted, and the log does not grow for ever.
//!
//! All of it is safe beside a running instance, and under a crash at any instant:
//! 1. One process cares at a time: it holds a [`Lock`]. Writers do not; they go on meanwhile.
//! 2. Nothing here has an incarnation or writes offsets. A compaction is a Delta commit that changes no data: it is rebased on
//!    whatever writers append, and given up if one of its files has gone from the log.
//! 3. What a reader may still have open is deleted only after `retain`.
//! 4. Readers that go by the names of files, rather than by the log, see each play once, but for the instant in which a
//!    merged file takes the place of those that it replaces.

mod caretaker;
mod compact;
mod entries;
mod lock;
mod log;
mod merge;
mod plan;
mod publish;
#[cfg(test)]
mod tests;
mod usage;
mod vacuum;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};

pub use caretaker::{Chore, caretaker, chore};
pub use compact::compact;
pub use entries::entries;
pub use lock::Lock;
pub use log::{clean as clean_logs, is_temporary};
pub use usage::{DayUsage, TableUsage, Usage, usage};
pub use vacuum::vacuum;

use super::table::{self, Kind, Table};

/// When what is done by itself.
#[derive(Clone, Copy, Debug)]
pub struct Spans {
    /// How old a small file has to be before it is merged with others of its partition.
    pub compact_after: Duration,
    /// How long files are kept that the newest version does not have.
    pub retain: Duration,
}

impl Default for Spans {
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
    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// Opens a table to care for it. Only ours: in a table of somebody else's, files outside of the log may be work under way.
fn open(lake: &Path, kind: &'static Kind) -> Result<Table> {
    super::snapshot::check_is_lake(lake)?;
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
fn ago(span: Duration) -> SystemTime {
    SystemTime::now().checked_sub(span).unwrap_or(UNIX_EPOCH)
}

/// A moment in ms since 1970, as the log has it.
fn ms(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
