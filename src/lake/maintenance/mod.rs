//! The lake's care: small files become large ones, what nothing names is deleted, and the log does not grow for ever.
//!
//! All of it is safe beside a running instance, and under a crash at any instant:
//! 1. One process cares at a time: it holds a [`Lock`]. Writers do not; they go on meanwhile.
//! 2. Nothing here has an incarnation or writes offsets. A compaction is a Delta commit that changes no data: it is rebased on
//!    whatever writers append, and given up if one of its files has gone from the log.
//! 3. What a reader may still have open is deleted only after `retain`.
//! 4. Readers that go by the names of files, rather than by the log, see each play once, but for the instant in which a
//!    merged file takes the place of those that it replaces.

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
