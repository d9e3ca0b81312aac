//! The charts as they stand: what the dataflow has said so far, folded up.
//!
//! The dataflow speaks in differences, and knows counts by id; people ask for a list with titles. [`Charts`] is between
//! them. It keeps of every cell the items that are in its top now, and folds in the differences of whole epochs at a
//! cost in proportion to them. Ranks are given out when a cell is read: a cell is short, and most are never looked at.

mod available;
mod cell;
mod changes;
mod folded;
mod inputs;
mod overview;
mod period;
mod possible;
mod since;
mod snapshot_header;
#[cfg(test)]
pub mod tests;

pub use available::Available;
pub use cell::{AsOf, CellAnswer, ChartCell, Entry};
pub use changes::{Accumulated, Changes};
pub use folded::{CellKey, Charts, Filter};
pub use inputs::ChartInputs;
pub use overview::{Overview, Page, SCOPES_MAX};
pub use period::scopes;
pub use snapshot_header::SnapshotHeader;
