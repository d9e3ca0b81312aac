//! The command line: one file per subcommand.

mod chart;
mod client;
mod demo;
mod generate;
mod replay;
mod run;
mod shared;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Music charts from Kafka: live, stored in a Parquet lake, and replayed through the same dataflow.
#[derive(Parser)]
#[command(version, propagate_version = true)]
struct Reprise {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show all of it on this machine, with nothing else installed.
    Demo(demo::Options),
    /// Write realistic plays to a topic.
    Generate(generate::Options),
    /// Read Kafka, keep the charts, and store every play in the lake.
    Run(run::Options),
    /// Make the charts again from the lake.
    Replay(replay::Options),
    /// Ask a running instance what is trending.
    Trending(chart::TrendingOptions),
    /// Ask a running instance for a chart.
    Chart(chart::ChartOptions),
}

/// Runs the command and turns its outcome into the exit status: 0 done, 1 failed, 2 wrong usage.
pub fn main() -> ExitCode {
    let outcome = match Reprise::parse().command {
        Command::Demo(options) => demo::run(options),
        Command::Generate(options) => generate::run(options),
        Command::Run(options) => run::run(options),
        Command::Replay(options) => replay::run(options),
        Command::Trending(options) => chart::trending(options),
        Command::Chart(options) => chart::chart(options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
