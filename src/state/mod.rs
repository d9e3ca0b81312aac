//! The state of a run: results of the dataflow and reports of its sources, read by HTTP, the
//! screen, the changelog and the metrics.

pub mod charts;
mod durable;
mod feed;
pub mod metrics;
mod pending_queries;
mod rejects;
mod shared;
mod status;

pub use feed::feed;
pub use pending_queries::Findings;
pub use shared::State;
pub use status::{OpenTransaction, PartitionStatus, Phase, Status, WindowMisses};
