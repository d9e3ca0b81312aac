//! What a source hands over: plays, dead letters, positions and gaps. Plain messages, below source and lake.

pub mod rejection;

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use reprise_dataflows::play::{self, PlayBatch};
use serde::{Deserialize, Serialize};

pub use rejection::{
    EVENT_BYTES_MAX, EVENT_DEPTH_MAX, Rejection, TEXT_BYTES_MAX, check_duration_ms, check_song_id, check_text,
    check_time,
};

/// 9999-12-31T23:59:59.999Z: a later day has no date that other tools read. Producers can set any timestamp.
const KAFKA_TIMESTAMP_MAX_MS: i64 = 253_402_300_799_999;
const DAY_MS: i64 = 86_400_000;
/// Files of one worker in the first cut after a start, while history is read.
const FIRST_CUT_FILES: u64 = 64;
/// How much more the next one may take.
pub const CUT_GROWTH: u32 = 4;
/// What no cut takes more of: a commit holds some KiB for each of its files.
const CUT_FILES_MAX: u64 = 8192;

/// How many files of one worker a commit may have when there have been so many `cuts` since the start. Beyond this a reader waits
/// for the next cut.
pub fn files_max(cuts: u32) -> u64 {
    FIRST_CUT_FILES.saturating_mul(u64::from(CUT_GROWTH).saturating_pow(cuts)).min(CUT_FILES_MAX)
}

/// What a source has read of an epoch.
#[derive(Debug, Default)]
pub struct Intake {
    pub plays: Option<PlayBatch>,
    pub dead_letters: Vec<DeadLetter>,
    /// How far each owned partition has been read.
    pub positions: Vec<Position>,
    /// What was found missing on the way, each in one intake only.
    pub gaps: Vec<Gap>,
}

/// The offsets `[first, end)` of a partition, which are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    pub partition: i32,
    pub first: i64,
    pub end: i64,
}

impl Gap {
    /// How many offsets there are in it.
    pub fn length(&self) -> i64 {
        self.end - self.first
    }
}

/// How far a process has come in a partition, since it began there at `start`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    pub partition: i32,
    pub start: i64,
    /// The next offset to read.
    pub next: i64,
    pub holes: i64,
    pub missing: i64,
    /// Kafka's time of the record before `next`, if there is one and it has a time.
    pub time_ms: Option<i64>,
}

/// A record that was rejected, as Kafka had it.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    pub partition: i32,
    pub offset: i64,
    pub kafka_timestamp_ms: Option<i64>,
    pub reason: Rejection,
    /// What exactly was wrong, for people.
    pub detail: String,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
}

impl DeadLetter {
    /// The timestamp as far as it is a moment between 1970 and 9999, in ms.
    pub fn sane_timestamp_ms(&self) -> Option<i64> {
        self.kafka_timestamp_ms.filter(|ms| (0..=KAFKA_TIMESTAMP_MAX_MS).contains(ms))
    }

    /// The partition of the table, as days since 1970: a function of the record, so that reading it again gives the same.
    pub fn day(&self) -> i32 {
        // Within the year 9999, so it fits.
        self.sane_timestamp_ms().map_or(0, |ms| (ms / DAY_MS) as i32)
    }

    /// What it takes in memory, about.
    pub fn bytes(&self) -> usize {
        let length = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        self.detail.len() + length(&self.key) + length(&self.value)
    }
}

/// The columns of a play as sources hand it over and the lake stores it: those of [`play::schema`], then where it comes from in
/// Kafka. The partition columns `date` and `hour` are in the paths of files.
pub fn schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let coordinates = [("kafka_partition", DataType::Int32), ("kafka_offset", DataType::Int64)];
        let coordinates = coordinates.map(|(name, data_type)| Arc::new(Field::new(name, data_type, false)));
        let columns = play::schema();
        Arc::new(Schema::new(columns.fields().iter().cloned().chain(coordinates).collect::<Vec<_>>()))
    });
    SCHEMA.clone()
}
