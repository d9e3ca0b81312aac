//! What workers and processes tell worker 0. Plain messages, below those who send them and those who read them.

pub mod rejected;
pub mod times;

use crate::intake::Rejection;
use reprise_dataflows::Epoch;
use serde::{Deserialize, Serialize};

use crate::intake::Gap;
use crate::process::shutdown::Order;
use rejected::RejectedRecord;
use times::EventTimes;

/// What worker 0 is told: by a source at the end of each epoch, and when the first plays of an epoch arrive; by a process
/// now and then.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Report {
    Lake(LakeReport),
    Kafka(KafkaReport),
    Process(ProcessReport),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LakeReport {
    pub worker: usize,
    /// Plays read in the open epoch.
    pub rows: u64,
    /// Those of them that may be in the trending window.
    pub times: EventTimes,
    /// All of this worker's files have been read.
    pub done: bool,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct KafkaReport {
    pub worker: usize,
    /// The epoch that it closes, and when the oldest record that was read in it was produced, in ms since 1970; none in between.
    pub closed: Option<(Epoch, i64)>,
    /// Records or holes have been passed since the last report.
    pub moved: bool,
    /// The plays that were read since the last report.
    pub times: EventTimes,
    /// Every owned partition has been read to what was its end.
    pub caught_up: bool,
    /// Something has been read since the last cut.
    pub uncommitted: bool,
    /// What it takes in memory until it is committed.
    pub uncommitted_bytes: u64,
    /// The files that it will be.
    pub uncommitted_files: u64,
    /// The state of every owned partition.
    pub partitions: Vec<PartitionReport>,
    /// The newest dead letters since the last report, oldest first.
    pub rejected: Vec<RejectedRecord>,
}

/// How far a partition has been read, and what was found in it. Consumed is accepted, dead, a hole or missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionReport {
    pub partition: i32,
    /// The offset that this run began at.
    pub start: i64,
    pub next: i64,
    pub accepted: u64,
    /// By the stable names of [`Rejection`].
    pub dead_letters: Vec<(String, u64)>,
    /// Offsets without a record: compaction, and the markers of transactions.
    pub holes: u64,
    /// Offsets that Kafka had deleted before they were read.
    pub missing: u64,
}

impl PartitionReport {
    pub fn new(partition: i32, start: i64) -> Self {
        Self { partition, start, next: start, accepted: 0, dead_letters: Vec::new(), holes: 0, missing: 0 }
    }

    /// Goes on to `next`, past a record, and counts what was passed over before it.
    pub fn pass(&mut self, offset: i64) {
        self.skip_to(offset);
        self.next = offset + 1;
    }

    /// Goes on to `offset`; what lies before it is not there.
    pub fn skip_to(&mut self, offset: i64) {
        self.holes += u64::try_from(offset - self.next).unwrap_or(0);
        self.next = self.next.max(offset);
    }

    /// Goes on to `offset`; what lies before it has been deleted. Gives what is missing, if anything is.
    pub fn miss_to(&mut self, offset: i64) -> Option<Gap> {
        let gap = Gap { partition: self.partition, first: self.next, end: offset };
        self.missing += u64::try_from(gap.length()).unwrap_or(0);
        self.next = self.next.max(offset);
        (gap.length() > 0).then_some(gap)
    }

    pub fn reject(&mut self, reason: Rejection) {
        match self.dead_letters.iter_mut().find(|(name, _)| name == reason.as_str()) {
            Some((_, count)) => *count += 1,
            None => self.dead_letters.push((reason.as_str().to_owned(), 1)),
        }
    }
}

/// How a process is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessReport {
    pub process: usize,
    /// Set when it is to end.
    pub shutdown: Option<Order>,
    /// Why it cannot write for the moment.
    pub paused: Option<String>,
    /// Bytes that it has sent to other processes.
    pub sent_bytes: u64,
}
