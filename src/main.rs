//! `reprise`: music charts from Kafka, live and replayed through one dataflow.

use std::process::ExitCode;

/// The dataflow frees on one thread what another allocated (batches, exchanged updates); mimalloc is made for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    reprise::main()
}
