//! What one worker reads.

use super::discovery::AddedPartitions;
use reprise_dataflows::rules::definition::Trending;
use std::sync::Arc;

/// What one worker reads, and how much of it may be on the way to the lake.
#[derive(Clone)]
pub struct Share {
    pub worker: usize,
    pub workers: usize,
    /// All partitions, with the offset at which to begin.
    pub starts: Vec<(i32, i64)>,
    /// Those that were added later.
    pub found: Arc<AddedPartitions>,
    /// Reading waits for the next cut when so many bytes have been read since the last one.
    pub uncommitted_bytes_max: u64,
    /// Go on behind offsets that Kafka no longer has.
    pub accept_gap: bool,
    /// Which window plays may be too old for.
    pub trending: Trending,
}

impl Share {
    pub fn owns(&self, partition: i32) -> bool {
        partition as usize % self.workers == self.worker
    }
}
