//! Entries as a Parquet file, for DuckDB, Polars, pandas and other tools.

use std::io::Write;
use std::sync::Arc;

use anyhow::Result;
use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use crate::state::charts::{ChartCell, Entry};

/// The cells that are copied into columns together: enough for efficient columns, few enough that
/// the copy stays small.
const CELLS_PER_BATCH: usize = 1024;

/// Writes one row per entry, with the columns of the CSV; times are µs in UTC. A file without rows
/// also has the columns.
///
/// # Errors
/// If `out` cannot be written.
pub fn write(cells: &[ChartCell], out: &mut (impl Write + Send)) -> Result<()> {
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut writer = ArrowWriter::try_new(out, schema(), Some(properties))?;
    for some in cells.chunks(CELLS_PER_BATCH) {
        writer.write(&columns(some)?)?;
    }
    writer.close()?;
    Ok(())
}

fn schema() -> SchemaRef {
    let required = |name, data_type| Field::new(name, data_type, false);
    let optional = |name, data_type| Field::new(name, data_type, true);
    let instant = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    Arc::new(Schema::new(vec![
        required("chart", DataType::Utf8),
        required("period", DataType::Utf8),
        optional("start", instant.clone()),
        optional("end", instant),
        required("scope", DataType::Utf8),
        required("rank", DataType::Int32),
        optional("track_id", DataType::Utf8),
        optional("title", DataType::Utf8),
        required("artist", DataType::Utf8),
        required("plays", DataType::Int64),
    ]))
}

fn columns(cells: &[ChartCell]) -> Result<RecordBatch> {
    let rows: Vec<(&ChartCell, &Entry)> =
        cells.iter().flat_map(|cell| cell.entries.iter().map(move |entry| (cell, entry))).collect();
    let rows = || rows.iter().copied();
    let text = |value: fn((&ChartCell, &Entry)) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(rows().map(value)))
    };
    let instant = |value: fn((&ChartCell, &Entry)) -> Option<i64>| -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from_iter(rows().map(value)).with_timezone("UTC"))
    };
    let columns: Vec<ArrayRef> = vec![
        text(|(cell, _)| cell.chart.clone()),
        text(|(cell, _)| cell.period.clone()),
        instant(|(cell, _)| cell.start_us),
        instant(|(cell, _)| cell.end_us),
        text(|(cell, _)| cell.scope.clone()),
        Arc::new(Int32Array::from_iter_values(rows().map(|(_, entry)| i32::try_from(entry.rank).unwrap_or(i32::MAX)))),
        Arc::new(StringArray::from_iter(rows().map(|(_, entry)| entry.track_id.as_deref()))),
        Arc::new(StringArray::from_iter(rows().map(|(_, entry)| entry.title.as_deref()))),
        text(|(_, entry)| entry.artist.clone().unwrap_or_default()),
        Arc::new(Int64Array::from_iter_values(rows().map(|(_, entry)| entry.plays))),
    ];
    Ok(RecordBatch::try_new(schema(), columns)?)
}
