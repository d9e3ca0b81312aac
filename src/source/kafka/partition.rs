//! The state of a partition that is read, and what becomes of each of its records.

use reprise_kafka::Message;

use super::spread::Spread;
use crate::intake::{DeadLetter, Gap, Position};
use crate::report::PartitionReport;
use crate::report::times::EventTimes;
use crate::source::event::{Decoder, Record, Unread};

pub struct Partition {
    pub report: PartitionReport,
    /// The end has been reached at least once.
    pub ended: bool,
    /// Kafka's time of the record before the next one, if there is one and it has a time.
    time_ms: Option<i64>,
}

/// What a reader makes of records until it is taken.
pub struct Batch {
    pub decoder: Decoder,
    pub dead_letters: Vec<DeadLetter>,
    pub times: EventTimes,
    /// Of what was read since the last cut.
    pub spread: Spread,
}

impl Partition {
    pub fn new(partition: i32, start: i64) -> Self {
        Self { report: PartitionReport::new(partition, start), ended: false, time_ms: None }
    }

    pub fn position(&self) -> Position {
        let PartitionReport { partition, start, next, holes, missing, .. } = self.report;
        Position { partition, start, next, holes: holes as i64, missing: missing as i64, time_ms: self.time_ms }
    }

    /// Whether a record has just been read that is the last one before `end`, where the partition ended when it was last fetched. Who
    /// has skipped something has gone beyond what that says.
    pub fn is_at(&self, end: i64) -> bool {
        self.time_ms.is_some() && self.report.next == end
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

    /// Makes a play or a dead letter of a record, and returns the bytes that a dead letter keeps.
    ///
    /// # Errors
    /// What the format waits for. Then nothing has changed, and the same record has to be given again.
    pub fn accept(&mut self, message: &Message<'_>, batch: &mut Batch) -> Result<u64, String> {
        let Message { partition, offset, timestamp_ms, key, value } = *message;
        let event_us = match batch.decoder.push(&Record { partition, offset, timestamp_ms, value }) {
            Ok(event_us) => Ok(event_us),
            Err(Unread::Rejected(rejected)) => Err(rejected),
            Err(Unread::Waiting(what)) => return Err(what),
        };
        self.report.pass(offset);
        self.time_ms = timestamp_ms;
        Ok(match event_us {
            Ok(event_us) => {
                self.report.accepted += 1;
                batch.times.add(event_us);
                batch.spread.add_play(event_us);
                0
            }
            Err(rejected) => {
                self.report.reject(rejected.reason);
                batch.spread.add_dead_letter(timestamp_ms);
                batch.dead_letters.push(DeadLetter {
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
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::Rejection;
    use crate::source::event::fields::Play;
    use crate::source::event::format::EventFormat;
    use crate::source::event::verdict::Rejected;

    fn batch(decoder: Decoder) -> Batch {
        Batch { decoder, dead_letters: Vec::new(), times: EventTimes::default(), spread: Spread::default() }
    }

    /// Rejects all records, once it has been asked `0` times.
    struct AfterAnswers(usize);

    impl EventFormat for AfterAnswers {
        fn read(&mut self, _record: &Record<'_>, _accept: &mut dyn FnMut(&Play<'_>)) -> Result<(), Unread> {
            match self.0.checked_sub(1) {
                Some(left) => {
                    self.0 = left;
                    Err(Unread::Waiting("a schema".to_owned()))
                }
                None => Err(Rejected::new(Rejection::NotJson, format_args!("it is a test")).into()),
            }
        }
    }

    #[test]
    fn a_record_that_its_format_cannot_read_yet_changes_nothing() {
        let mut batch = batch(Decoder::of(Box::new(AfterAnswers(2))));
        let mut partition = Partition::new(0, 7);
        let message =
            Message { partition: 0, offset: 7, timestamp_ms: Some(1), key: Some(b"k"), value: Some(b"event") };
        for _ in 0..2 {
            assert_eq!(partition.accept(&message, &mut batch), Err("a schema".to_owned()));
            assert_eq!((partition.position().next, batch.dead_letters.len(), batch.spread.files()), (7, 0, 0));
        }
        assert_eq!(partition.accept(&message, &mut batch), Ok(6));
        assert_eq!((partition.position().next, batch.dead_letters.len()), (8, 1));
    }

    #[test]
    fn only_a_record_that_was_read_is_at_the_end() {
        let mut batch = batch(Decoder::new());
        let mut partition = Partition::new(0, 5);
        assert!(!partition.is_at(5));
        let message = Message { partition: 0, offset: 7, timestamp_ms: Some(1), key: None, value: None };
        assert_eq!(partition.accept(&message, &mut batch), Ok(0));
        assert!(partition.is_at(8));
        // After the last record there is a transaction's marker.
        assert!(!partition.is_at(9));
        // An end that was fetched before part of the topic was deleted.
        partition.miss_to(20);
        assert!(!partition.is_at(20) && !partition.is_at(8));
    }
}
