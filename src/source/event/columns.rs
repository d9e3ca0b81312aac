//! The columns of a batch while it grows.
//!
//! Columns that are never null are plain vectors, which Arrow takes over without a copy. A batch has room for as much as the
//! one before it held: growing by doubling would copy every byte twice, and in a quiet topic a batch holds a few plays, which
//! wait for the lake's writer.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Int32Array, Int32Builder, Int64Array, RecordBatch, StringArray, StringBuilder,
    TimestampMicrosecondArray,
};
use arrow::buffer::{Buffer, OffsetBuffer};
use reprise_dataflows::play::PlayBatch;

use super::verdict::Play;

/// In the order of [`crate::intake::schema`].
#[derive(Default)]
pub struct Columns {
    song_id: Texts,
    title: Texts,
    artist: Texts,
    user_id: Texts,
    timestamp_us: Vec<i64>,
    duration_ms: Vec<i32>,
    completed: BooleanBuilder,
    device: Texts,
    country: Texts,
    event_id: OptionalTexts,
    city: OptionalTexts,
    album: OptionalTexts,
    listened_ms: Int32Builder,
    kafka_partition: Vec<i32>,
    kafka_offset: Vec<i64>,
    text_bytes: usize,
}

impl Columns {
    /// Empty columns with room for as much as these hold.
    pub fn another(&self) -> Self {
        let rows = self.rows();
        let texts = |column: &Texts| Texts::with_capacity(rows, column.bytes.len());
        Self {
            song_id: texts(&self.song_id),
            title: texts(&self.title),
            artist: texts(&self.artist),
            user_id: texts(&self.user_id),
            timestamp_us: Vec::with_capacity(rows),
            duration_ms: Vec::with_capacity(rows),
            completed: BooleanBuilder::with_capacity(rows),
            device: texts(&self.device),
            country: texts(&self.country),
            event_id: OptionalTexts::default(),
            city: OptionalTexts::default(),
            album: OptionalTexts::default(),
            listened_ms: Int32Builder::with_capacity(rows),
            kafka_partition: Vec::with_capacity(rows),
            kafka_offset: Vec::with_capacity(rows),
            text_bytes: 0,
        }
    }

    pub fn append(&mut self, play: &Play<'_>, partition: i32, offset: i64) {
        let mut text_bytes = 0;
        let mut required = |column: &mut Texts, text: &str| {
            column.append(text);
            text_bytes += text.len();
        };
        required(&mut self.song_id, play.song_id);
        required(&mut self.title, play.title);
        required(&mut self.artist, play.artist);
        required(&mut self.user_id, play.user_id);
        required(&mut self.device, play.device);
        required(&mut self.country, play.country);
        let mut optional = |column: &mut OptionalTexts, text: Option<&str>| {
            column.append(text);
            text_bytes += text.map_or(0, str::len);
        };
        optional(&mut self.event_id, play.event_id);
        optional(&mut self.city, play.city);
        optional(&mut self.album, play.album);
        self.text_bytes += text_bytes;

        self.timestamp_us.push(play.timestamp_us);
        self.duration_ms.push(play.duration_ms);
        self.completed.append_value(play.completed);
        self.listened_ms.append_option(play.listened_ms);
        self.kafka_partition.push(partition);
        self.kafka_offset.push(offset);
    }

    #[inline]
    pub fn rows(&self) -> usize {
        self.kafka_offset.len()
    }

    #[inline]
    pub fn text_bytes(&self) -> usize {
        self.text_bytes
    }

    pub fn into_batch(mut self) -> PlayBatch {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.song_id.finish()),
            Arc::new(self.title.finish()),
            Arc::new(self.artist.finish()),
            Arc::new(self.user_id.finish()),
            Arc::new(TimestampMicrosecondArray::from(self.timestamp_us).with_timezone("UTC")),
            Arc::new(Int32Array::from(self.duration_ms)),
            Arc::new(self.completed.finish()),
            Arc::new(self.device.finish()),
            Arc::new(self.country.finish()),
            Arc::new(self.event_id.finish()),
            Arc::new(self.city.finish()),
            Arc::new(self.album.finish()),
            Arc::new(self.listened_ms.finish()),
            Arc::new(Int32Array::from(self.kafka_partition)),
            Arc::new(Int64Array::from(self.kafka_offset)),
        ];
        #[expect(clippy::expect_used, reason = "no input reaches it: both sides are written down here")]
        let batch =
            RecordBatch::try_new(crate::intake::schema(), columns).expect("the columns above are those of the schema");
        PlayBatch::new(batch, None)
    }
}

/// Texts one after the other: Arrow's own builder also asks each time whether there are nulls.
struct Texts {
    bytes: Vec<u8>,
    offsets: Vec<i32>,
}

impl Default for Texts {
    fn default() -> Self {
        Self::with_capacity(0, 0)
    }
}

impl Texts {
    fn with_capacity(rows: usize, bytes: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        Self { bytes: Vec::with_capacity(bytes), offsets }
    }

    #[inline]
    fn append(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
        self.offsets.push(self.bytes.len() as i32);
    }

    fn finish(self) -> StringArray {
        StringArray::new(OffsetBuffer::new(self.offsets.into()), Buffer::from_vec(self.bytes), None)
    }
}

/// Texts that are missing more often than not.
#[derive(Default)]
struct OptionalTexts {
    /// Rows without a text before the first that has one.
    missing: usize,
    rest: Option<StringBuilder>,
}

impl OptionalTexts {
    #[inline]
    fn append(&mut self, text: Option<&str>) {
        match (&mut self.rest, text) {
            (None, None) => self.missing += 1,
            (Some(rest), text) => rest.append_option(text),
            (None, Some(text)) => {
                let mut rest = StringBuilder::new();
                rest.append_nulls(self.missing);
                rest.append_value(text);
                self.rest = Some(rest);
            }
        }
    }

    fn finish(self) -> StringArray {
        self.rest.map_or_else(|| StringArray::new_null(self.missing), |mut rest| rest.finish())
    }
}
