//! `reprise cluster`: several processes on this machine, which are restarted together.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};

use super::logging::start_log;
use super::parsers::parse_duration;
use super::usage::wrong;
use crate::cluster::membership::PROCESSES_MAX;
use crate::cluster::supervise::{Restarts, Supervisor};
use crate::text::log;

/// The options of `reprise cluster`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  reprise cluster --processes 3 -- run --brokers localhost:9092 --lake ./lake -w 2
  reprise cluster --processes 2 -- replay --lake ./lake --format json

Process 0 serves the charts; the others redirect clients to it. Each log line begins with the number of its process. If a process
dies, the others end within the --stall-timeout of the run; all processes of a `run` are then restarted from the last commit.
Ctrl-C stops all of them. They connect over loopback, with addresses and a secret that are generated for each start. For several
machines see deploy/.")]
pub struct Options {
    /// The number of processes.
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=PROCESSES_MAX as u64), env = "REPRISE_CLUSTER_PROCESSES")]
    processes: u64,
    /// How many times in a row all processes of a run are restarted. Staying up for a minute resets
    /// the count.
    #[arg(long, value_name = "N", default_value_t = 10, env = "REPRISE_RESTARTS")]
    restarts: u32,
    /// The longest wait before a restart. The first restart waits a quarter of a second, and each
    /// further one twice as long as the one before.
    #[arg(long, value_name = "SPAN", default_value = "10s", value_parser = parse_duration, env = "REPRISE_RESTART_WAIT_MAX")]
    restart_wait_max: Duration,
    /// The command of each process: `run` or `replay`, with its options.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// What the processes of a cluster are to do.
pub enum Job {
    /// `reprise run`.
    Run,
    /// `reprise replay`.
    Replay,
    /// Either of these, with options that give it a membership in a cluster already.
    Member,
    /// A command that does not work in several processes.
    Other,
}

/// Starts the processes. `job` parses the command line of a process.
///
/// # Errors
/// If that command line is wrong, or the cluster fails and is not restarted.
pub fn run(options: Options, config: Option<PathBuf>, job: impl FnOnce(Vec<OsString>) -> Result<Job>) -> Result<()> {
    let config: Vec<OsString> = config.into_iter().flat_map(|path| ["--config".into(), path.into()]).collect();
    let arguments = [config, options.command].concat();
    // Checked here, so that an error in the arguments is reported once and not by each process.
    let program = std::iter::once("reprise".into());
    let (restarts, follower_arguments) = match job(program.chain(arguments.clone()).collect())? {
        Job::Run => {
            let restarts = Restarts::new(options.restarts, options.restart_wait_max);
            (Some(restarts), vec!["--listen".into(), "127.0.0.1:0".into()])
        }
        Job::Replay => (None, Vec::new()),
        Job::Member => {
            return Err(wrong(
                "`reprise cluster` makes the addresses and the secret of its processes: leave out -n, -p, --hostfile, --hosts, \
                 --cluster-secret-file and --cluster-listen, also as environment variables and in --config",
            ));
        }
        Job::Other => return Err(wrong("only `run` and `replay` work in several processes")),
    };
    start_log("info");
    let signals = count_signals()?;
    let processes = options.processes as usize;
    Supervisor { processes, arguments, follower_arguments, restarts }.run(&signals)
}

/// Installs the signal handler, and returns the count of requests to stop.
fn count_signals() -> Result<Arc<AtomicUsize>> {
    let signals = Arc::new(AtomicUsize::new(0));
    let count = signals.clone();
    let handler = move || {
        if count.fetch_add(1, Ordering::Relaxed) == 0 {
            log::note("stopping all processes: they commit what was read; again to kill them");
        }
    };
    ctrlc::set_handler(handler).context("Ctrl-C cannot be listened for")?;
    Ok(signals)
}
