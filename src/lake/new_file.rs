//! The description of a staged file that its writer sends to the committer.

use serde::{Deserialize, Serialize};

/// A staged file, with everything that the log records about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewFile {
    /// The final path of the file, relative to its table.
    pub path: String,
    /// The current path of the file, relative to its table.
    pub staged: String,
    /// Partition columns and their values, as the log has them.
    pub partition_values: Vec<(String, String)>,
    /// The size of the file.
    pub size_bytes: i64,
    /// The number of rows in the file.
    pub rows: i64,
    /// When it was written, in ms since 1970.
    pub modified_ms: i64,
    /// The bounds of the columns that have any, in the order of `TableKind::bounded`.
    pub bounds: Vec<Bounds>,
}

/// The least and greatest value of a column in a file, and its number of nulls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// The least value; `None` if there is none or it is unknown.
    pub min: Option<i64>,
    /// The greatest value, inclusive; `None` if there is none or it is unknown.
    pub max: Option<i64>,
    /// How many rows have a null.
    pub nulls: i64,
}

impl Bounds {
    /// Extends the bounds by the value of one more row.
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
