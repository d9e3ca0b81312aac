//! What updates travel under: items and labels, and the numbers that a worker gives to what it has met.

pub mod dimension;
pub mod interner;
pub mod item;
pub mod label;
pub mod labels;
pub(crate) mod text_interner;
