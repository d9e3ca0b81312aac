//! Copies the statistics by which readers prune from the Parquet footer of a file into the log.

use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::array::{
    ArrayRef, BooleanArray, Int64Array, MapBuilder, MapFieldNames, RecordBatch, StringArray, StringBuilder, StructArray,
};
use arrow::compute::cast;
use arrow::datatypes::{Field, Schema};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::statistics::Statistics;

use super::kind::TableKind;
use super::{Bounds, NewFile};

/// The bounds of the integer column `name`, from the footer of a file. They are unknown if the
/// footer lacks statistics.
pub fn bounds(metadata: &ParquetMetaData, name: &str) -> Bounds {
    let columns = metadata.file_metadata().schema_descr().columns();
    let mut bounds = Bounds::default();
    let Some(index) = columns.iter().position(|column| column.path().string() == name) else { return bounds };
    for group in metadata.row_groups() {
        let statistics = group.column(index).statistics();
        let nulls = statistics.and_then(Statistics::null_count_opt).unwrap_or(0) as i64;
        let (min, max) = match statistics {
            Some(Statistics::Int64(values)) => (values.min_opt().copied(), values.max_opt().copied()),
            Some(Statistics::Int32(values)) => {
                (values.min_opt().copied().map(i64::from), values.max_opt().copied().map(i64::from))
            }
            _ => (None, None),
        };
        if min.is_none() && nulls < group.num_rows() {
            // This row group can contain any value, so nothing is known about the file.
            return Bounds::default();
        }
        bounds.nulls += nulls;
        bounds.min = bounds.min.into_iter().chain(min).min();
        bounds.max = bounds.max.into_iter().chain(max).max();
    }
    bounds
}

/// The bounds of the columns of a table of `kind` that have any, in their order.
pub fn all_bounds(metadata: &ParquetMetaData, kind: &TableKind) -> Vec<Bounds> {
    kind.bounded.iter().map(|column| bounds(metadata, column)).collect()
}

/// All `files` as the single batch that a Delta transaction adds.
pub fn add_actions(files: &[NewFile], kind: &TableKind) -> Result<RecordBatch> {
    let integers =
        |of: fn(&NewFile) -> i64| -> ArrayRef { Arc::new(Int64Array::from_iter_values(files.iter().map(of))) };
    let paths: ArrayRef = Arc::new(StringArray::from_iter_values(files.iter().map(|file| file.path.as_str())));
    let columns = [
        ("path", paths, false),
        ("partitionValues", partition_values(files)?, false),
        ("size", integers(|file| file.size_bytes), false),
        ("modificationTime", integers(|file| file.modified_ms), false),
        ("stats", statistics(files, kind)?, true),
    ];
    let fields =
        columns.iter().map(|(name, column, nullable)| Field::new(*name, column.data_type().clone(), *nullable));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    RecordBatch::try_new(schema, columns.into_iter().map(|(_, column, _)| column).collect())
        .context("cannot describe new files to the log")
}

fn partition_values(files: &[NewFile]) -> Result<ArrayRef> {
    let names = MapFieldNames { entry: "key_value".into(), key: "key".into(), value: "value".into() };
    let mut map = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new());
    for file in files {
        for (column, value) in &file.partition_values {
            map.keys().append_value(column);
            map.values().append_value(value);
        }
        map.append(true).context("cannot describe the partition of a new file")?;
    }
    Ok(Arc::new(map.finish()))
}

fn statistics(files: &[NewFile], kind: &TableKind) -> Result<ArrayRef> {
    let of = |index: usize, value: fn(&Bounds) -> Option<i64>| {
        Int64Array::from_iter(files.iter().map(|file| file.bounds.get(index).and_then(value)))
    };
    let columns = (kind.columns)();
    let values = |value: fn(&Bounds) -> Option<i64>| {
        let column = |(index, name): (usize, &&'static str)| {
            let data_type = columns.field_with_name(name)?.data_type();
            // Lossless: the bounds were read from a column of that type.
            anyhow::Ok((*name, cast(&of(index, value), data_type)?))
        };
        anyhow::Ok(structure(kind.bounded.iter().enumerate().map(column).collect::<Result<_>>()?))
    };
    let null_counts = kind.bounded.iter().enumerate().map(|(index, name)| {
        let nulls: ArrayRef = Arc::new(of(index, |bounds| Some(bounds.nulls)));
        (*name, nulls)
    });
    Ok(structure(vec![
        ("numRecords", Arc::new(Int64Array::from_iter_values(files.iter().map(|file| file.rows)))),
        ("nullCount", structure(null_counts.collect())),
        ("minValues", values(|bounds| bounds.min)?),
        ("maxValues", values(|bounds| bounds.max)?),
        ("tightBounds", Arc::new(BooleanArray::from(vec![true; files.len()]))),
    ]))
}

fn structure(columns: Vec<(&str, ArrayRef)>) -> ArrayRef {
    let field =
        |(name, column): (&str, ArrayRef)| (Arc::new(Field::new(name, column.data_type().clone(), true)), column);
    Arc::new(StructArray::from(columns.into_iter().map(field).collect::<Vec<_>>()))
}
