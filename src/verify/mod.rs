//! Proof, instead of trust: that a running instance serves what its lake holds, and that a lake holds what it says.
//!
//! `against.rs` compares the charts of an instance with a replay of its lake. `lake.rs` looks at a lake alone: at its files
//! (`files.rs`), and at whether each Kafka offset is there once (`coverage.rs`).

pub mod against;
mod coverage;
mod files;
pub mod lake;
#[cfg(test)]
mod tests;
