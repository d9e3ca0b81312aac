//! Maintenance of a lake: compaction merges small files, vacuum deletes files that nothing names,
//! and old entries of the log are deleted.
//!
//! All of it is safe beside a running instance, and under a crash at any instant:
//! 1. One process at a time does maintenance: it holds a [`Lock`]. Writers do not need the lock,
//!    and continue meanwhile.
//! 2. Maintenance has no incarnation and writes no offsets. A compaction is a Delta commit that
//!    changes no data: it is rebased on the commits of writers, and given up if one of its files is
//!    no longer in the log.
//! 3. A file that a reader may still have open is deleted only after `retain`.
//! 4. Readers that find files by name, rather than by the log, see each play once, except for the
//!    instant in which a merged file takes the place of the files that it replaces.

mod attention;
mod compact;
mod lock;
mod log;
mod merge;
mod plan;
mod publish;
#[cfg(test)]
mod tests;
mod thread;
mod usage;
mod vacuum;

pub use attention::{Attention, Intervals};
pub use compact::compact;
pub use lock::Lock;
pub use log::{clean as clean_logs, is_temporary};
pub use thread::{Task, start, task};
pub use usage::{DayUsage, TableUsage, Usage, usage};
pub use vacuum::vacuum;
