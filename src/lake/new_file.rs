//! A staged file, as its writer describes it to the committer.

use serde::{Deserialize, Serialize};

/// A staged file: what a writer sends to the committer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewFile {
    /// Where the file will be, relative to its table.
    pub path: String,
    /// Where it is now, relative to its table.
    pub staged: String,
    /// Column and value, as the log has them.
    pub partition_values: Vec<(String, String)>,
    pub size_bytes: i64,
    pub rows: i64,
    /// When it was written, in ms since 1970.
    pub modified_ms: i64,
    /// Of the table's column of time, in µs since 1970.
    pub time: Bounds,
    pub kafka_partition: Bounds,
    pub kafka_offset: Bounds,
}

/// The least and greatest value of a column in a file, both inclusive, and how many rows lack one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    pub min: Option<i64>,
    pub max: Option<i64>,
    pub nulls: i64,
}

impl Bounds {
    /// Takes in the value of one more row.
    pub fn add(&mut self, value: Option<i64>) {
        match value {
            None => self.nulls += 1,
            Some(_) => {
                self.min = self.min.map_or(value, |min| Some(min).min(value));
                self.max = self.max.max(value);
            }
        }
    }
}
