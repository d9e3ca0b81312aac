//! Truncated copies of the newest dead letters, which are sent to worker 0, kept in memory and
//! shown.
//!
//! The lake keeps every dead letter whole. These copies let people see at once what is wrong.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::intake::DeadLetter;
use crate::text::instant;

/// The number of newest dead letters that are kept.
pub const NEWEST_MAX: usize = 100;
/// The maximum size in bytes of a value, and of a detail, in a copy.
const TEXT_BYTES_MAX: usize = 1024;

/// The truncated copy of a dead letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectedRecord {
    /// The Kafka partition of the record.
    pub partition: i32,
    /// The offset of the record.
    pub offset: i64,
    /// Kafka's timestamp of the record in µs since 1970, if it lies between 1970 and 9999. RFC 3339
    /// in JSON.
    #[serde(rename = "time", with = "instant")]
    pub time_us: Option<i64>,
    /// One of the stable names of [`crate::intake::Rejection`].
    pub reason: String,
    /// The exact fault, for people.
    pub detail: String,
    /// The first 1,024 bytes of the value as text, with U+FFFD for bytes that are not UTF-8. `None`
    /// for a tombstone.
    pub value: Option<String>,
}

impl From<&DeadLetter> for RejectedRecord {
    fn from(letter: &DeadLetter) -> Self {
        Self {
            partition: letter.partition,
            offset: letter.offset,
            time_us: letter.sane_timestamp_ms().map(|ms| ms * 1000),
            reason: letter.reason.as_str().to_owned(),
            detail: beginning(letter.detail.as_bytes()),
            value: letter.value.as_deref().map(beginning),
        }
    }
}

fn beginning(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(TEXT_BYTES_MAX)]).into_owned()
}

/// The newest [`NEWEST_MAX`] dead letters, oldest first.
#[derive(Debug, Default)]
pub struct NewestRejected(VecDeque<RejectedRecord>);

impl NewestRejected {
    /// Adds letters in the order in which they were read. Copies only those that are kept.
    pub fn note(&mut self, letters: &[DeadLetter]) {
        let newest = &letters[letters.len().saturating_sub(NEWEST_MAX)..];
        self.extend(newest.iter().map(RejectedRecord::from));
    }

    /// Adds records, and drops the oldest beyond [`NEWEST_MAX`].
    pub fn extend(&mut self, records: impl IntoIterator<Item = RejectedRecord>) {
        self.0.extend(records);
        self.0.drain(..self.0.len().saturating_sub(NEWEST_MAX));
    }

    /// Removes and returns all records, oldest first.
    pub fn take(&mut self) -> Vec<RejectedRecord> {
        std::mem::take(&mut self.0).into()
    }

    /// The newest `limit` records, newest first.
    pub fn newest(&self, limit: usize) -> impl Iterator<Item = &RejectedRecord> {
        self.0.iter().rev().take(limit)
    }
}

#[cfg(test)]
mod tests {
    use crate::intake::Rejection;

    use super::*;

    fn letter(offset: i64, timestamp_ms: i64, value: Option<&[u8]>) -> DeadLetter {
        DeadLetter {
            partition: 3,
            offset,
            kafka_timestamp_ms: Some(timestamp_ms),
            reason: Rejection::NotJson,
            detail: "x".repeat(2 * TEXT_BYTES_MAX),
            key: None,
            value: value.map(<[u8]>::to_vec),
        }
    }

    #[test]
    fn only_the_newest_are_kept() {
        let mut newest = NewestRejected::default();
        for round in 0..3 {
            let letters: Vec<DeadLetter> = (0..150).map(|number| letter(round * 1000 + number, 0, None)).collect();
            newest.note(&letters);
        }
        newest.note(&[letter(9000, 0, None)]);
        let offsets: Vec<i64> = newest.newest(3).map(|record| record.offset).collect();
        assert_eq!((offsets, newest.newest(usize::MAX).count()), (vec![9000, 2149, 2148], NEWEST_MAX));
        assert_eq!((newest.take().len(), newest.newest(1).count()), (NEWEST_MAX, 0));
    }

    #[test]
    fn a_copy_is_short_text_whatever_the_record_was() {
        let long = [&b"\xff{"[..], &[b'a'; 5000]].concat();
        let record = RejectedRecord::from(&letter(1, 1500, Some(&long)));
        let value = record.value.unwrap();
        assert!(value.starts_with("\u{fffd}{aa") && value.chars().count() == TEXT_BYTES_MAX, "{value}");
        assert_eq!((record.time_us, record.detail.len()), (Some(1_500_000), TEXT_BYTES_MAX));
        let record = RejectedRecord::from(&letter(1, i64::MAX, None));
        assert_eq!((record.time_us, record.value), (None, None));
    }
}
