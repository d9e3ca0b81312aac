//! Verification: that a running instance serves what its lake holds, and that a lake holds what its
//! log says.
//!
//! `against.rs` compares the charts of an instance with a replay of its lake. `lake.rs` checks a
//! lake by itself: its files (`files.rs`), and whether each Kafka offset is in it exactly once
//! (`coverage.rs`).

pub mod against;
mod coverage;
mod files;
pub mod lake;
#[cfg(test)]
mod tests;
