//! What is asked for, and what has been sent.

use super::plays::{Mix, RecordKind};
use std::path::PathBuf;
use std::time::Duration;

/// How many records are sent between two looks at the clock, at `stop` and at `hold`.
pub const BURST_MAX: u64 = 100;

/// What to send, where to, and for how long. It cannot be printed: a password may be among the client's options.
#[derive(Clone)]
pub struct Traffic {
    pub topic: String,
    /// How many partitions the topic gets if it is missing.
    pub partitions: i32,
    pub mix: Mix,
    /// Whether the history of `mix` is left out if the topic has records already.
    pub history_once: bool,
    /// Live plays a second; `None` is as fast as possible, which a history always is.
    pub rate: Option<f64>,
    /// How many records in all; `None` is without end.
    pub count: Option<u64>,
    /// When to stop, counted from the first record.
    pub duration: Option<Duration>,
    /// A copy of what is sent, with a second file for records that are no plays beside it.
    pub out: Option<PathBuf>,
    /// Options of librdkafka.
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
    pub late: u64,
    pub duplicates: u64,
    pub malformed: u64,
    /// Bytes of the values.
    pub value_bytes: u64,
    /// From the first record until all were delivered.
    pub elapsed: Duration,
}

/// How far it has come.
#[derive(Clone, Copy, Debug)]
pub struct SendProgress {
    pub sent: u64,
    /// How many there will be, if there is an end.
    pub count: Option<u64>,
    /// Records of the history that are still to come.
    pub history_left: u64,
    pub elapsed: Duration,
}

impl Summary {
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
