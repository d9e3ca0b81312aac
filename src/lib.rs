//! All of `reprise` but its `main`: what is here is for the program itself and for the benchmarks of its stages, and promises
//! nothing to anybody else.

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

/// The stages that plays go through, each by itself, for `benches/stages.rs`.
#[doc(hidden)]
pub mod stages {
    pub use crate::generate::plays::{LongTail, Mix, Plays};
    pub use crate::lake::{Encoded, Encoder, Filing, LakeFile};
    pub use crate::source::event::{Decoder, Record};
    pub use crate::source::lake::{Reader, Selection};
}

/// Does what the command line asks for.
pub fn main() -> ExitCode {
    end_with_any_thread();
    cli::main()
}

/// A thread of the dataflow that dies leaves the others waiting for ever: timely drops what is sent to it. So a panic ends
/// the process, except on the thread that only answers HTTP. What is committed is safe, and Kafka has the rest.
fn end_with_any_thread() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        print(panic);
        if std::thread::current().name() != Some(serve::THREAD_NAME) {
            std::process::exit(1);
        }
    }));
}
