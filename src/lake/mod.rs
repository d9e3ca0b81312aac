//! The lake: plays and dead letters as two Delta tables of Parquet files, written exactly once.
//!
//! ```text
//! LAKE/song_plays/date=2026-11-20/hour=14/part-….snappy.parquet  committed files
//!                 _staging/part-….snappy.parquet.inprogress      written and synced, not committed
//!                 _staging/commit-<incarnation>-<epoch>.json     intent of a commit in progress
//!                 _staging/compact…                              files and intent of a compaction
//!                 _staging/care.lock                             held by the process that compacts
//!                 _staging/writer.lock                           names the writing process
//!                 _merged/date=2026-11-20/hour=14/compacted-…    merged files, originals remain
//!                 _delta_log/                                    files, offsets, epoch, clock,
//!                                                                incarnation
//! LAKE/dead_letters/date=2026-11-20/…                            the same, without hours
//! ```
//!
//! A [`Writer`] on each worker turns rows into staged files, the single [`Committer`] makes them
//! part of the tables, and a [`Snapshot`] lists the committed files. `delta_kernel` reads and
//! writes only the log; the Parquet files are written here, by way of the [`store`], which alone
//! knows paths. The invariants that hold between the three stand at the top of `fenced.rs`.

mod account;
pub mod balance;
mod columns;
mod commit;
mod create;
mod cut;
mod damage;
mod dead_letters;
mod disk_full;
mod encoder;
mod entries;
mod fenced;
pub mod footer_checksum;
mod gathering;
mod holder;
mod hours;
mod intent;
mod kind;
mod layout;
mod listing;
pub mod log_audit;
pub mod maintenance;
mod new_file;
mod progress;
mod properties;
pub mod rows;
pub mod sink;
mod snapshot;
mod statistics;
pub mod store;
mod successor;
mod table;
#[cfg(test)]
pub mod tests;
mod writer;
mod writer_process;

pub use account::{Account, origin_hash};
pub use commit::Committer;
pub use cut::Cut;
pub use disk_full::DiskFullRetry;
pub use encoder::{Encoded, Encoder};
pub use gathering::Gathering;
pub use holder::Holder;
pub use layout::{LOG, MERGED};
pub use listing::{Filing, LakeFile};
pub use new_file::{Bounds, NewFile};
pub use progress::{Identity, LakeProgress};
pub use properties::ROW_GROUP_ROWS_MAX;
pub use snapshot::{Snapshot, check_is_lake, incarnation};
pub use successor::SuccessorWatch;
pub use table::{DEAD_LETTERS, PLAYS};
pub use writer::Writer;
pub use writer_process::{WriterProcess, recorded_other};
