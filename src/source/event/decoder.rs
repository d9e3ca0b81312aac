//! Turns records into columns.

use reprise_dataflows::play::PlayBatch;

use super::columns::Columns;
use super::format::{EventFormat, Record, Unread};
use super::json::Json;

/// Turns the records of one format into columns.
pub struct Decoder {
    format: Box<dyn EventFormat>,
    columns: Columns,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// A decoder of JSON events.
    pub fn new() -> Self {
        Self::of(Box::new(Json::default()))
    }

    /// A decoder of events in `format`.
    pub fn of(format: Box<dyn EventFormat>) -> Self {
        Self { format, columns: Columns::default() }
    }

    /// Appends the play of a record, and returns its event time in µs since 1970. If the record is
    /// not a play, appends nothing, and returns the reason.
    ///
    /// # Panics
    /// If a text column grows beyond 2 GiB, the limit of Arrow's offsets. A single record cannot do
    /// that: call [`finish`](Self::finish) long before [`bytes`](Self::bytes) gets there.
    pub fn push(&mut self, record: &Record<'_>) -> Result<i64, Unread> {
        let (columns, mut event_us) = (&mut self.columns, 0);
        self.format.read(record, &mut |play| {
            columns.append(play, record);
            event_us = play.timestamp_us;
        })?;
        Ok(event_us)
    }

    /// Plays appended since the last [`finish`](Self::finish).
    pub fn rows(&self) -> usize {
        self.columns.rows()
    }

    /// Bytes of text appended since the last [`finish`](Self::finish).
    pub fn bytes(&self) -> usize {
        self.columns.text_bytes()
    }

    /// Takes the appended plays as a batch.
    pub fn finish(&mut self) -> PlayBatch {
        let another = self.columns.another();
        std::mem::replace(&mut self.columns, another).into_batch()
    }
}
