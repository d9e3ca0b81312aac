//! What a snapshot of all charts begins with.

use serde::{Deserialize, Serialize};

use super::cell::AsOf;
use super::inputs::ChartInputs;

/// The first line of a snapshot: what its cells are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotHeader {
    pub as_of: AsOf,
    pub topic: String,
    /// The folder of the lake, as the run sees it.
    pub lake: String,
    /// By name.
    pub charts: Vec<ChartInputs>,
}
