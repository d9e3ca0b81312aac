//! Checkpoints: the plays of a lake counted up to one version, so that a restart need not count them again.
//!
//! ```text
//! LAKE/_checkpoints/checkpoint-00000000000000000041/manifest.json      what it is; written last
//!                                                   keys.json          what is counted by
//!                                                   files.json         the lake's files that are in it
//!                                                   tallies-00.parquet counts, by hash bucket of the item
//!                                                   names-00.parquet   texts and titles of the items, likewise
//! ```
//!
//! A checkpoint is made from the lake, never from the state of a run: the one before it, and the files committed since. So it
//! is a short cut and nothing else. Any number of workers can share its buckets out, and where it is damaged, or lacks a
//! key that the charts need, the lake itself is read instead.
//!
//! **Invariants**
//! 1. It appears under its name as a whole, with everything in it durable.
//! 2. Every byte of it is covered by a digest, and it is used only after all of them have been checked.
//! 3. What is in it is told by offsets, not by files: compaction may move plays between files as it likes.

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
