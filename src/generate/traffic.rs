//! What to send, and what has been sent.

use super::plays::{Mix, RecordKind};
use std::path::PathBuf;
use std::time::Duration;

/// The most records that are sent before the clock, `stop` and `hold` are checked again.
pub const BURST_MAX: u64 = 100;

/// What to send, where to, and for how long. Not `Debug`: the client options may contain a
/// password.
#[derive(Clone)]
pub struct Traffic {
    /// The topic to send to.
    pub topic: String,
    /// The number of partitions of the topic if it has to be created.
    pub partitions: i32,
    /// The properties of the plays.
    pub mix: Mix,
    /// Whether the history of `mix` is left out if the topic has records already.
    pub history_once: bool,
    /// Live plays a second; `None` is as fast as possible. A history is always sent as fast as
    /// possible.
    pub rate: Option<f64>,
    /// The number of records in all; `None` for no limit.
    pub count: Option<u64>,
    /// When to stop, counted from the first record.
    pub duration: Option<Duration>,
    /// A file for a copy of the plays that are sent; malformed records go to a second file beside
    /// it.
    pub out: Option<PathBuf>,
    /// librdkafka options by name.
    pub client_options: Vec<(String, String)>,
}

impl Default for Traffic {
    fn default() -> Self {
        Self {
            topic: "song-plays".to_owned(),
            partitions: 4,
            mix: Mix::default(),
            history_once: false,
            rate: Some(1000.0),
            count: None,
            duration: None,
            out: None,
            client_options: Vec::new(),
        }
    }
}

/// What has been sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Records of each partition, all kinds together.
    pub partitions: Vec<u64>,
    /// Records, all kinds together.
    pub sent: u64,
    /// Late plays.
    pub late: u64,
    /// Duplicates.
    pub duplicates: u64,
    /// Malformed records, with tombstones.
    pub malformed: u64,
    /// Bytes of the values.
    pub value_bytes: u64,
    /// From the first record until all were delivered.
    pub elapsed: Duration,
}

/// The progress of a run.
#[derive(Clone, Copy, Debug)]
pub struct SendProgress {
    /// Records sent so far.
    pub sent: u64,
    /// How many there will be, if there is a limit.
    pub count: Option<u64>,
    /// Records of the history that are still to come.
    pub history_left: u64,
    /// The time since the first record.
    pub elapsed: Duration,
}

impl Summary {
    /// Counts a record.
    pub fn add(&mut self, kind: RecordKind, partition: usize, value_bytes: usize) {
        self.partitions[partition] += 1;
        self.sent += 1;
        self.value_bytes += value_bytes as u64;
        match kind {
            RecordKind::Play => {}
            RecordKind::Late => self.late += 1,
            RecordKind::Duplicate => self.duplicates += 1,
            RecordKind::Malformed(_) | RecordKind::Tombstone => self.malformed += 1,
        }
    }
}
