//! The status of a run: the answer of `/v1/status`, and the last line of the live table.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::text::instant;

/// The phase of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The lake is not opened yet.
    #[default]
    Opening,
    /// The charts are being rebuilt from the lake.
    Rebuilding,
    /// Some partition has not been read to its end since the start: the charts lack plays that
    /// Kafka already has.
    CatchingUp,
    /// Every partition has been read to its end once.
    Live,
}

impl Phase {
    /// All phases, in the order in which a run passes through them.
    pub const ALL: [Self; 4] = [Self::Opening, Self::Rebuilding, Self::CatchingUp, Self::Live];

    /// The name in JSON and in the label of the metric.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::Rebuilding => "rebuilding",
            Self::CatchingUp => "catching_up",
            Self::Live => "live",
        }
    }
}

/// The status of a run. Offsets are Kafka's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The topic that plays are read from.
    pub topic: String,
    /// How far the run has come since its start.
    #[serde(default)]
    pub phase: Phase,
    /// The number of processes in the cluster; 1 without one.
    #[serde(default)]
    pub processes: usize,
    /// The number of workers of all processes.
    pub workers: usize,
    /// Bytes that the processes have sent to each other; 0 with one process.
    #[serde(default)]
    pub exchanged_bytes: u64,
    /// The URL of the HTTP server.
    pub address: String,
    /// When the run started, in µs since 1970; as RFC 3339 in JSON.
    #[serde(rename = "started_at", with = "instant")]
    pub started_at_us: Option<i64>,
    /// The newest complete epoch.
    pub epoch: u64,
    /// The clock of `epoch`; `None` before the first play.
    #[serde(rename = "clock", with = "instant")]
    pub clock_us: Option<i64>,
    /// How far the clock is ahead of this machine's, in ms; `None` if it is not ahead.
    #[serde(default)]
    pub clock_ahead_ms: Option<i64>,
    /// Plays of the last five minutes that missed the trending window; `None` without any plays.
    #[serde(default)]
    pub window_misses: Option<WindowMisses>,
    /// The folder of the lake.
    pub lake: String,
    /// The newest version that is committed.
    pub lake_version: Option<u64>,
    /// The lake's version of the newest checkpoint that this run has started from or has made.
    pub checkpoint_version: Option<u64>,
    /// Plays in the lake, earlier runs included, as of `lake_version`.
    pub lake_plays: u64,
    /// Dead letters in the lake, earlier runs included, as of `lake_version`.
    #[serde(default)]
    pub lake_dead_letters: u64,
    /// Plays that were read since the start of this run.
    pub accepted: u64,
    /// Plays of `accepted` that are not yet in the lake.
    #[serde(default)]
    pub uncommitted_plays: u64,
    /// Time until the next commit is due, in ms; 0 while one is late or under way, `None` when
    /// there is nothing to commit.
    #[serde(default)]
    pub next_commit_ms: Option<u64>,
    /// Records that are not plays and were read since the start of this run, by reason.
    pub dead_letters: BTreeMap<String, u64>,
    /// Offsets without a record: removed by compaction, or markers of transactions.
    pub holes: u64,
    /// Offsets that Kafka had deleted before they were read, in this run and all before it.
    #[serde(default)]
    pub missing: u64,
    /// Plays read per second, averaged over the last interval of `terminal::monitor`.
    pub plays_per_second: f64,
    /// The age of the newest epoch's oldest record, from its production until the epoch was served,
    /// in ms; `None` while no records come.
    #[serde(default)]
    pub freshness_ms: Option<i64>,
    /// Whether every partition has been read to its end at least once; `lag` is the distance now.
    pub caught_up: bool,
    /// Whether the charts of the lake are served.
    pub ready: bool,
    /// Why nothing can be committed at the moment; `None` normally.
    pub paused: Option<String>,
    /// Since when Kafka does not answer, and why as far as known; `None` normally. Meanwhile lags
    /// keep their last known values.
    #[serde(default)]
    pub kafka_silent: Option<String>,
    /// A sentence for people if records have been read and none is a play: their number, and the
    /// most frequent fault.
    #[serde(default)]
    pub no_plays: Option<String>,
    /// The records behind a transaction that stays open; `None` normally. They cannot be read, so
    /// the lag leaves them out.
    #[serde(default)]
    pub open_transaction: Option<OpenTransaction>,
    /// Records of all partitions that wait to be read; `None` until the broker has reported the
    /// partitions' ends.
    pub lag: Option<i64>,
    /// Each partition, in the order of their numbers.
    pub partitions: Vec<PartitionStatus>,
}

impl Status {
    /// The status of a partition, added if it is new.
    pub(super) fn partition(&mut self, partition: i32) -> &mut PartitionStatus {
        let index = self.partitions.partition_point(|known| known.partition < partition);
        if self.partitions.get(index).is_none_or(|known| known.partition != partition) {
            self.partitions.insert(index, PartitionStatus { partition, ..PartitionStatus::default() });
        }
        &mut self.partitions[index]
    }

    /// Computes the lag of each partition, and their sum.
    pub(super) fn measure_lag(&mut self) {
        for partition in &mut self.partitions {
            partition.lag = partition.end_offset.map(|end| (end - partition.next_offset).max(0));
        }
        let lags = self.partitions.iter().map(|partition| partition.lag);
        self.lag = lags.sum::<Option<i64>>().filter(|_| !self.partitions.is_empty());
    }
}

/// How far one partition has been read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionStatus {
    /// The partition's number.
    pub partition: i32,
    /// The offset that this run began at.
    pub start_offset: i64,
    /// The next offset to read.
    pub next_offset: i64,
    /// The next offset after those in the lake.
    pub committed_offset: Option<i64>,
    /// The offset of the next record to be produced; `None` until the broker has reported it.
    pub end_offset: Option<i64>,
    /// `end_offset - next_offset`, at least 0; `None` until `end_offset` is known.
    pub lag: Option<i64>,
}

/// Plays of a period of time, and those that were too old for the trending window when they were
/// read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowMisses {
    /// All plays of the period.
    pub plays: u64,
    /// Plays that were too old for the window.
    pub missed: u64,
}

/// Records that cannot be read until a transaction is committed or aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenTransaction {
    /// The records of all partitions, markers of transactions included.
    pub records: i64,
    /// When the transaction was first seen, in µs since 1970; as RFC 3339 in JSON.
    #[serde(rename = "since", with = "instant")]
    pub since_us: Option<i64>,
}
