//! `reprise demo`: a generator, a broker and a run in one process, with nothing else installed.
//!
//! The broker is librdkafka's mock cluster. It keeps few records and ends with the process. So the
//! generator pauses when it is too far ahead of what has been consumed, and only the lake lasts.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use rdkafka::mocking::MockCluster;
use tempfile::TempDir;

use super::access::ServerAccess;
use super::lake_folder::open;
use super::logging::{start_log, stop_flag};
use super::options::{ChartsFile, default_workers};
use super::parsers::{listen_address, parse_duration};
use super::printed::Printed;
use super::run::{with_history, workers};
use super::usage::wrong;
use crate::generate::plays::{LongTail, Mix, Period};
use crate::generate::{self, Traffic};
use crate::kafka::TopicConfig;
use crate::lake::maintenance::Intervals;
use crate::process::shutdown::fail;
use crate::run::Run;
use crate::run::tick::Pace;
use crate::serve;
use crate::state::State;
use crate::state::charts::Filter;
use crate::terminal::monitor::has_screen;
use crate::terminal::output::Format;
use crate::text::log::{self, LeftBehind};

const TOPIC: &str = "song-plays";
const PARTITIONS: i32 = 4;
/// How many records of one partition the generator may be ahead of what has been consumed.
const AHEAD_MAX: u64 = 10_000 - generate::BURST_MAX;
const HISTORY_PLAYS_MAX: u64 = 200_000;
/// Few songs have most of the plays, as in a real catalogue.
const TAIL: LongTail = LongTail { songs: 5000, skew: 0.8 };
/// The shortest cycle in which the popularity of a song rises and falls, so that rows of the charts
/// move now and then.
const CYCLE_S: u64 = 20 * 60;
/// The folder for lakes of demos, in the working directory.
const LAKES: &str = "lakes";
/// How long past trending windows can be queried.
const TRENDING_HISTORY: Duration = Duration::from_secs(2 * 3600);

/// The options of `reprise demo`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  reprise demo                                        until Ctrl-C; then its lake is removed
  reprise demo --keep --rate 500 --history 365d
  reprise demo --charts examples/charts.toml --listen 127.0.0.1:8080

The broker of the demo is a mock in this process. With a real one:
  scripts/kafka start && eval \"$(scripts/kafka env)\"
  reprise generate --history 30d &
  reprise run --lake ./lake")]
pub struct Options {
    /// Live plays a second, after the history.
    #[arg(help_heading = "Source")]
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    rate: u64,
    /// How far before now the history of plays begins.
    #[arg(help_heading = "Source")]
    #[arg(long, value_name = "SPAN", default_value = "30d", value_parser = parse_duration)]
    history: Duration,
    /// The number of plays in the history, 200000 at most.
    #[arg(help_heading = "Source")]
    #[arg(long, value_name = "N", default_value_t = HISTORY_PLAYS_MAX, value_parser = clap::value_parser!(u64).range(0..=HISTORY_PLAYS_MAX))]
    history_plays: u64,
    /// Keep the lake when the demo ends, in a new folder in ./lakes.
    #[arg(help_heading = "Lake")]
    #[arg(long, conflicts_with = "lake")]
    keep: bool,
    /// Keep the lake in this folder, which must not exist yet.
    #[arg(help_heading = "Lake")]
    #[arg(long, value_name = "DIR")]
    lake: Option<PathBuf>,
    #[command(flatten, next_help_heading = "Charts")]
    charts: ChartsFile,
    /// Print all charts at the end.
    #[arg(help_heading = "Charts")]
    #[arg(long, value_enum)]
    format: Option<Format>,
    #[command(flatten, next_help_heading = "Charts")]
    printed: Printed,
    /// The address to serve HTTP at; port 0 takes a free port.
    #[arg(help_heading = "Serving")]
    #[arg(long, value_name = "ADDR", default_value = serve::DEFAULT_ADDRESS, value_parser = listen_address)]
    listen: SocketAddr,
    #[command(flatten, next_help_heading = "Serving")]
    access: ServerAccess,
    /// Worker threads of the dataflow.
    #[arg(help_heading = "Advanced")]
    #[arg(short, long, value_name = "N", default_value_t = default_workers(), value_parser = workers)]
    workers: usize,
}

/// Runs the demo until Ctrl-C.
///
/// # Errors
/// If it cannot be started, or something fails while it runs.
pub fn run(options: Options) -> Result<()> {
    start_log(if has_screen() { "warn" } else { "info" });
    match options.format {
        Some(format) => options.printed.check(format)?,
        None if options.printed.is_asked() => {
            return Err(wrong("--output and --all are for the charts that --format prints: give it too"));
        }
        None => {}
    }
    let lake = DemoLake::new(options.lake.clone(), options.keep)?;
    let left_behind = lake.left_behind();
    match show(options, &lake) {
        Ok(plays) => lake.close(&plays)?,
        Err(error) => {
            // Only the error is returned. A lake that cannot be removed is reported as after any
            // early end.
            if lake.remove().is_err() {
                log::print_left_behind();
            }
            return Err(error);
        }
    }
    drop(left_behind);
    Ok(())
}

/// Runs until it is stopped, prints the charts if `--format` is given, and returns the number of
/// plays in the lake.
fn show(options: Options, lake: &DemoLake) -> Result<String> {
    let stop = stop_flag("committing what was read")?;
    // The mock cluster must stay on the thread that created it, which is this one, until the run
    // ends.
    let cluster =
        MockCluster::new(1).map_err(|error| anyhow!("the mock of a Kafka cluster cannot be started: {error}"))?;
    cluster.create_topic(TOPIC, PARTITIONS, 1).map_err(|error| anyhow!("the mock cannot make the topic: {error}"))?;
    let servers = cluster.bootstrap_servers();
    let run = Run {
        broker: TopicConfig::new(&servers, TOPIC),
        lake: open(lake.path())?,
        workers: options.workers,
        membership: None,
        definitions: with_history(options.charts.load()?, TRENDING_HISTORY),
        listen: options.listen,
        probe_listen: None,
        access: options.access.load(options.listen)?,
        from_latest: false,
        accept_gap: false,
        take_over: false,
        reset_clock: false,
        memory_max_bytes: None,
        pace: Pace { commit_interval: Duration::from_secs(2), ..Pace::default() },
        maintenance: Intervals::default(),
        checkpoint_interval: Duration::from_secs(60),
        changelog: None,
        otlp: None,
        notes: notes(lake),
    };
    let traffic = Traffic {
        topic: TOPIC.to_owned(),
        partitions: PARTITIONS,
        mix: Mix {
            history: history(options.history, options.history_plays),
            late: 0.01,
            malformed: 0.0005,
            long_tail: Some(TAIL),
            cycle_plays: Some(options.rate * CYCLE_S),
            ..Mix::default()
        },
        rate: Some(options.rate as f64),
        ..Traffic::default()
    };
    let stop_traffic = stop.clone();
    let started = move |state: &Arc<State>| {
        // Logged once HTTP is served, so not by a demo that fails because its port is taken.
        if !has_screen() {
            notes(lake).iter().for_each(|note| tracing::info!("{note}"));
        }
        generate_into(traffic, servers, state.clone(), stop_traffic)
    };
    let state = run.run(stop, started)?;
    if let Some(format) = options.format {
        options.printed.print(&state.charts(), &Filter::default(), format, "")?;
    }
    let plays = crate::text::grouped(state.status().lake_plays);
    Ok(plays)
}

fn notes(lake: &DemoLake) -> Vec<String> {
    vec![
        lake.note(),
        "the broker is a mock in this process; with a real one: scripts/kafka start, then reprise run".to_owned(),
    ]
}

fn history(span: Duration, records: u64) -> Option<Period> {
    let length_us = i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
    (records > 0 && length_us > 0).then_some(Period { length_us, records })
}

/// The folder of the demo's lake.
enum DemoLake {
    /// Kept when the demo ends.
    Kept(PathBuf),
    /// Removed when dropped.
    Temporary(TempDir),
}

impl DemoLake {
    /// A folder that no other run has written to: `chosen`, or a new one in ./lakes.
    fn new(chosen: Option<PathBuf>, keep: bool) -> Result<Self> {
        if let Some(lake) = chosen {
            if lake.exists() {
                return Err(wrong(format!(
                    "{} exists already, and a demo needs a new lake: name another folder with --lake",
                    lake.display()
                )));
            }
            return Ok(Self::Kept(lake));
        }
        if keep {
            let now = jiff::Timestamp::now().strftime("%Y%m%d-%H%M%S").to_string();
            return Ok(Self::Kept(PathBuf::from(format!("{LAKES}/demo-{now}-{}", std::process::id()))));
        }
        let folder = std::fs::create_dir_all(LAKES)
            .and_then(|()| tempfile::Builder::new().prefix("demo-").tempdir_in(std::path::absolute(LAKES)?));
        folder
            .map(Self::Temporary)
            .context("the demo's lake cannot be made in ./lakes: name a folder for it with --lake")
    }

    fn path(&self) -> &Path {
        match self {
            Self::Kept(path) => path,
            Self::Temporary(folder) => folder.path(),
        }
    }

    /// A message that says whether the lake is kept.
    fn note(&self) -> String {
        match self {
            Self::Kept(path) => format!("Ctrl-C ends the demo, and leaves its lake in {}", path.display()),
            Self::Temporary(folder) => {
                format!("Ctrl-C ends the demo, and removes its lake {}; --keep keeps one", folder.path().display())
            }
        }
    }

    /// The message that names a temporary lake if the process ends early: it is removed only at a
    /// regular end.
    fn left_behind(&self) -> Option<LeftBehind> {
        let Self::Temporary(folder) = self else { return None };
        let lake = folder.path().display();
        Some(LeftBehind::new(format!("the demo ended early, and its lake {lake} stays: remove it when you like")))
    }

    /// Removes the lake unless it is kept, and prints what became of it. `plays` is the number of
    /// its plays.
    fn close(self, plays: &str) -> Result<()> {
        let (lake, is_kept) = (self.path().display().to_string(), matches!(self, Self::Kept(_)));
        self.remove()?;
        log::note(&if is_kept {
            format!("\nThe lake {lake} holds {plays} plays. See their charts again: reprise replay --lake {lake}")
        } else {
            format!("\nRemoved the lake {lake} with its {plays} plays. To keep one: reprise demo --keep")
        });
        Ok(())
    }

    /// Removes the lake, unless it is kept.
    fn remove(self) -> Result<()> {
        let Self::Temporary(folder) = self else { return Ok(()) };
        let lake = folder.path().display().to_string();
        folder.close().with_context(|| format!("the demo's lake {lake} cannot be removed"))?;
        // This fails if there are other lakes in it, which is fine.
        let _ = std::fs::remove_dir(LAKES);
        Ok(())
    }
}

/// Sends traffic from a thread of its own, at most [`AHEAD_MAX`] records a partition ahead of what
/// has been consumed.
fn generate_into(traffic: Traffic, servers: String, state: Arc<State>, stop: Arc<AtomicBool>) -> Result<()> {
    let hold = move |sent: &[u64]| {
        let status = state.status();
        let consumed = |partition: usize| {
            let found = status.partitions.iter().find(|state| state.partition as usize == partition);
            found.map_or(0, |state| state.next_offset as u64)
        };
        sent.iter().enumerate().any(|(partition, sent)| sent.saturating_sub(consumed(partition)) > AHEAD_MAX)
    };
    let send = move || {
        let sent = generate::send(&traffic, &servers, &stop, hold, |_| {});
        if let Err(error) = sent
            && !stop.load(Ordering::Relaxed)
        {
            fail(error.context("the demo's generator has failed"));
        }
    };
    std::thread::Builder::new()
        .name("reprise-generator".to_owned())
        .spawn(send)
        .context("the generator cannot be started")?;
    Ok(())
}
