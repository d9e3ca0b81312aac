//! `reprise run`: reads plays from Kafka, maintains the charts, and stores every play in the lake.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use clap::builder::NonEmptyStringValueParser;
use reprise_dataflows::rules::definition::Definitions;
use tracing::warn;
use url::Url;

use super::access::ServerAccess;
use super::lake_folder::open;
use super::logging::{start_log, stop_flag};
use super::options::{ChartsFile, MemoryMax, default_workers};
use super::parsers::{brokers, listen_address, parse_duration, parse_option};
use super::peers::Peers;
use super::printed::{Printed, committed};
use super::usage::{WrongUsage, wrong};
use crate::cluster::supervise::RESULT_UNDELIVERED;
use crate::kafka::{DEFAULT_GROUP, DEFAULT_SERVERS, TopicConfig};
use crate::lake::maintenance;
use crate::process::failpoint;
use crate::process::memory;
use crate::publish::otlp::parse_endpoint;
use crate::run::Run;
use crate::run::tick::Pace;
use crate::serve;
use crate::state::charts::Filter;
use crate::terminal::monitor::has_screen;
use crate::terminal::output::Format;
use crate::text::log;

/// The options of `reprise run`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  reprise run --lake ./lake                                            Kafka at localhost:9092, the topic song-plays
  reprise run --brokers kafka:9092 --topic plays --lake ./lake
  reprise run --lake ./lake --until-caught-up --format json            read the topic to its end, then print all charts
  reprise run --lake /shared/lake --hostfile hosts -p 0 --cluster-secret-file secret      one process of several

A run on an existing lake continues where the last commit ended.
Ctrl-C commits what was read, and exits.")]
pub struct Options {
    /// The addresses of Kafka brokers: host:port, separated by commas.
    #[arg(help_heading = "Source")]
    #[arg(long, value_name = "HOST:PORT", env = "KAFKA_BOOTSTRAP_SERVERS", default_value = DEFAULT_SERVERS, value_parser = brokers)]
    brokers: String,
    /// The topic of the play events.
    #[arg(help_heading = "Source")]
    #[arg(long, default_value = "song-plays", value_parser = topic_name, env = "REPRISE_TOPIC")]
    topic: String,
    /// Where to begin in partitions for which the lake has no offset.
    #[arg(help_heading = "Source")]
    #[arg(long, value_enum, default_value = "earliest", env = "REPRISE_FROM")]
    from: From,
    /// Continue although Kafka has deleted records before they were read; the lake records which
    /// offsets are missing.
    #[arg(help_heading = "Source")]
    #[arg(long, env = "REPRISE_ACCEPT_GAP")]
    accept_gap: bool,
    /// Read every partition to its end, commit, and exit.
    #[arg(help_heading = "Source")]
    #[arg(long)]
    until_caught_up: bool,
    /// The consumer group under which committed offsets are published, for tools that measure lag.
    #[arg(help_heading = "Source")]
    #[arg(long, value_name = "NAME", default_value = DEFAULT_GROUP, value_parser = NonEmptyStringValueParser::new(), env = "REPRISE_GROUP")]
    group: String,
    /// The folder of the lake; it is created if it does not exist.
    #[arg(help_heading = "Lake")]
    #[arg(long, value_name = "DIR", env = "REPRISE_LAKE")]
    lake: PathBuf,
    /// Take the lake over from the process that writes to it now: that process commits nothing
    /// more, and ends within seconds. Without this option the start is refused while that process
    /// runs.
    #[arg(help_heading = "Lake")]
    #[arg(long, env = "REPRISE_TAKE_OVER")]
    take_over: bool,
    /// How often to commit to the lake what was read.
    #[arg(help_heading = "Lake")]
    #[arg(long, value_name = "SPAN", default_value = "60s", value_parser = parse_duration, env = "REPRISE_COMMIT_INTERVAL")]
    commit_interval: Duration,
    /// How often to make a checkpoint of the counts in the background, so that the next start is
    /// quick.
    #[arg(help_heading = "Lake")]
    #[arg(long, value_name = "SPAN", default_value = "5m", value_parser = parse_duration, env = "REPRISE_CHECKPOINT_INTERVAL")]
    checkpoint_interval: Duration,
    /// Merge the small files of an hour once they are older than this, or earlier if there are
    /// many. The age is that of each file, so late plays do not keep an hour in pieces.
    #[arg(help_heading = "Lake")]
    #[arg(long, value_name = "SPAN", default_value = "2h", value_parser = parse_duration, env = "REPRISE_COMPACT_AFTER")]
    compact_after: Duration,
    /// How long to keep replaced files: the longest time that a reader of the lake may take.
    /// Readers that list files by name see the replaced files until then, and the merged ones
    /// afterwards.
    #[arg(help_heading = "Lake")]
    #[arg(long, value_name = "SPAN", default_value = "1h", value_parser = parse_duration, env = "REPRISE_RETAIN")]
    retain: Duration,
    #[command(flatten, next_help_heading = "Charts")]
    charts: ChartsFile,
    /// How long past trending windows can be queried. Windows from before this start cannot.
    #[arg(help_heading = "Charts")]
    #[arg(long, value_name = "SPAN", default_value = "2h", value_parser = parse_duration, env = "REPRISE_TRENDING_HISTORY")]
    trending_history: Duration,
    /// After this long without plays, the trending window advances by itself, at the pace of real
    /// time.
    #[arg(help_heading = "Charts")]
    #[arg(long, value_name = "SPAN", default_value = "30s", value_parser = parse_duration, env = "REPRISE_IDLE")]
    idle: Duration,
    /// Set the clock of the lake back to the time of its plays, if it is ahead of them, and to this
    /// machine's time at most.
    ///
    /// A machine with a wrong time may have left a clock in the future, and the trending window
    /// stays empty until then. The log of the lake records the earlier clock. Use this option for a
    /// single start only.
    #[arg(help_heading = "Charts")]
    #[arg(long, env = "REPRISE_RESET_CLOCK")]
    reset_clock: bool,
    /// Publish the changes of the charts to this topic, after each commit: the last message of each
    /// key is the current chart. A missing topic is created with compaction.
    #[arg(help_heading = "Charts")]
    #[arg(long, value_name = "TOPIC", value_parser = topic_name, env = "REPRISE_CHANGELOG")]
    changelog: Option<String>,
    /// Print the charts at the end, as of the last commit, exactly as `reprise replay` prints them
    /// for this lake.
    #[arg(help_heading = "Charts")]
    #[arg(long, value_enum, requires = "until_caught_up")]
    format: Option<Format>,
    #[command(flatten, next_help_heading = "Charts")]
    printed: Printed,
    /// The address to serve HTTP at; port 0 takes a free port.
    #[arg(help_heading = "Serving")]
    #[arg(long, value_name = "ADDR", default_value = serve::DEFAULT_ADDRESS, value_parser = listen_address, env = "REPRISE_LISTEN", overrides_with = "listen")]
    listen: SocketAddr,
    /// Serve only /healthz, /readyz and /metrics at this second address, so that health checks get
    /// an answer even when clients use up the connections at --listen.
    #[arg(help_heading = "Serving")]
    #[arg(long, value_name = "ADDR", value_parser = listen_address, env = "REPRISE_PROBE_LISTEN")]
    probe_listen: Option<SocketAddr>,
    #[command(flatten, next_help_heading = "Serving")]
    access: ServerAccess,
    /// Send the metrics to an OpenTelemetry collector, by OTLP over HTTP, as in
    /// http://localhost:4318. Headers are taken from OTEL_EXPORTER_OTLP_HEADERS.
    #[arg(help_heading = "Serving")]
    #[arg(long, value_name = "URL", value_parser = parse_endpoint, env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    otlp: Option<Url>,
    /// The membership in a cluster.
    #[command(flatten)]
    pub peers: Peers,
    /// Worker threads of the dataflow.
    ///
    /// More workers catch up sooner. A single one gives the freshest charts, since every epoch
    /// waits for all workers; it is enough for a hundred thousand plays a second and more.
    #[arg(help_heading = "Advanced")]
    #[arg(short, long, value_name = "N", default_value_t = default_workers(), value_parser = workers, env = "REPRISE_WORKERS")]
    workers: usize,
    /// Commit early when a worker holds this many MiB that are not committed, or its share of a
    /// quarter of the memory limit. Each hour that has plays counts 2 KiB more, for its file.
    #[arg(help_heading = "Advanced")]
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=65536), env = "REPRISE_BUFFER")]
    buffer: u64,
    #[command(flatten, next_help_heading = "Advanced")]
    memory_max: MemoryMax,
    /// A librdkafka option, as in -X fetch.wait.max.ms=50; may be given several times. Put a secret
    /// value in a file: -X sasl.password=@FILE. In the --config file they are a list, X =
    /// ["NAME=VALUE", …], which is replaced if the command line has any.
    #[arg(help_heading = "Advanced")]
    #[arg(short = 'X', value_name = "NAME=VALUE", value_parser = parse_option)]
    options: Vec<(String, String)>,
}

/// Where to begin in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum From {
    /// At its oldest record.
    Earliest,
    /// At its end.
    Latest,
}

/// How many uncommitted bytes a worker may hold before a commit is due: `asked`, but for all
/// workers together no more than a quarter of the memory limit. They hold twice as much while a
/// commit is under way.
fn buffer_bytes(asked: u64, max_bytes: Option<u64>, workers: usize) -> u64 {
    let share = memory::limit_bytes(max_bytes).map(|limit| limit / (4 * workers.max(1) as u64));
    share.map_or(asked, |share| asked.min(share.max(1 << 20)))
}

/// Runs until it is stopped, or has caught up if that is asked for.
///
/// # Errors
/// If the options are wrong, the start is refused, or the run fails.
pub fn run(options: Options) -> Result<()> {
    if options.changelog.as_ref() == Some(&options.topic) {
        return Err(wrong("--changelog must be another topic than that of the plays"));
    }
    if options.format.is_none() && options.printed.is_asked() {
        return Err(wrong("--output and --all are for the charts that --format prints: give it too"));
    }
    let membership = options.peers.membership().wrong_usage()?;
    let has_table = has_screen() && membership.as_ref().is_none_or(|membership| membership.process == 0);
    start_log(if has_table { "warn" } else { "info" });
    failpoint::warn_if_set();
    let stop = stop_flag("committing what was read")?;
    let stopped = stop.clone();
    options.peers.stop_with_stdin(move || stopped.store(true, Ordering::Relaxed))?;
    let lake = open(&options.lake)?;
    let pace = Pace {
        commit_interval: options.commit_interval,
        buffer_bytes: buffer_bytes(options.buffer << 20, options.memory_max.bytes(), options.workers),
        idle: options.idle,
        until_caught_up: options.until_caught_up,
        ..Pace::default()
    };
    let broker =
        TopicConfig { servers: options.brokers, topic: options.topic, group: options.group, options: options.options };
    broker.check_options().wrong_usage()?;
    let run = Run {
        broker,
        lake: lake.clone(),
        workers: options.workers,
        membership,
        definitions: with_history(options.charts.load()?, options.trending_history),
        listen: options.listen,
        probe_listen: options.probe_listen,
        access: options.access.load(options.listen)?,
        from_latest: options.from == From::Latest,
        accept_gap: options.accept_gap,
        take_over: options.take_over,
        reset_clock: options.reset_clock,
        memory_max_bytes: options.memory_max.bytes(),
        pace,
        maintenance: maintenance::Intervals { compact_after: options.compact_after, retain: options.retain },
        checkpoint_interval: options.checkpoint_interval,
        changelog: options.changelog,
        otlp: options.otlp,
        notes: Vec::new(),
    };
    if let Some(format) = options.format {
        options.printed.check(format)?;
    }
    if let Some(foreign) = run.lake.foreign_owner() {
        warn!("{foreign}");
    }
    if run.is_follower() {
        return run.follow(stop);
    }
    let shared = run.run(stop.clone(), |_| Ok(()))?;
    if let Some(format) = options.format {
        if stop.load(Ordering::Relaxed) {
            bail!(
                "stopped before everything was read, so the charts are incomplete and are not printed; start again to continue"
            );
        }
        // There are none if the run was stopped while its cluster was forming.
        let durable = shared.durable_charts().context("the run ended before it had any charts")?;
        let charts = committed(&durable, shared.incarnation(), &lake)?;
        options.printed.print(&charts, &Filter::default(), format, "")?;
    }
    let no_plays = shared.status().no_plays.clone().filter(|_| options.until_caught_up);
    no_plays.map_or(Ok(()), |no_plays| exit_undelivered(no_plays, options.peers.is_supervised()))
}

/// Ends a run whose topic had records but no valid play with an error, so that a caller that waits
/// for charts learns that there are none. Under a supervisor the exit status also tells it that a
/// restart would not help.
fn exit_undelivered(no_plays: String, is_supervised: bool) -> Result<()> {
    if is_supervised {
        log::print_error("error:", &no_plays);
        std::process::exit(RESULT_UNDELIVERED.into());
    }
    Err(anyhow!(no_plays))
}

/// `definitions` with past trending windows kept for `history`.
pub fn with_history(mut definitions: Arc<Definitions>, history: Duration) -> Arc<Definitions> {
    let history_us = i64::try_from(history.as_micros()).unwrap_or(i64::MAX);
    Arc::make_mut(&mut definitions).trending.history_us = history_us;
    definitions
}

/// Parses the name of a topic.
///
/// # Errors
/// If Kafka does not allow the name.
pub fn topic_name(text: &str) -> Result<String, String> {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if (1..=249).contains(&text.len()) && text.bytes().all(is_legal) && ![".", ".."].contains(&text) {
        return Ok(text.to_owned());
    }
    Err("it must be letters, digits, dots, hyphens and underscores, 249 at most".to_owned())
}

/// Parses a number of workers.
///
/// # Errors
/// If it is not from 1 to 256.
pub fn workers(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(workers @ 1..=256) => Ok(workers),
        _ => Err("it must be a number from 1 to 256".to_owned()),
    }
}
