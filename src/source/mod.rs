//! The sources of plays: Kafka and the lake. A source is an operator over ticks, which say when it
//! may read.

pub mod event;
pub mod kafka;
pub mod lake;
mod outputs;

pub use outputs::Source;
