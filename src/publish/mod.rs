//! What a run publishes to other systems: changes of the charts, offsets, metrics.

pub mod changelog;
pub mod exposition;
pub mod offsets;
pub mod otlp;
