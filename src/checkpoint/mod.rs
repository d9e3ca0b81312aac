//! Checkpoints: the plays of a lake counted up to one version, so that a restart does not count
//! them again.
//!
//! ```text
//! LAKE/_checkpoints/checkpoint-00000000000000000041/
//!   manifest.json       its description; written last
//!   keys.json           the keys of the counts
//!   files.json          the files of the lake that it has counted
//!   tallies-00.parquet  counts, by hash bucket of the item
//!   names-00.parquet    texts and titles of the items, by the same buckets
//! ```
//!
//! A checkpoint is made from the lake, never from the state of a run: from the checkpoint before it
//! and the files committed since. It therefore only saves time. Any number of workers can share its
//! buckets, and if it is damaged or lacks a key that the charts need, the lake itself is read
//! instead.
//!
//! **Invariants**
//! 1. A checkpoint appears under its name as a whole, with all its files durable.
//! 2. Every byte of it is covered by a digest, and it is used only after all of them have been
//!    checked.
//! 3. Offsets determine what it has counted, not files: compaction may move plays between files.

mod bucket;
mod make;
mod manifest;
mod opened;
mod source;
mod task;
#[cfg(test)]
mod tests;

pub use bucket::BUCKETS;
pub use make::{Made, make};
pub use opened::{Checkpoint, newest, of_version};
pub use source::checkpoint;
pub use task::task;
