//! The part of a topic that one worker reads.

use super::discovery::AddedPartitions;
use reprise_dataflows::rules::definition::Trending;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A worker's part of the topic, and its limit of uncommitted data.
#[derive(Clone)]
pub struct Share {
    /// The index of the worker.
    pub worker: usize,
    /// The number of workers in all processes.
    pub workers: usize,
    /// All partitions of the topic, with the first offset to read.
    pub starts: Vec<(i32, i64)>,
    /// When the newest record before the first offset arrived, in µs since 1970, of each partition
    /// that the lake has read.
    pub seen_us: BTreeMap<i32, i64>,
    /// Partitions that are added during the run.
    pub found: Arc<AddedPartitions>,
    /// The uncommitted bytes of this worker at which reading waits for the next cut.
    pub uncommitted_bytes_max: u64,
    /// Continue past offsets that Kafka no longer has, and record them as missing.
    pub accept_gap: bool,
    /// The trending window, to count the plays that are too old for it.
    pub trending: Trending,
}

impl Share {
    /// Whether this worker reads `partition`.
    pub fn owns(&self, partition: i32) -> bool {
        partition as usize % self.workers == self.worker
    }
}
