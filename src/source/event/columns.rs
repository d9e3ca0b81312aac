//! The columns of a batch while it grows.
//!
//! Columns that are never null are plain vectors, which Arrow takes over without a copy. A new
//! batch has the capacity of the last one: growing by doubling would copy every byte twice, and a
//! fixed capacity would waste memory for a quiet topic, whose small batches wait for the lake's
//! writer.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Int32Array, Int32Builder, Int64Array, RecordBatch, StringArray, StringBuilder,
    TimestampMicrosecondArray,
};
use arrow::buffer::{Buffer, OffsetBuffer};
use reprise_dataflows::play::PlayBatch;

use super::Record;
use super::fields::{
    Flag, Identifier, Kind, Milliseconds, Moment, OptionalMilliseconds, OptionalText, Play, Text, for_each_field,
};

/// A column under construction.
trait Column<V>: Default {
    /// An empty column with room for `rows` values, and for as many bytes of text as this one
    /// holds.
    fn another(&self, rows: usize) -> Self;

    /// Appends a value, and returns its bytes of text.
    fn add(&mut self, value: V) -> usize;

    /// The column as an Arrow array.
    fn into_array(self) -> ArrayRef;
}

/// The column type for the values of a field.
trait Stored: Kind {
    type Column: for<'a> Column<Self::Value<'a>>;
}

macro_rules! stored {
    ($($kind:ident as $column:ty;)*) => {$(
        impl Stored for $kind {
            type Column = $column;
        }
    )*};
}

stored! {
    Identifier as Texts;
    Text as Texts;
    OptionalText as OptionalTexts;
    Moment as Moments;
    Milliseconds as Vec<i32>;
    OptionalMilliseconds as Int32Builder;
    Flag as BooleanBuilder;
}

macro_rules! columns {
    ($($(#[$doc:meta])* $field:ident $name:literal $variant:ident $kind:ident,)*) => {
        /// The columns of a batch, in the order of [`crate::intake::schema`].
        #[derive(Default)]
        pub struct Columns {
            $($field: <$kind as Stored>::Column,)*
            kafka_partition: Vec<i32>,
            kafka_offset: Vec<i64>,
            seen: Moments,
            text_bytes: usize,
        }

        impl Columns {
            /// Empty columns with the capacity that these use.
            pub fn another(&self) -> Self {
                let rows = self.rows();
                Self {
                    $($field: self.$field.another(rows),)*
                    kafka_partition: Vec::with_capacity(rows),
                    kafka_offset: Vec::with_capacity(rows),
                    seen: self.seen.another(rows),
                    text_bytes: 0,
                }
            }

            /// Appends a play, with the coordinates and the arrival of its record.
            pub fn append(&mut self, play: &Play<'_>, record: &Record<'_>) {
                $(self.text_bytes += self.$field.add(play.$field);)*
                self.kafka_partition.push(record.partition);
                self.kafka_offset.push(record.offset);
                self.seen.add(record.seen_us);
            }

            /// The plays as a batch.
            pub fn into_batch(self) -> PlayBatch {
                batch(vec![
                    $(self.$field.into_array(),)*
                    Arc::new(Int32Array::from(self.kafka_partition)),
                    Arc::new(Int64Array::from(self.kafka_offset)),
                    self.seen.into_array(),
                ])
            }
        }
    };
}
for_each_field!(columns);

#[expect(clippy::expect_used, reason = "a test compares the table of fields with the schema")]
fn batch(columns: Vec<ArrayRef>) -> PlayBatch {
    let columns = RecordBatch::try_new(crate::intake::schema(), columns).expect("the fields are those of the schema");
    PlayBatch::new(columns, None)
}

impl Columns {
    /// The number of plays.
    #[inline]
    pub fn rows(&self) -> usize {
        self.kafka_offset.len()
    }

    /// The bytes of text of all plays.
    #[inline]
    pub fn text_bytes(&self) -> usize {
        self.text_bytes
    }
}

impl Column<i32> for Vec<i32> {
    fn another(&self, rows: usize) -> Self {
        Self::with_capacity(rows)
    }

    #[inline]
    fn add(&mut self, value: i32) -> usize {
        self.push(value);
        0
    }

    fn into_array(self) -> ArrayRef {
        Arc::new(Int32Array::from(self))
    }
}

impl Column<Option<i32>> for Int32Builder {
    fn another(&self, rows: usize) -> Self {
        Self::with_capacity(rows)
    }

    #[inline]
    fn add(&mut self, value: Option<i32>) -> usize {
        self.append_option(value);
        0
    }

    fn into_array(mut self) -> ArrayRef {
        Arc::new(self.finish())
    }
}

impl Column<bool> for BooleanBuilder {
    fn another(&self, rows: usize) -> Self {
        Self::with_capacity(rows)
    }

    #[inline]
    fn add(&mut self, value: bool) -> usize {
        self.append_value(value);
        0
    }

    fn into_array(mut self) -> ArrayRef {
        Arc::new(self.finish())
    }
}

/// Moments in µs since 1970.
#[derive(Default)]
struct Moments(Vec<i64>);

impl Column<i64> for Moments {
    fn another(&self, rows: usize) -> Self {
        Self(Vec::with_capacity(rows))
    }

    #[inline]
    fn add(&mut self, value: i64) -> usize {
        self.0.push(value);
        0
    }

    fn into_array(self) -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from(self.0).with_timezone("UTC"))
    }
}

/// Concatenated texts. Arrow's own builder also checks for nulls at each append.
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
}

impl Column<&str> for Texts {
    fn another(&self, rows: usize) -> Self {
        Self::with_capacity(rows, self.bytes.len())
    }

    #[inline]
    fn add(&mut self, text: &str) -> usize {
        self.bytes.extend_from_slice(text.as_bytes());
        self.offsets.push(self.bytes.len() as i32);
        text.len()
    }

    fn into_array(self) -> ArrayRef {
        Arc::new(StringArray::new(OffsetBuffer::new(self.offsets.into()), Buffer::from_vec(self.bytes), None))
    }
}

/// Texts that are usually missing.
#[derive(Default)]
struct OptionalTexts {
    /// The number of rows before the first text.
    missing: usize,
    rest: Option<StringBuilder>,
}

impl Column<Option<&str>> for OptionalTexts {
    fn another(&self, _rows: usize) -> Self {
        Self::default()
    }

    #[inline]
    fn add(&mut self, text: Option<&str>) -> usize {
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
        text.map_or(0, str::len)
    }

    fn into_array(self) -> ArrayRef {
        Arc::new(self.rest.map_or_else(|| StringArray::new_null(self.missing), |mut rest| rest.finish()))
    }
}
