//! `reprise lake`: what looks after a lake, beside a running instance or without one.

use anyhow::Result;

use super::checkpoint;

#[derive(clap::Subcommand)]
pub enum Command {
    /// Count the lake now, so that the next start of `reprise run` is quick.
    Checkpoint(checkpoint::Options),
}

pub fn run(command: Command) -> Result<()> {
    match command {
        Command::Checkpoint(options) => checkpoint::run(&options),
    }
}
