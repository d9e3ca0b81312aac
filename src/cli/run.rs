//! `reprise run`: Kafka in, charts out, every play into the lake.

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

use super::peers::Peers;
use super::printed::{Printed, committed};
use super::shared::{
    ChartsFile, MemoryMax, ServerAccess, absolute, brokers, default_workers, listen_address, parse_duration,
    parse_option, start_log, stop_flag,
};
use super::usage::{WrongUsage, wrong};
use crate::cluster::supervise::DONE_IN_VAIN;
use crate::kafka::{DEFAULT_GROUP, DEFAULT_SERVERS, TopicConfig};
use crate::lake::{maintenance, owner};
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

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  reprise run --lake ./lake                                            Kafka at localhost:9092, the topic song-plays
  reprise run --brokers kafka:9092 --topic plays --lake ./lake
  reprise run --lake ./lake --until-caught-up --format json            to the end of the topic, then all charts
  reprise run --lake /shared/lake --hostfile hosts -p 0 --cluster-secret-file secret      one process of several

Started again on the same lake it goes on where the last commit ended.
Ctrl-C commits what was read, and leaves.")]
pub struct Options {
    /// Where Kafka is: host:port, several separated by commas.
    #[arg(help_heading = "Source")]
    #[arg(long, value_name = "HOST:PORT", env = "KAFKA_BOOTSTRAP_SERVERS", default_value = DEFAULT_SERVERS, value_parser = brokers)]
    brokers: String,
    /// The topic of the play events.
    #[arg(help_heading = "Source")]
    #[arg(long, default_value = "song-plays", value_parser = topic_name, env = "REPRISE_TOPIC")]
    topic: String,
    /// Where to begin in partitions that the lake has no offset for.
    #[arg(help_heading = "Source")]
    #[arg(long, value_enum, default_value = "earliest", env = "REPRISE_FROM")]
    from: From,
    /// Go on although Kafka has deleted plays before they were read; the lake will say which are missing.
    #[arg(help_heading = "Source")]
    #[arg(long, env = "REPRISE_ACCEPT_GAP")]
    accept_gap: bool,
    /// Read every partition to its end, commit, and leave.
    #[arg(help_heading = "Source")]
    #[arg(long)]
    until_caught_up: bool,
    /// The consumer group under which committed offsets are published, for tools that measure lag.
    #[arg(help_heading = "Source")]
    #[arg(long, value_name = "NAME", default_value = DEFAULT_GROUP, value_parser = NonEmptyStringValueParser::new(), env = "REPRISE_GROUP")]
    group: String,
    /// The folder of the lake; it is made if it is not there.
    #[arg(help_heading = "Lake")]
    #[arg(long, value_name = "DIR", env = "REPRISE_LAKE")]
    lake: PathBuf,
    /// Take the lake over from the process that writes to it now: that one commits nothing more, and ends within seconds. Without
    /// this a start is refused as long as that process lives.
    #[arg(help_heading = "Lake")]
    #[arg(long, env = "REPRISE_TAKE_OVER")]
    take_over: bool,
    /// How often what was read is committed to the lake.
    #[arg(help_heading = "Lake")]
    #[arg(long, value_name = "SPAN", default_value = "60s", value_parser = parse_duration, env = "REPRISE_COMMIT_INTERVAL")]
    commit_interval: Duration,
    /// How often the lake is counted in the background, so that the next start is quick.
    #[arg(help_heading = "Lake")]
    #[arg(long, value_name = "SPAN", default_value = "5m", value_parser = parse_duration, env = "REPRISE_CHECKPOINT_INTERVAL")]
    checkpoint_interval: Duration,
    /// Merge the small files of an hour of the lake that are older than this. Their number is looked at too, so late plays
    /// do not keep an hour in pieces.
    #[arg(help_heading = "Lake")]
    #[arg(long, value_name = "SPAN", default_value = "2h", value_parser = parse_duration, env = "REPRISE_COMPACT_AFTER")]
    compact_after: Duration,
    /// Keep replaced files for this long: the longest that a reader of the lake may take. Readers by the names of files see
    /// the replaced files until then, and the merged ones afterwards.
    #[arg(help_heading = "Lake")]
    #[arg(long, value_name = "SPAN", default_value = "1h", value_parser = parse_duration, env = "REPRISE_RETAIN")]
    retain: Duration,
    #[command(flatten, next_help_heading = "Charts")]
    charts: ChartsFile,
    /// For how long past trending windows can be asked for. Those from before this start cannot.
    #[arg(help_heading = "Charts")]
    #[arg(long, value_name = "SPAN", default_value = "2h", value_parser = parse_duration, env = "REPRISE_TRENDING_HISTORY")]
    trending_history: Duration,
    /// How long there must be no play before the trending window moves on by itself, as fast as time passes.
    #[arg(help_heading = "Charts")]
    #[arg(long, value_name = "SPAN", default_value = "30s", value_parser = parse_duration, env = "REPRISE_IDLE")]
    idle: Duration,
    /// Set the clock of the lake back to where its plays are, if it is ahead of them, and to this machine's time at most.
    ///
    /// A machine whose time was wrong may have left a clock of tomorrow, and the trending window stays empty until then. The lake's
    /// log keeps on record where the clock was. Give it for one start only.
    #[arg(help_heading = "Charts")]
    #[arg(long, env = "REPRISE_RESET_CLOCK")]
    reset_clock: bool,
    /// Publish what changes in the charts to this topic, after each commit: the last message of each key is a chart as it stands.
    /// It is made, compacted, if it is not there.
    #[arg(help_heading = "Charts")]
    #[arg(long, value_name = "TOPIC", value_parser = topic_name, env = "REPRISE_CHANGELOG")]
    changelog: Option<String>,
    /// Print the charts at the end, as of the last commit: what `reprise replay` prints of this lake.
    #[arg(help_heading = "Charts")]
    #[arg(long, value_enum, requires = "until_caught_up")]
    format: Option<Format>,
    #[command(flatten, next_help_heading = "Charts")]
    printed: Printed,
    /// Where to answer HTTP; port 0 takes a free one.
    #[arg(help_heading = "Serving")]
    #[arg(long, value_name = "ADDR", default_value = serve::DEFAULT_ADDRESS, value_parser = listen_address, env = "REPRISE_LISTEN", overrides_with = "listen")]
    listen: SocketAddr,
    /// Also answer /healthz, /readyz and /metrics here, and nothing else: whoever watches over the process gets an answer however
    /// many clients there are at --listen.
    #[arg(help_heading = "Serving")]
    #[arg(long, value_name = "ADDR", value_parser = listen_address, env = "REPRISE_PROBE_LISTEN")]
    probe_listen: Option<SocketAddr>,
    #[command(flatten, next_help_heading = "Serving")]
    access: ServerAccess,
    /// Send the metrics to an OpenTelemetry collector, by OTLP over HTTP, as in http://localhost:4318. Headers that it asks for are
    /// those of OTEL_EXPORTER_OTLP_HEADERS.
    #[arg(help_heading = "Serving")]
    #[arg(long, value_name = "URL", value_parser = parse_endpoint, env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    otlp: Option<Url>,
    #[command(flatten)]
    pub peers: Peers,
    /// Threads that work on the dataflow.
    ///
    /// Many catch up sooner. One is freshest, since every epoch waits for all of them; it is enough for a hundred thousand plays a
    /// second and more.
    #[arg(help_heading = "Advanced")]
    #[arg(short, long, value_name = "N", default_value_t = default_workers(), value_parser = workers, env = "REPRISE_WORKERS")]
    workers: usize,
    /// Commit earlier when a worker holds so many MiB that are not committed, or its share of a quarter of --memory-max. Each hour
    /// that its plays lie in counts 2 KiB beside them: it becomes a file.
    #[arg(help_heading = "Advanced")]
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=65536), env = "REPRISE_BUFFER")]
    buffer: u64,
    #[command(flatten, next_help_heading = "Advanced")]
    memory_max: MemoryMax,
    /// A librdkafka option, as in -X fetch.wait.max.ms=50; may be given several times. A value that nobody else is to see
    /// goes in a file: -X sasl.password=@FILE. In --config they are a list, X = ["NAME=VALUE", …], which those of the command line
    /// replace.
    #[arg(help_heading = "Advanced")]
    #[arg(short = 'X', value_name = "NAME=VALUE", value_parser = parse_option)]
    options: Vec<(String, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum From {
    Earliest,
    Latest,
}

/// How much a worker may hold before a commit is due: what was asked for, but all workers together no more than a quarter of the
/// memory that there is. They hold twice as much while a commit is under way.
fn buffer_bytes(asked: u64, max_bytes: Option<u64>, workers: usize) -> u64 {
    let share = memory::limit_bytes(max_bytes).map(|limit| limit / (4 * workers.max(1) as u64));
    share.map_or(asked, |share| asked.min(share.max(1 << 20)))
}

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
    let lake = absolute(&options.lake)?;
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
    if let Some(foreign) = owner::foreign(&run.lake) {
        warn!("{foreign}");
    }
    if run.is_follower() {
        return run.follow(stop);
    }
    let shared = run.run(stop.clone(), |_| Ok(()))?;
    if let Some(format) = options.format {
        if stop.load(Ordering::Relaxed) {
            bail!(
                "stopped before everything was read, so the charts are not whole, and are not printed; start again to go on"
            );
        }
        // There are none if the run was stopped while its cluster came together.
        let durable = shared.durable_charts().context("the run ended before it had any charts")?;
        let charts = committed(&durable, shared.incarnation(), &lake)?;
        options.printed.print(&charts, &Filter::default(), format, "Every list: --all, a pipe, or --format json.")?;
    }
    let no_plays = shared.status().no_plays.clone().filter(|_| options.until_caught_up);
    no_plays.map_or(Ok(()), |no_plays| fail_in_vain(no_plays, options.peers.is_supervised()))
}

/// Ends a run whose topic had records and no play: whoever waits for its charts must learn that there are none.
fn fail_in_vain(no_plays: String, is_supervised: bool) -> Result<()> {
    if is_supervised {
        log::print_error("error:", &no_plays);
        std::process::exit(DONE_IN_VAIN.into());
    }
    Err(anyhow!(no_plays))
}

/// `definitions` with past windows kept for `history`.
pub fn with_history(mut definitions: Arc<Definitions>, history: Duration) -> Arc<Definitions> {
    let history_us = i64::try_from(history.as_micros()).unwrap_or(i64::MAX);
    Arc::make_mut(&mut definitions).trending.history_us = history_us;
    definitions
}

/// Reads the name of a topic.
pub fn topic_name(text: &str) -> Result<String, String> {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if (1..=249).contains(&text.len()) && text.bytes().all(is_legal) && ![".", ".."].contains(&text) {
        return Ok(text.to_owned());
    }
    Err("it must be letters, digits, dots, hyphens and underscores, 249 at most".to_owned())
}

/// Reads a number of workers.
pub fn workers(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(workers @ 1..=256) => Ok(workers),
        _ => Err("it must be a number from 1 to 256".to_owned()),
    }
}
