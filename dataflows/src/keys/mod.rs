//! The parts of the keys of updates, items and labels, and the numbers that a worker gives to them.
//!
//! Between workers, items travel as hashes and labels as texts. Within a worker, both are numbered
//! in the order of their first appearance, and data about them lies in arrays.

pub mod dimension;
pub mod interner;
pub mod item;
pub mod label;
pub mod labels;
pub(crate) mod text_interner;
