//! How the run is doing: what `/v1/status` says, and the last line of the live table.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::text::instant;

/// How far a run has come since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The lake is not opened yet.
    #[default]
    Opening,
    /// The charts are being made from the lake.
    Rebuilding,
    /// Some partition has not been read to its end since the start: the charts lack what Kafka already has.
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

/// What the run tells about itself; the dataflow's thread fills it in. Offsets are Kafka's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    pub topic: String,
    #[serde(default)]
    pub phase: Phase,
    /// How many processes work together.
    #[serde(default)]
    pub processes: usize,
    /// Of all processes.
    pub workers: usize,
    /// Bytes that the processes have sent each other; 0 with one.
    #[serde(default)]
    pub exchanged_bytes: u64,
    /// Where HTTP answers, as a URL.
    pub address: String,
    /// In µs since 1970, as RFC 3339 in JSON.
    #[serde(rename = "started_at", with = "instant")]
    pub started_at_us: Option<i64>,
    /// The newest complete epoch.
    pub epoch: u64,
    /// The clock of `epoch`; `None` before the first play.
    #[serde(rename = "clock", with = "instant")]
    pub clock_us: Option<i64>,
    /// How far the clock is ahead of this machine's, in ms; `None` when it is not.
    #[serde(default)]
    pub clock_ahead_ms: Option<i64>,
    /// Plays of the last five minutes that missed the trending window; `None` without any plays.
    #[serde(default)]
    pub window_misses: Option<WindowMisses>,
    /// The folder of the lake.
    pub lake: String,
    /// The newest version that is committed.
    pub lake_version: Option<u64>,
    /// The version of the newest checkpoint: the one that this run began with, or that it has made since.
    pub checkpoint_version: Option<u64>,
    /// Plays in the lake, earlier runs included, as of `lake_version`.
    pub lake_plays: u64,
    /// Dead letters in the lake, earlier runs included, as of `lake_version`.
    #[serde(default)]
    pub lake_dead_letters: u64,
    /// Plays that were read since this start.
    pub accepted: u64,
    /// Those of `accepted` that are not yet in the lake.
    #[serde(default)]
    pub uncommitted_plays: u64,
    /// Until the next commit is due, in ms; 0 while one is late or under way, `None` when there is nothing to commit.
    #[serde(default)]
    pub next_commit_ms: Option<u64>,
    /// Records that are not plays and were read since this start, by reason.
    pub dead_letters: BTreeMap<String, u64>,
    /// Offsets without a record: compaction, and the markers of transactions.
    pub holes: u64,
    /// Offsets that Kafka had deleted before they were read, in this run and all before it.
    #[serde(default)]
    pub missing: u64,
    pub plays_per_second: f64,
    /// How long ago the oldest record of the newest epoch had been produced when the epoch was served, in ms; `None` while
    /// nothing comes.
    #[serde(default)]
    pub freshness_ms: Option<i64>,
    /// Whether every partition has been read to its end at least once; `lag` says how far it is from there now.
    pub caught_up: bool,
    pub ready: bool,
    /// Why nothing can be committed for the moment; `None` normally.
    pub paused: Option<String>,
    /// Since when Kafka does not answer, and what is known of why; `None` normally. Lags are the last that were known then.
    #[serde(default)]
    pub kafka_silent: Option<String>,
    /// A sentence if records have come since the start and none was a play: how many, and what is wrong with the most of them.
    #[serde(default)]
    pub no_plays: Option<String>,
    /// What waits behind a transaction that nobody ends; `None` normally. It is not in the lag, for it cannot be read.
    #[serde(default)]
    pub open_transaction: Option<OpenTransaction>,
    /// Records of all partitions that wait to be read; `None` until the broker has said where they end.
    pub lag: Option<i64>,
    pub partitions: Vec<PartitionStatus>,
}

/// How far one partition has been read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionStatus {
    pub partition: i32,
    /// The offset that this run began at.
    pub start_offset: i64,
    /// The next one to read.
    pub next_offset: i64,
    /// The next one after those that are safe in the lake.
    pub committed_offset: Option<i64>,
    /// The next one that a producer will get; `None` until the broker has said it.
    pub end_offset: Option<i64>,
    /// `end_offset` less `next_offset`; `None` until the broker has said where the partition ends.
    pub lag: Option<i64>,
}

/// How many plays came, and how many of them were too old for the trending window when they were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowMisses {
    pub plays: u64,
    pub missed: u64,
}

/// Records that cannot be read until a transaction is committed or aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenTransaction {
    /// Of all partitions, markers of transactions included.
    pub records: i64,
    /// When it was first seen, in µs since 1970; as RFC 3339 in JSON.
    #[serde(rename = "since", with = "instant")]
    pub since_us: Option<i64>,
}
