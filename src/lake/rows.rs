//! The rows of the table of plays: the columns of sources, and `cut`.
//!
//! `cut` is the epoch of the last cut before the row was read, so the rows of the version with the
//! epoch E are those with `cut` < E. Nothing else says that for ever: compaction replaces files, and
//! the log is cleaned. A row without `cut` was always there: lakes of format 1 have no such column.

use std::sync::{Arc, LazyLock};

use anyhow::{Context, Result};
use arrow::array::{ArrayRef, Int64Array, RecordBatch, new_null_array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use reprise_dataflows::Epoch;

use crate::intake::SEEN;

/// The column with the epoch of the last cut before a row was read.
pub const CUT: &str = "cut";

/// The `cut` of rows that were read before the first cut of a lake: less than any epoch.
const BEFORE_ALL: i64 = -1;

/// The columns of the files of plays: those of [`crate::intake::schema`], then `cut`. The table
/// partition columns `date` and `hour` are in the paths of files.
pub fn schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let columns = crate::intake::schema();
        let cut = Arc::new(Field::new(CUT, DataType::Int64, false));
        Arc::new(Schema::new(columns.fields().iter().cloned().chain([cut]).collect::<Vec<_>>()))
    });
    SCHEMA.clone()
}

/// Whether rows that were always there, or were imported, have no value in `column`: it came with
/// format 2, or is about Kafka.
pub fn may_lack(column: &str) -> bool {
    [CUT, SEEN].contains(&column)
}

/// The columns of one file that takes up the rows of `files`, of a table with these `columns`: a
/// column that some of them lack is nullable. `None` if they have others, or lack one that every
/// row has.
pub fn union<'a>(columns: &Schema, files: impl Iterator<Item = &'a Schema>) -> Option<SchemaRef> {
    let mut fields: Vec<Field> = columns.fields().iter().map(|field| field.as_ref().clone()).collect();
    for file in files {
        let mut known = 0;
        for field in &mut fields {
            match file.field_with_name(field.name()) {
                Ok(found) if found.data_type() == field.data_type() => {
                    known += 1;
                    if found.is_nullable() && !field.is_nullable() {
                        if !may_lack(field.name()) {
                            return None;
                        }
                        field.set_nullable(true);
                    }
                }
                Err(_) if may_lack(field.name()) => field.set_nullable(true),
                _ => return None,
            }
        }
        if known < file.fields().len() {
            return None;
        }
    }
    Some(Arc::new(Schema::new(fields)))
}

/// The rows of `batch` in `columns`: those that it lacks are null.
///
/// # Errors
/// If one that may not be null is missing.
pub fn widened(batch: &RecordBatch, columns: &SchemaRef) -> Result<RecordBatch> {
    let column = |field: &Arc<Field>| match batch.column_by_name(field.name()) {
        Some(column) => column.clone(),
        None => new_null_array(field.data_type(), batch.num_rows()),
    };
    Ok(RecordBatch::try_new(columns.clone(), columns.fields().iter().map(column).collect())?)
}

/// Adds `cut` to batches.
pub struct Cuts {
    /// The same value many times: batches share it.
    values: Int64Array,
    value: i64,
}

impl Cuts {
    /// For rows that are read after the cut of `epoch`; `None` before the first cut of a lake.
    pub fn after(epoch: Option<Epoch>) -> Self {
        let value = epoch.map_or(BEFORE_ALL, |epoch| epoch as i64);
        Self { values: Int64Array::from(Vec::<i64>::new()), value }
    }

    /// `plays`, whose columns are those of [`crate::intake::schema`], with their `cut`.
    ///
    /// # Errors
    /// If they have other columns.
    pub fn add(&mut self, plays: &RecordBatch) -> Result<RecordBatch> {
        let rows = plays.num_rows();
        if self.values.len() < rows {
            self.values = Int64Array::from(vec![self.value; rows.next_power_of_two()]);
        }
        let cut: ArrayRef = Arc::new(self.values.slice(0, rows));
        let columns = plays.columns().iter().cloned().chain([cut]).collect();
        RecordBatch::try_new(schema(), columns).context("a batch of plays has other columns than the lake")
    }
}
