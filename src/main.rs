//! `reprise`: music charts from Kafka, live and replayed through one dataflow.

use std::process::ExitCode;

/// The dataflow frees memory on another thread than the one that allocated it (batches, exchanged
/// updates); mimalloc is designed for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    reprise::main()
}
