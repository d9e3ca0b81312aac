//! The current charts, folded from the output of the dataflow.
//!
//! The dataflow emits differences of counts by id; readers want lists with titles. [`Charts`] keeps
//! the items in the top of every cell, and folds in the differences of whole epochs at a cost
//! proportional to their number. Ranks are assigned when a cell is read, because a cell is short
//! and most cells are never read.

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
