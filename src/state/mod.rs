//! What a run knows: what the dataflow tells the rest of the process, for HTTP, the screen, the changelog and the metrics to read.

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
