//! Records that are not plays, kept with the reason, so that no record that was read is lost.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, LazyLock};

use anyhow::{Context, Result};
use arrow::array::{
    ArrayRef, BinaryArray, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

use crate::intake::DeadLetter;

/// Bytes of keys and values in one batch. An Arrow column of bytes is limited to 2 GiB, and this
/// bound keeps memory far below that.
const BATCH_BYTES_MAX: usize = 32 << 20;
/// The columns of the files, without the partition column `date`.
pub fn schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let required = |name, data_type| Field::new(name, data_type, false);
        let optional = |name, data_type| Field::new(name, data_type, true);
        Arc::new(Schema::new(vec![
            required("topic", DataType::Utf8),
            required("kafka_partition", DataType::Int32),
            required("kafka_offset", DataType::Int64),
            optional("kafka_timestamp", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
            required("reason", DataType::Utf8),
            required("detail", DataType::Utf8),
            optional("key", DataType::Binary),
            optional("value", DataType::Binary),
        ]))
    });
    SCHEMA.clone()
}

/// Groups letters by day since 1970, and keeps their order.
pub fn by_day<'a>(letters: impl Iterator<Item = &'a DeadLetter>) -> BTreeMap<i32, Vec<&'a DeadLetter>> {
    let mut days: BTreeMap<i32, Vec<&DeadLetter>> = BTreeMap::new();
    for letter in letters {
        days.entry(letter.day()).or_default().push(letter);
    }
    days
}

/// The `letters` of `topic` as Arrow batches of bounded size.
pub fn batches<'a>(topic: &'a str, letters: &'a [&DeadLetter]) -> impl Iterator<Item = Result<RecordBatch>> + 'a {
    pieces(letters).into_iter().map(move |piece| batch(topic, &letters[piece]))
}

fn pieces(letters: &[&DeadLetter]) -> Vec<Range<usize>> {
    let mut pieces = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (index, letter) in letters.iter().enumerate() {
        if index > start && bytes + letter.bytes() > BATCH_BYTES_MAX {
            pieces.push(start..index);
            (start, bytes) = (index, 0);
        }
        bytes += letter.bytes();
    }
    if start < letters.len() {
        pieces.push(start..letters.len());
    }
    pieces
}

fn batch(topic: &str, letters: &[&DeadLetter]) -> Result<RecordBatch> {
    let timestamps_us = letters.iter().map(|letter| letter.sane_timestamp_ms().map(|ms| ms * 1000));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(letters.iter().map(|_| topic))),
        Arc::new(Int32Array::from_iter_values(letters.iter().map(|letter| letter.partition))),
        Arc::new(Int64Array::from_iter_values(letters.iter().map(|letter| letter.offset))),
        Arc::new(TimestampMicrosecondArray::from_iter(timestamps_us).with_timezone("UTC")),
        Arc::new(StringArray::from_iter_values(letters.iter().map(|letter| letter.reason.as_str()))),
        Arc::new(StringArray::from_iter_values(letters.iter().map(|letter| letter.detail.as_str()))),
        Arc::new(BinaryArray::from_iter(letters.iter().map(|letter| letter.key.as_deref()))),
        Arc::new(BinaryArray::from_iter(letters.iter().map(|letter| letter.value.as_deref()))),
    ];
    RecordBatch::try_new(schema(), columns).context("cannot convert dead letters to columns")
}
