//! The command line: one file per subcommand.

mod access;
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
mod logging;
mod options;
mod parsers;
mod peers;
mod printed;
#[cfg(test)]
mod reference_tests;
mod replay;
mod run;
mod search;

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
  reprise demo                                          everything on this machine
  reprise run --brokers localhost:9092 --lake ./lake    read Kafka, maintain the charts, store every play
  reprise trending --watch                              the trending chart of a running instance
  reprise replay ./lake                                 recompute the charts from the lake alone

Exit status:
  0    success
  1    failure; also a mistake that only the server or the lake can detect, such as an unknown chart
  2    the command line, or a file that it names, is wrong
  3    in a process of `reprise cluster`: everything was read, and no record is a valid play
  130  ended by a second Ctrl-C, without a commit"
)]
struct Reprise {
    /// A TOML file of options, by their long names; flags and environment variables override it.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// The format of the log on stderr. RUST_LOG selects what is logged, as in
    /// RUST_LOG=reprise=debug.
    #[arg(long, value_enum, global = true, default_value = "text", env = "REPRISE_LOG_FORMAT", value_name = "FORMAT")]
    log_format: logging::LogFormat,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run everything on this machine, with nothing else installed.
    Demo(demo::Options),
    /// Write realistic plays to a Kafka topic.
    Generate(Box<generate::Options>),
    /// Read Kafka, maintain the charts, and store every play in the lake.
    Run(Box<run::Options>),
    /// Recompute the charts from the lake.
    Replay(Box<replay::Options>),
    /// Compare a running instance with a replay of its lake, or check a lake alone.
    Verify(verify::Options),
    /// Inspect and maintain a lake: contents, checks, compaction, vacuum, checkpoints.
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
    /// Ask a running instance for its status.
    Status(status::Options),
    /// Ask a running instance for tracks and artists by a part of their names.
    Search(search::Options),
    /// Ask a running instance for the plays of a track, by chart, period and scope.
    Track(track::Options),
    /// Ask a running instance for its dead letters: the records that are not valid plays.
    #[command(
        subcommand,
        after_help = "\
Examples:
  reprise dead-letters ls"
    )]
    DeadLetters(dead_letters::Command),
    /// Check whether a running instance is alive; the exit status tells.
    Health(health::Options),
    /// Print the completions for a shell.
    Completions(completions::CompletionsOptions),
    /// Print the manual page of the program, or of a command.
    Man(completions::ManOptions),
}

/// The end of a message about wrong usage, as in clap's own messages.
const HINT: &str = "\n\nFor more information, try '--help'.";

/// Runs the command and maps its outcome to the exit status: 0 success, 1 failure, 2 wrong usage.
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

/// Parses the command line, with the values of its configuration file as defaults. An error of clap
/// ends the process here, with a message and status 2; one about a value of the file is returned.
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

/// The job that the command line in `arguments` gives to the processes of a cluster.
fn job(arguments: Vec<OsString>) -> Result<cluster::Job> {
    Ok(match parse(arguments)?.command {
        Command::Run(run) if !run.peers.are_given() => cluster::Job::Run,
        Command::Replay(replay) if !replay.peers.are_given() => cluster::Job::Replay,
        Command::Run(_) | Command::Replay(_) => cluster::Job::Member,
        _ => cluster::Job::Other,
    })
}

/// Whether an error is about a value of the configuration file: without the file there is no error,
/// or another one.
fn is_of_file(error: &clap::Error, arguments: &[OsString]) -> bool {
    let without = Reprise::command().try_get_matches_from(arguments);
    error.use_stderr() && without.err().is_none_or(|without| without.to_string() != error.to_string())
}

fn run(Reprise { config, log_format, command }: Reprise) -> Result<()> {
    if log_format == logging::LogFormat::Json {
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
