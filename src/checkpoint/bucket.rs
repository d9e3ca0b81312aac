//! A hash bucket of items in the store: their tallies in order of key and item, and their names.

use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::array::{
    Array, ArrayRef, AsArray, Int32Array, Int64Array, RecordBatch, StringArray, UInt32Array, UInt64Array,
};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema, SchemaRef, UInt32Type, UInt64Type};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::basic::Compression;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use reprise_dataflows::keys::item::ItemKey;
use reprise_dataflows::names::catalogue::{Naming, TrackInfo};

use crate::lake::store::{Draft, Place};

/// The number of buckets. A power of two, so that with 1, 2, 4, 8 or 16 workers each reads exactly
/// the items that it owns.
pub const BUCKETS: usize = 16;
const BATCH_ROWS: usize = 32 << 10;

/// The number of a key, an item, and its plays.
pub type Row = (u32, ItemKey, i64);

/// The bucket of an item.
pub fn of(item: &ItemKey) -> usize {
    item.route() as usize % BUCKETS
}

/// The name of the file with a bucket's tallies.
pub fn tallies_file(bucket: usize) -> String {
    format!("tallies-{bucket:02}.parquet")
}

/// The name of the file with a bucket's names.
pub fn names_file(bucket: usize) -> String {
    format!("names-{bucket:02}.parquet")
}

/// Reads the tallies of a bucket in order, one batch at a time.
pub struct Tallies {
    file: Place,
    batches: ParquetRecordBatchReader,
}

impl Tallies {
    /// Opens the bucket of the checkpoint in `folder`.
    ///
    /// # Errors
    /// If its file cannot be read.
    pub fn open(folder: &Place, bucket: usize) -> Result<Self> {
        let file = folder.join(&tallies_file(bucket));
        Ok(Self { batches: open(&file)?, file })
    }

    fn rows(&self, batch: &RecordBatch) -> Option<Vec<Row>> {
        let keys = batch.column(0).as_primitive_opt::<UInt32Type>()?.values();
        let [high, low] = [1, 2].map(|column| batch.column(column).as_primitive_opt::<UInt64Type>());
        let (high, low) = (high?.values(), low?.values());
        let plays = batch.column(3).as_primitive_opt::<Int64Type>()?.values();
        let row = |row: usize| (keys[row], ItemKey::from_bits([high[row], low[row]]), plays[row]);
        Some((0..batch.num_rows()).map(row).collect())
    }
}

impl Iterator for Tallies {
    type Item = Result<Vec<Row>>;

    fn next(&mut self) -> Option<Self::Item> {
        let context = || format!("cannot read {}", self.file);
        let batch = self.batches.next()?.with_context(context);
        Some(batch.and_then(|batch| self.rows(&batch).with_context(context)))
    }
}

/// Reads the names of a bucket's items, one batch at a time.
pub struct Names {
    file: Place,
    batches: ParquetRecordBatchReader,
}

impl Names {
    /// Opens the bucket of the checkpoint in `folder`.
    ///
    /// # Errors
    /// If its file cannot be read.
    pub fn open(folder: &Place, bucket: usize) -> Result<Self> {
        let file = folder.join(&names_file(bucket));
        Ok(Self { batches: open(&file)?, file })
    }

    fn namings(&self, batch: &RecordBatch) -> Option<Vec<Naming>> {
        let [high, low] = [0, 1].map(|column| batch.column(column).as_primitive_opt::<UInt64Type>());
        let (high, low) = (high?.values(), low?.values());
        let [texts, titles, artists] = [2, 4, 5].map(|column| batch.column(column).as_string_opt::<i32>());
        let (texts, titles, artists) = (texts?, titles?, artists?);
        let days = batch.column(3).as_primitive_opt::<Int32Type>()?;
        let naming = |row: usize| {
            let info = || TrackInfo { title: titles.value(row).to_owned(), artist: artists.value(row).to_owned() };
            Naming {
                item: ItemKey::from_bits([high[row], low[row]]),
                text: texts.value(row).into(),
                info: days.is_valid(row).then(|| (days.value(row), info())),
            }
        };
        Some((0..batch.num_rows()).map(naming).collect())
    }
}

impl Iterator for Names {
    type Item = Result<Vec<Naming>>;

    fn next(&mut self) -> Option<Self::Item> {
        let context = || format!("cannot read {}", self.file);
        let batch = self.batches.next()?.with_context(context);
        Some(batch.and_then(|batch| self.namings(&batch).with_context(context)))
    }
}

/// Writes and syncs the tallies of a bucket, which must be in order and without duplicates.
///
/// # Errors
/// If `rows` fails, if the file exists or if it cannot be written.
pub fn write_tallies(folder: &Place, bucket: usize, rows: impl Iterator<Item = Result<Row>>) -> Result<()> {
    write(&folder.join(&tallies_file(bucket)), tallies_schema(), rows, |rows| {
        let half = |half: usize| -> ArrayRef {
            Arc::new(UInt64Array::from_iter_values(rows.iter().map(|(_, item, _)| item.to_bits()[half])))
        };
        vec![
            Arc::new(UInt32Array::from_iter_values(rows.iter().map(|(key, ..)| *key))),
            half(0),
            half(1),
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|(.., plays)| *plays))),
        ]
    })
}

/// Writes and syncs the names of a bucket's items.
///
/// # Errors
/// If the file exists or cannot be written.
pub fn write_names(folder: &Place, bucket: usize, namings: impl Iterator<Item = Naming>) -> Result<()> {
    write(&folder.join(&names_file(bucket)), names_schema(), namings.map(Ok), |namings| {
        let half = |half: usize| -> ArrayRef {
            Arc::new(UInt64Array::from_iter_values(namings.iter().map(|naming| naming.item.to_bits()[half])))
        };
        let info = |of: fn(&TrackInfo) -> &str| -> ArrayRef {
            let texts = namings.iter().map(|naming| naming.info.as_ref().map(|(_, info)| of(info)));
            Arc::new(StringArray::from_iter(texts))
        };
        vec![
            half(0),
            half(1),
            Arc::new(StringArray::from_iter_values(namings.iter().map(|naming| &*naming.text))),
            Arc::new(Int32Array::from_iter(namings.iter().map(|naming| naming.info.as_ref().map(|(day, _)| *day)))),
            info(|info| &info.title),
            info(|info| &info.artist),
        ]
    })
}

fn tallies_schema() -> SchemaRef {
    let field = |name, data_type| Field::new(name, data_type, false);
    Arc::new(Schema::new(vec![
        field("key", DataType::UInt32),
        field("item_0", DataType::UInt64),
        field("item_1", DataType::UInt64),
        field("plays", DataType::Int64),
    ]))
}

fn names_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("item_0", DataType::UInt64, false),
        Field::new("item_1", DataType::UInt64, false),
        Field::new("text", DataType::Utf8, false),
        Field::new("day", DataType::Int32, true),
        Field::new("title", DataType::Utf8, true),
        Field::new("artist", DataType::Utf8, true),
    ]))
}

fn open(file: &Place) -> Result<ParquetRecordBatchReader> {
    let context = || format!("cannot read {file}");
    let builder = ParquetRecordBatchReaderBuilder::try_new(file.open().with_context(context)?).with_context(context)?;
    builder.with_batch_size(BATCH_ROWS).build().with_context(context)
}

/// Writes and syncs a file, which must not exist.
fn write<T>(
    file: &Place,
    schema: SchemaRef,
    rows: impl Iterator<Item = Result<T>>,
    columns: impl Fn(&[T]) -> Vec<ArrayRef>,
) -> Result<()> {
    let context = || format!("cannot write {file}");
    let draft = file.create().with_context(context)?;
    // Hashes do not compress, and a dictionary does not pay for them. Keys are sorted, so a
    // dictionary makes them a few runs.
    let properties = WriterProperties::builder()
        .set_compression(Compression::UNCOMPRESSED)
        .set_dictionary_enabled(false)
        .set_column_dictionary_enabled("key".into(), true)
        .set_statistics_enabled(EnabledStatistics::None)
        .build();
    let mut writer = ArrowWriter::try_new(draft, schema.clone(), Some(properties)).with_context(context)?;
    let mut waiting = Vec::with_capacity(BATCH_ROWS);
    let mut rows = rows.fuse();
    loop {
        let next = rows.next().transpose()?;
        let is_end = next.is_none();
        waiting.extend(next);
        if waiting.len() == BATCH_ROWS || (is_end && !waiting.is_empty()) {
            let batch = RecordBatch::try_new(schema.clone(), columns(&waiting)).with_context(context)?;
            writer.write(&batch).with_context(context)?;
            waiting.clear();
        }
        if is_end {
            writer.finish().with_context(context)?;
            return writer.inner().sync().with_context(context);
        }
    }
}
