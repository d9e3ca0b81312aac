//! The header of a snapshot of all charts.

use serde::{Deserialize, Serialize};

use super::cell::AsOf;
use super::inputs::ChartInputs;

/// The first line of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotHeader {
    /// The state that all cells of the snapshot hold for.
    pub as_of: AsOf,
    /// The topic that the plays come from.
    pub topic: String,
    /// The folder of the lake, as the run sees it.
    pub lake: String,
    /// The inputs of every chart, by name.
    pub charts: Vec<ChartInputs>,
}
