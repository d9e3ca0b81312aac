//! Reports from workers and processes to worker 0. Plain messages, in a layer below their senders
//! and readers.

pub mod rejected;
pub mod times;

use crate::intake::Rejection;
use reprise_dataflows::Epoch;
use serde::{Deserialize, Serialize};

use crate::intake::Gap;
use crate::process::shutdown::Order;
use rejected::RejectedRecord;
use times::EventTimes;

/// A report to worker 0. A source sends one at the end of each epoch and when the first plays of an
/// epoch arrive; a process sends one periodically.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Report {
    /// From a worker that reads the lake.
    Lake(LakeReport),
    /// From a worker that reads Kafka.
    Kafka(KafkaReport),
    /// From a process of the cluster.
    Process(ProcessReport),
}

/// The progress of a worker in reading the lake.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LakeReport {
    /// The index of the worker.
    pub worker: usize,
    /// Plays read in the open epoch.
    pub rows: u64,
    /// The event times of the plays that may be in the trending window.
    pub times: EventTimes,
    /// All of this worker's files have been read.
    pub done: bool,
}

/// The progress of a worker in reading Kafka, and what it holds uncommitted.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct KafkaReport {
    /// The index of the worker.
    pub worker: usize,
    /// The epoch that this report closes, and when the oldest record read in it was produced, in ms
    /// since 1970. `None` during an epoch, or if no record with a timestamp was read.
    pub closed: Option<(Epoch, i64)>,
    /// The position of a partition has moved since the last report.
    pub moved: bool,
    /// The event times of the plays read since the last report.
    pub times: EventTimes,
    /// Every owned partition has been read to its end at least once.
    pub caught_up: bool,
    /// Something was read since the last cut.
    pub uncommitted: bool,
    /// The memory that the uncommitted records take, in bytes.
    pub uncommitted_bytes: u64,
    /// The number of files that the uncommitted records will be written to.
    pub uncommitted_files: u64,
    /// The state of every owned partition.
    pub partitions: Vec<PartitionReport>,
    /// The newest dead letters since the last report, oldest first.
    pub rejected: Vec<RejectedRecord>,
}

/// How far a partition has been read, and the counts of its offsets. Each consumed offset is
/// accepted, a dead letter, a hole or missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionReport {
    /// The number of the partition.
    pub partition: i32,
    /// The offset that this run began at.
    pub start: i64,
    /// The next offset to read.
    pub next: i64,
    /// Records that are plays.
    pub accepted: u64,
    /// Records that were rejected, by the stable names of [`Rejection`].
    pub dead_letters: Vec<(String, u64)>,
    /// Offsets without a record, from compaction or transaction markers.
    pub holes: u64,
    /// Offsets that Kafka deleted before they were read.
    pub missing: u64,
}

impl PartitionReport {
    /// Nothing read yet, from the offset `start`.
    pub fn new(partition: i32, start: i64) -> Self {
        Self { partition, start, next: start, accepted: 0, dead_letters: Vec::new(), holes: 0, missing: 0 }
    }

    /// Moves past the record at `offset`, and counts skipped offsets as holes.
    pub fn pass(&mut self, offset: i64) {
        self.skip_to(offset);
        self.next = offset + 1;
    }

    /// Moves to `offset`, and counts the offsets before it as holes.
    pub fn skip_to(&mut self, offset: i64) {
        self.holes += u64::try_from(offset - self.next).unwrap_or(0);
        self.next = self.next.max(offset);
    }

    /// Moves to `offset`, and counts the offsets before it as missing. Returns the gap, if there is
    /// one.
    pub fn miss_to(&mut self, offset: i64) -> Option<Gap> {
        let gap = Gap { partition: self.partition, first: self.next, end: offset };
        self.missing += u64::try_from(gap.length()).unwrap_or(0);
        self.next = self.next.max(offset);
        (gap.length() > 0).then_some(gap)
    }

    /// Counts a rejected record.
    pub fn reject(&mut self, reason: Rejection) {
        match self.dead_letters.iter_mut().find(|(name, _)| name == reason.as_str()) {
            Some((_, count)) => *count += 1,
            None => self.dead_letters.push((reason.as_str().to_owned(), 1)),
        }
    }
}

/// The state of a process of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessReport {
    /// The number of the process.
    pub process: usize,
    /// Set when the process is to end.
    pub shutdown: Option<Order>,
    /// Why the process cannot write for the moment, if it cannot.
    pub paused: Option<String>,
    /// The bytes sent to other processes.
    pub sent_bytes: u64,
}
