//! Everything in `reprise` except `main`. The library is for the program itself and for the
//! benchmarks of its stages; its API is not stable.

#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod checkpoint;
mod cli;
mod cluster;
mod generate;
mod intake;
mod kafka;
mod lake;
mod process;
mod publish;
mod report;
mod run;
mod serve;
mod source;
mod state;
mod terminal;
mod text;
mod verify;

use std::process::ExitCode;

/// The stages of a play's way through the program, one by one, for `benches/stages.rs`.
#[doc(hidden)]
pub mod stages {
    pub use crate::generate::plays::{LongTail, Mix, Plays};
    pub use crate::lake::rows::Cuts;
    pub use crate::lake::store::open as open_store;
    pub use crate::lake::{Encoded, Encoder, Filing, LakeFile};
    pub use crate::source::event::{Decoder, Record};
    pub use crate::source::lake::{Reader, Selection};
}

/// Runs the command line.
pub fn main() -> ExitCode {
    end_with_any_thread();
    cli::main()
}

/// Makes a panic end the process, except on the threads that only answer HTTP. A dataflow thread
/// that panics would leave the others waiting forever, because timely drops the messages sent to
/// it. What is committed is safe, and Kafka still has the rest.
fn end_with_any_thread() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        print(panic);
        if std::thread::current().name() != Some(serve::THREAD_NAME) {
            std::process::exit(1);
        }
    }));
}
