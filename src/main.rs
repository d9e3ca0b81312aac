//! `reprise`: music charts from Kafka, live and replayed through one dataflow.

#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod broker;
mod charts;
mod cli;
mod engine;
mod generate;
mod lake;
mod monitor;
mod output;
mod screen;
mod serve;
mod source;
mod tick;

use std::process::ExitCode;

/// The dataflow frees on one thread what another allocated (batches, exchanged updates); mimalloc is made for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::main()
}
