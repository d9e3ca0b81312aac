//! The command line: one file per subcommand.

mod chart;
mod checkpoint;
mod client;
mod cluster;
mod completions;
mod config;
mod dead_letters;
mod demo;
mod generate;
mod health;
mod instance;
mod lake;
mod lake_folder;
mod peers;
mod printed;
#[cfg(test)]
mod reference_tests;
mod replay;
mod run;
mod search;
mod shared;
mod status;
mod track;
mod usage;
mod verify;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use usage::WrongUsage;

use crate::terminal::output;
use crate::text::log;

/// Music charts from Kafka: live, stored in a Parquet lake, and replayed through the same dataflow.
#[derive(Parser)]
#[command(
    version,
    propagate_version = true,
    after_help = "\
Examples:
  reprise demo                                          all of it on this machine
  reprise run --brokers localhost:9092 --lake ./lake    read Kafka, keep the charts, store every play
  reprise trending --watch                              what a running instance says
  reprise replay ./lake                                 the charts again, from the lake alone

The exit status is 0 if it is done, 1 if something failed, 2 if the command is wrong, and 130 after a second Ctrl-C. What only
the server or the lake can know to be wrong is 1."
)]
struct Reprise {
    /// A TOML file of options, by their long names; flags and environment variables win.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// How the log on stderr is written; RUST_LOG says what is in it, as in RUST_LOG=reprise=debug.
    #[arg(long, value_enum, global = true, default_value = "text", env = "REPRISE_LOG_FORMAT", value_name = "FORMAT")]
    log_format: shared::LogFormat,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show all of it on this machine, with nothing else installed.
    Demo(demo::Options),
    /// Write realistic plays to a topic.
    Generate(Box<generate::Options>),
    /// Read Kafka, keep the charts, and store every play in the lake.
    Run(Box<run::Options>),
    /// Make the charts again from the lake.
    Replay(Box<replay::Options>),
    /// Compare a running instance with a replay of its lake, or check a lake alone.
    Verify(verify::Options),
    /// Look after a lake: what is in it, compaction, vacuum, checkpoints.
    #[command(
        subcommand,
        after_help = "\
Examples:
  reprise lake ls ./lake
  reprise lake check ./lake
  reprise lake compact ./lake && reprise lake vacuum ./lake"
    )]
    Lake(lake::Command),
    /// Run or replay in several processes on this machine, restarted together.
    Cluster(cluster::Options),
    /// Ask a running instance what is trending.
    Trending(chart::TrendingOptions),
    /// Ask a running instance for a chart.
    Chart(chart::ChartOptions),
    /// Ask a running instance how it is doing.
    Status(status::Options),
    /// Ask a running instance for tracks and artists by a part of their names.
    Search(search::Options),
    /// Ask a running instance where a track has plays.
    Track(track::Options),
    /// Ask a running instance for the records that are no plays.
    #[command(
        subcommand,
        after_help = "\
Examples:
  reprise dead-letters ls"
    )]
    DeadLetters(dead_letters::Command),
    /// Ask a running instance whether it lives: the exit status says.
    Health(health::Options),
    /// Print the completions of a shell.
    Completions(completions::CompletionsOptions),
    /// Print the manual page, or that of a command.
    Man(completions::ManOptions),
}

/// Ends the message of a wrong command line, as clap ends its own.
const HINT: &str = "\n\nFor more information, try '--help'.";

/// Runs the command and turns its outcome into the exit status: 0 done, 1 failed, 2 wrong usage.
pub fn main() -> ExitCode {
    match parse(std::env::args_os().collect()).and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let (red, plain) = if output::colours(&std::io::stderr()) { ("\x1b[1;31m", "\x1b[0m") } else { ("", "") };
            let is_usage = error.is::<usage::Wrong>();
            let hint = if is_usage && !log::is_json() { HINT } else { "" };
            log::print_error(&format!("{red}error:{plain}"), &format!("{error:#}{hint}"));
            ExitCode::from(if is_usage { 2 } else { 1 })
        }
    }
}

/// A command line, with a configuration file below it. Wrong usage ends the process here, with a message and status 2.
fn parse(arguments: Vec<OsString>) -> Result<Reprise> {
    let path = config::path(&arguments);
    let with_file = match &path {
        Some(path) => config::apply(Reprise::command(), path).wrong_usage()?,
        None => Reprise::command(),
    };
    let matches = with_file.try_get_matches_from(&arguments).or_else(|error| match &path {
        Some(path) if is_of_file(&error, &arguments) => Err(config::refusal(path, &error)).wrong_usage(),
        _ => error.exit(),
    })?;
    Ok(Reprise::from_arg_matches(&matches).unwrap_or_else(|error| error.exit()))
}

/// What `arguments` ask several processes to do.
fn job(arguments: Vec<OsString>) -> Result<cluster::Job> {
    Ok(match parse(arguments)?.command {
        Command::Run(run) if !run.peers.are_given() => cluster::Job::Run,
        Command::Replay(replay) if !replay.peers.are_given() => cluster::Job::Replay,
        Command::Run(_) | Command::Replay(_) => cluster::Job::Placed,
        _ => cluster::Job::Other,
    })
}

/// Whether an error is about a value of the configuration file: without the file there is none, or another.
fn is_of_file(error: &clap::Error, arguments: &[OsString]) -> bool {
    let without = Reprise::command().try_get_matches_from(arguments);
    error.use_stderr() && without.err().is_none_or(|without| without.to_string() != error.to_string())
}

fn run(Reprise { config, log_format, command }: Reprise) -> Result<()> {
    if log_format == shared::LogFormat::Json {
        log::use_json();
    }
    match command {
        Command::Demo(options) => demo::run(options),
        Command::Generate(options) => generate::run(*options),
        Command::Run(options) => run::run(*options),
        Command::Replay(options) => {
            let lake = options.lake.clone();
            lake.advise(replay::run(*options))
        }
        Command::Verify(options) => verify::run(options),
        Command::Lake(command) => lake::run(command),
        Command::Cluster(options) => cluster::run(options, config, job),
        Command::Trending(options) => chart::trending(options),
        Command::Chart(options) => chart::chart(options),
        Command::Status(options) => status::run(&options),
        Command::Search(options) => search::run(&options),
        Command::Track(options) => track::run(&options),
        Command::DeadLetters(command) => dead_letters::run(&command),
        Command::Health(options) => health::run(&options),
        Command::Completions(options) => completions::completions(Reprise::command(), &options),
        Command::Man(options) => completions::man(Reprise::command(), &options),
    }
}
