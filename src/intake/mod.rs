//! The output of a source: plays, dead letters, positions and gaps. Plain messages, in a layer
//! below source and lake.

pub mod rejection;

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use reprise_dataflows::play::{self, PlayBatch};
use serde::{Deserialize, Serialize};

pub use rejection::{
    EVENT_BYTES_MAX, EVENT_DEPTH_MAX, Rejection, TEXT_BYTES_MAX, check_duration_ms, check_song_id, check_text,
    check_time,
};

/// 9999-12-31T23:59:59.999Z: other tools cannot read later dates, and producers can set any
/// timestamp.
const KAFKA_TIMESTAMP_MAX_MS: i64 = 253_402_300_799_999;
const DAY_MS: i64 = 86_400_000;
/// The column with the arrival time of a play: see [`schema`].
pub const SEEN: &str = "seen";
/// The maximum number of files of one worker in the first cut after a start, while history is read.
const FIRST_CUT_FILES: u64 = 64;
/// The growth from one cut to the next, in files and in time.
pub const CUT_GROWTH: u32 = 4;
/// The maximum number of files of one worker in any cut: a commit holds a few KiB in memory for
/// each file.
const CUT_FILES_MAX: u64 = 8192;

/// The maximum number of files of one worker in a commit, after `cuts` cuts since the start. At
/// this number a reader waits for the next cut.
pub fn files_max(cuts: u32) -> u64 {
    FIRST_CUT_FILES.saturating_mul(u64::from(CUT_GROWTH).saturating_pow(cuts)).min(CUT_FILES_MAX)
}

/// The records that a source has read in an epoch.
#[derive(Debug, Default)]
pub struct Intake {
    /// The valid plays, with the columns of [`schema`].
    pub plays: Option<PlayBatch>,
    /// The rejected records.
    pub dead_letters: Vec<DeadLetter>,
    /// How far each owned partition has been read.
    pub positions: Vec<Position>,
    /// The gaps that were found, each in one intake only.
    pub gaps: Vec<Gap>,
}

/// The offsets `[first, end)` of a partition, which Kafka deleted before they were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The Kafka partition.
    pub partition: i32,
    /// The first missing offset.
    pub first: i64,
    /// The offset after the last missing one.
    pub end: i64,
}

impl Gap {
    /// The number of missing offsets.
    pub fn length(&self) -> i64 {
        self.end - self.first
    }
}

/// How far a process has read a partition since it began there at `start`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The Kafka partition.
    pub partition: i32,
    /// The offset at which the process began.
    pub start: i64,
    /// The next offset to read.
    pub next: i64,
    /// The offsets since `start` without a record.
    pub holes: i64,
    /// The offsets since `start` that Kafka deleted before they were read.
    pub missing: i64,
    /// Kafka's timestamp of the record before `next` in ms since 1970, if there is one and it has a
    /// timestamp.
    pub time_ms: Option<i64>,
    /// When the newest record arrived, in µs since 1970: see [`schema`]. `None` if none ever has.
    pub seen_us: Option<i64>,
}

/// A rejected record, with its original bytes.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// The Kafka partition.
    pub partition: i32,
    /// The offset of the record.
    pub offset: i64,
    /// Kafka's timestamp in ms since 1970, if there is one. Not checked.
    pub kafka_timestamp_ms: Option<i64>,
    /// Why the record was rejected.
    pub reason: Rejection,
    /// The exact fault, for people.
    pub detail: String,
    /// The key of the record, if it has one.
    pub key: Option<Vec<u8>>,
    /// The value of the record; `None` for a tombstone.
    pub value: Option<Vec<u8>>,
}

impl DeadLetter {
    /// Kafka's timestamp in ms since 1970, if it lies between 1970 and 9999.
    pub fn sane_timestamp_ms(&self) -> Option<i64> {
        self.kafka_timestamp_ms.filter(|ms| (0..=KAFKA_TIMESTAMP_MAX_MS).contains(ms))
    }

    /// The table partition, as days since 1970. It depends only on the record, so reading the
    /// record again gives the same partition.
    pub fn day(&self) -> i32 {
        // The timestamp is at most in the year 9999, so the day fits.
        self.sane_timestamp_ms().map_or(0, |ms| (ms / DAY_MS) as i32)
    }

    /// The approximate size in memory, in bytes.
    pub fn bytes(&self) -> usize {
        let length = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        self.detail.len() + length(&self.key) + length(&self.value)
    }
}

/// The schema of plays that sources produce: the columns of [`play::schema`], then the Kafka
/// partition and offset, and `seen`, when the record arrived. That is the greatest Kafka timestamp
/// of its partition up to and with the record, in whole seconds, but never ahead of the wall clock
/// of the process that read it, which also stands in for a missing timestamp. So it never decreases
/// in a partition. The lake adds a column of its own: see `lake::rows`.
pub fn schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let moment = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let coordinates = [("kafka_partition", DataType::Int32), ("kafka_offset", DataType::Int64), (SEEN, moment)];
        let coordinates = coordinates.map(|(name, data_type)| Arc::new(Field::new(name, data_type, false)));
        let columns = play::schema();
        Arc::new(Schema::new(columns.fields().iter().cloned().chain(coordinates).collect::<Vec<_>>()))
    });
    SCHEMA.clone()
}
