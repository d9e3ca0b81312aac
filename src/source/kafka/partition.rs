//! The state of a partition that is read, and what becomes of each of its records.

use reprise_kafka::Message;

use crate::lake::{DeadLetter, Gap, Position};
use crate::source::PartitionReport;
use crate::source::json::{Decoder, Record};

pub struct Partition {
    pub report: PartitionReport,
    /// The end has been reached at least once.
    pub ended: bool,
    /// Kafka's time of the record before the next one, if there is one and it has a time.
    time_ms: Option<i64>,
}

/// What a reader makes of records until it is taken.
pub struct Harvest {
    pub decoder: Decoder,
    pub dead_letters: Vec<DeadLetter>,
    pub max_event_us: Option<i64>,
}

impl Partition {
    pub fn new(partition: i32, start: i64) -> Self {
        Self { report: PartitionReport::new(partition, start), ended: false, time_ms: None }
    }

    pub fn position(&self) -> Position {
        let PartitionReport { partition, start, next, holes, missing, .. } = self.report;
        Position { partition, start, next, holes: holes as i64, missing: missing as i64, time_ms: self.time_ms }
    }

    /// Goes on to `offset`; what lies before it was never there to be read. Whether anything does.
    pub fn skip_to(&mut self, offset: i64) -> bool {
        let moves = offset > self.report.next;
        if moves {
            self.report.skip_to(offset);
            self.time_ms = None;
        }
        moves
    }

    /// Goes on to `offset`; what lies before it has been deleted.
    pub fn miss_to(&mut self, offset: i64) -> Option<Gap> {
        self.time_ms = None;
        self.report.miss_to(offset)
    }

    /// Makes a play or a dead letter of a record. Gives the bytes that a dead letter keeps.
    pub fn accept(&mut self, message: &Message<'_>, harvest: &mut Harvest) -> u64 {
        let Message { partition, offset, timestamp_ms, key, value } = *message;
        self.report.pass(offset);
        self.time_ms = timestamp_ms;
        match harvest.decoder.push(&Record { partition, offset, timestamp_ms, value }) {
            Ok(event_us) => {
                self.report.accepted += 1;
                harvest.max_event_us = harvest.max_event_us.max(Some(event_us));
                0
            }
            Err(rejected) => {
                self.report.reject(rejected.reason);
                harvest.dead_letters.push(DeadLetter {
                    partition,
                    offset,
                    kafka_timestamp_ms: timestamp_ms,
                    reason: rejected.reason,
                    detail: rejected.detail,
                    key: key.map(<[u8]>::to_vec),
                    value: value.map(<[u8]>::to_vec),
                });
                (key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len)) as u64
            }
        }
    }
}
