//! The state of a partition that is read, and the conversion of each of its records.

use reprise_kafka::Message;

use super::spread::Spread;
use crate::intake::{DeadLetter, Gap, Position};
use crate::report::PartitionReport;
use crate::report::times::EventTimes;
use crate::source::event::{Decoder, Record, Unread};

/// Arrivals are rounded down to whole seconds: in milliseconds they are 4 % of the lake.
const SEEN_STEP_US: i64 = 1_000_000;

/// The state of an owned partition.
pub struct Partition {
    /// The position and the counts, for worker 0.
    pub report: PartitionReport,
    /// Whether the end has been reached at least once.
    pub ended: bool,
    /// Kafka's timestamp of the record before the next one in ms since 1970, if that record was
    /// read and has a timestamp.
    time_ms: Option<i64>,
    /// When the newest record arrived, in µs since 1970.
    seen_us: Option<i64>,
}

/// The records that a reader has read and not yet handed over.
pub struct Batch {
    /// The plays.
    pub decoder: Decoder,
    /// The rejected records.
    pub dead_letters: Vec<DeadLetter>,
    /// The event times of the plays since the last report.
    pub times: EventTimes,
    /// The files that the records since the last cut will need.
    pub spread: Spread,
}

impl Partition {
    /// Nothing read yet, from the offset `start`. Before it, records had arrived until `seen_us`,
    /// in µs since 1970.
    pub fn new(partition: i32, start: i64, seen_us: Option<i64>) -> Self {
        Self { report: PartitionReport::new(partition, start), ended: false, time_ms: None, seen_us }
    }

    /// How far the partition has been read.
    pub fn position(&self) -> Position {
        let PartitionReport { partition, start, next, holes, missing, .. } = self.report;
        let (holes, missing) = (holes as i64, missing as i64);
        Position { partition, start, next, holes, missing, time_ms: self.time_ms, seen_us: self.seen_us }
    }

    /// Whether the record before `end` has just been read, where `end` is the partition's end in
    /// the last fetch. False after offsets were skipped: `end` may be older than the position then.
    pub fn is_at(&self, end: i64) -> bool {
        self.time_ms.is_some() && self.report.next == end
    }

    /// Moves to `offset`, and counts the offsets before it as holes. Returns whether there were
    /// any.
    pub fn skip_to(&mut self, offset: i64) -> bool {
        let moves = offset > self.report.next;
        if moves {
            self.report.skip_to(offset);
            self.time_ms = None;
        }
        moves
    }

    /// Moves to `offset`, and counts the offsets before it as missing. Returns the gap, if there is
    /// one.
    pub fn miss_to(&mut self, offset: i64) -> Option<Gap> {
        self.time_ms = None;
        self.report.miss_to(offset)
    }

    /// Adds a record to the batch as a play or a dead letter. `now_us` is the wall clock in µs since
    /// 1970. Returns the bytes that a dead letter keeps.
    ///
    /// # Errors
    /// What the format waits for. Then nothing has changed, and the same record has to be given
    /// again.
    pub fn accept(&mut self, message: &Message<'_>, batch: &mut Batch, now_us: i64) -> Result<u64, String> {
        let Message { partition, offset, timestamp_ms, key, value } = *message;
        let arrived_us = timestamp_ms.map_or(now_us, |timestamp_ms| timestamp_ms.saturating_mul(1000).min(now_us));
        let arrived_us = arrived_us - arrived_us.rem_euclid(SEEN_STEP_US);
        let seen_us = self.seen_us.map_or(arrived_us, |before_us| before_us.max(arrived_us));
        let event_us = match batch.decoder.push(&Record { partition, offset, timestamp_ms, seen_us, value }) {
            Ok(event_us) => Ok(event_us),
            Err(Unread::Rejected(rejected)) => Err(rejected),
            Err(Unread::Waiting(what)) => return Err(what),
        };
        self.report.pass(offset);
        (self.time_ms, self.seen_us) = (timestamp_ms, Some(seen_us));
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

    const NOW_US: i64 = 1_000_000;

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
        let mut partition = Partition::new(0, 7, None);
        let message =
            Message { partition: 0, offset: 7, timestamp_ms: Some(1), key: Some(b"k"), value: Some(b"event") };
        for _ in 0..2 {
            assert_eq!(partition.accept(&message, &mut batch, NOW_US), Err("a schema".to_owned()));
            assert_eq!((partition.position().next, batch.dead_letters.len(), batch.spread.files()), (7, 0, 0));
        }
        assert_eq!(partition.accept(&message, &mut batch, NOW_US), Ok(6));
        assert_eq!((partition.position().next, batch.dead_letters.len()), (8, 1));
    }

    #[test]
    fn only_a_record_that_was_read_is_at_the_end() {
        let mut batch = batch(Decoder::new());
        let mut partition = Partition::new(0, 5, None);
        assert!(!partition.is_at(5));
        let message = Message { partition: 0, offset: 7, timestamp_ms: Some(1), key: None, value: None };
        assert_eq!(partition.accept(&message, &mut batch, NOW_US), Ok(0));
        assert!(partition.is_at(8));
        // A transaction marker follows the last record.
        assert!(!partition.is_at(9));
        // The end was fetched before part of the topic was deleted.
        partition.miss_to(20);
        assert!(!partition.is_at(20) && !partition.is_at(8));
    }
}
