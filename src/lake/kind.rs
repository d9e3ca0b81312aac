//! The two tables of a lake: plays and dead letters.

use arrow::datatypes::{DataType, Field, SchemaRef};

use super::{dead_letters, rows};
use crate::intake::SEEN;

/// The properties in which the two tables of a lake differ.
pub struct TableKind {
    /// The name of the table's folder in the lake.
    pub folder: &'static str,
    /// The columns of the files, without those that the table is partitioned by.
    pub columns: fn() -> SchemaRef,
    /// The column with the times of the rows.
    pub time_column: &'static str,
    /// The columns whose bounds the footers of files and the log have, `time_column` first.
    pub bounded: &'static [&'static str],
    /// The columns that the table is partitioned by, outermost first.
    pub partitioned_by: fn() -> Vec<Field>,
}

/// The table of plays.
pub static PLAYS: TableKind = TableKind {
    folder: "song_plays",
    columns: rows::schema,
    time_column: "timestamp",
    bounded: &["timestamp", "kafka_partition", "kafka_offset", rows::CUT, SEEN],
    partitioned_by: || vec![Field::new("date", DataType::Date32, false), Field::new("hour", DataType::Int32, false)],
};

/// The table of dead letters.
pub static DEAD_LETTERS: TableKind = TableKind {
    folder: "dead_letters",
    columns: dead_letters::schema,
    time_column: "kafka_timestamp",
    bounded: &["kafka_timestamp", "kafka_partition", "kafka_offset"],
    partitioned_by: || vec![Field::new("date", DataType::Date32, false)],
};
