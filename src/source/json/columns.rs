//! The columns of a batch while it grows.
//!
//! Columns that are never null are plain vectors, which Arrow takes over without a copy. A batch has room for as much as the
//! one before it held: growing by doubling would copy every byte twice, and in a quiet topic a batch holds a few plays, which
//! wait for the lake's writer.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Int32Array, Int32Builder, Int64Array, RecordBatch, StringBuilder,
    TimestampMicrosecondArray,
};
use reprise_dataflows::play::{self, PlayBatch};

use super::Play;

/// In the order of [`play::schema`].
#[derive(Default)]
pub struct Columns {
    song_id: StringBuilder,
    title: StringBuilder,
    artist: StringBuilder,
    user_id: StringBuilder,
    timestamp_us: Vec<i64>,
    duration_ms: Vec<i32>,
    completed: BooleanBuilder,
    device: StringBuilder,
    country: StringBuilder,
    event_id: StringBuilder,
    city: StringBuilder,
    album: StringBuilder,
    listened_ms: Int32Builder,
    kafka_partition: Vec<i32>,
    kafka_offset: Vec<i64>,
    text_bytes: usize,
}

impl Columns {
    /// Empty columns with room for as much as these hold.
    pub fn another(&self) -> Self {
        let rows = self.rows();
        let texts = |column: &StringBuilder| StringBuilder::with_capacity(rows, column.values_slice().len());
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
            event_id: texts(&self.event_id),
            city: texts(&self.city),
            album: texts(&self.album),
            listened_ms: Int32Builder::with_capacity(rows),
            kafka_partition: Vec::with_capacity(rows),
            kafka_offset: Vec::with_capacity(rows),
            text_bytes: 0,
        }
    }

    pub fn append(&mut self, play: &Play<'_>, partition: i32, offset: i64) {
        let mut text_bytes = 0;
        let mut required = |column: &mut StringBuilder, text: &str| {
            column.append_value(text);
            text_bytes += text.len();
        };
        required(&mut self.song_id, play.song_id);
        required(&mut self.title, play.title);
        required(&mut self.artist, play.artist);
        required(&mut self.user_id, play.user_id);
        required(&mut self.device, play.device);
        required(&mut self.country, play.country);
        let mut optional = |column: &mut StringBuilder, text: Option<&str>| {
            column.append_option(text);
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

    pub fn rows(&self) -> usize {
        self.kafka_offset.len()
    }

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
        let batch = RecordBatch::try_new(play::schema(), columns).expect("the columns above are those of the schema");
        PlayBatch::new(batch, None)
    }
}
