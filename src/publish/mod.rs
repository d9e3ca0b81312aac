//! What a run tells others by itself: changes of the charts, offsets, metrics.

pub mod changelog;
pub mod exposition;
pub mod offsets;
pub mod otlp;
