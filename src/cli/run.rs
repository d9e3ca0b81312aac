//! `reprise run`: Kafka in, charts out, every play into the lake.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use tracing::info;

use super::shared::{ChartsFile, absolute, default_workers, fail, parse_duration, parse_option, start_log, stop_flag};
use crate::broker::{ANSWER_TIMEOUT, Broker, Extent};
use crate::charts::{AsOf, Charts, Filter};
use crate::engine::{Engine, Live};
use crate::failpoint;
use crate::lake::care::{self, Caretaker};
use crate::lake::{Committer, Identity, Room, Snapshot};
use crate::monitor::{Monitor, has_screen};
use crate::output::{self, Format};
use crate::serve::{self, Shared, Status};
use crate::source::lake::Progress;
use crate::tick::Pace;

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  reprise run --brokers localhost:9092 --topic song-plays --lake ./lake
  reprise run --brokers localhost:9092 --lake ./lake --until-caught-up --format json

Started again on the same lake it goes on where the last commit ended.
Ctrl-C commits what was read, and leaves.")]
pub struct Options {
    /// Where Kafka is: host:port, several separated by commas.
    #[arg(long, env = "KAFKA_BOOTSTRAP_SERVERS")]
    brokers: String,
    /// The topic of the play events.
    #[arg(long, default_value = "song-plays", env = "REPRISE_TOPIC")]
    topic: String,
    /// The folder of the lake; it is made if it is not there.
    #[arg(long, value_name = "DIR", env = "REPRISE_LAKE")]
    lake: PathBuf,
    /// Threads that work on the dataflow.
    #[arg(short, long, value_name = "N", default_value_t = default_workers(), value_parser = workers, env = "REPRISE_WORKERS")]
    workers: usize,
    #[command(flatten)]
    charts: ChartsFile,
    /// Where to answer HTTP; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value = serve::DEFAULT_ADDRESS, env = "REPRISE_LISTEN")]
    listen: SocketAddr,
    /// Where to begin in partitions that the lake has no offset for.
    #[arg(long, value_enum, default_value = "earliest", env = "REPRISE_FROM")]
    from: From,
    /// Read every partition to its end, commit, and leave.
    #[arg(long)]
    until_caught_up: bool,
    /// Print all charts at the end.
    #[arg(long, value_enum, requires = "until_caught_up")]
    format: Option<Format>,
    /// Where to print them, instead of stdout.
    #[arg(long, value_name = "PATH", requires = "format")]
    output: Option<PathBuf>,
    /// How often what was read is committed to the lake.
    #[arg(long, value_name = "SPAN", default_value = "60s", value_parser = parse_duration, env = "REPRISE_COMMIT_INTERVAL")]
    commit_interval: Duration,
    /// Commit earlier when a worker holds so many MiB.
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=65536), env = "REPRISE_BUFFER")]
    buffer: u64,
    /// After so long without any play the trending window goes on with the wall clock.
    #[arg(long, value_name = "SPAN", default_value = "30s", value_parser = parse_duration, env = "REPRISE_IDLE")]
    idle: Duration,
    /// An hour of the lake that has got no file for so long is compacted: its small files become few.
    #[arg(long, value_name = "SPAN", default_value = "2h", value_parser = parse_duration, env = "REPRISE_COMPACT_AFTER")]
    compact_after: Duration,
    /// How long files stay that the newest version of the lake does not have: as long as readers may take.
    #[arg(long, value_name = "SPAN", default_value = "1h", value_parser = parse_duration, env = "REPRISE_RETAIN")]
    retain: Duration,
    /// A librdkafka option, as in -X fetch.wait.max.ms=50; may be given several times. TLS and SASL need a build with
    /// --features tls.
    #[arg(short = 'X', value_name = "NAME=VALUE", value_parser = parse_option)]
    options: Vec<(String, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum From {
    Earliest,
    Latest,
}

/// A run as `run` and `demo` start it.
pub struct Run {
    pub broker: Broker,
    pub lake: PathBuf,
    pub workers: usize,
    pub charts: ChartsFile,
    pub listen: SocketAddr,
    pub from: From,
    pub pace: Pace,
    pub care: care::Spans,
    /// Lines below the live table.
    pub notes: Vec<String>,
}

pub fn run(options: Options) -> Result<()> {
    start_log(if has_screen() { "warn" } else { "info" });
    failpoint::warn_if_set();
    let stop = stop_flag("committing what was read")?;
    let pace = Pace {
        commit_interval: options.commit_interval,
        buffer_bytes: options.buffer << 20,
        idle: options.idle,
        until_caught_up: options.until_caught_up,
        ..Pace::default()
    };
    let run = Run {
        broker: Broker { servers: options.brokers, topic: options.topic, options: options.options },
        lake: options.lake,
        workers: options.workers,
        charts: options.charts,
        listen: options.listen,
        from: options.from,
        pace,
        care: care::Spans { compact_after: options.compact_after, retain: options.retain },
        notes: Vec::new(),
    };
    if let Some(format) = options.format {
        output::check(format, options.output.as_deref())?;
    }
    let shared = run.run(stop.clone(), |_| Ok(()))?;
    if let Some(format) = options.format {
        if stop.load(Ordering::Relaxed) {
            bail!(
                "stopped before everything was read, so the charts are not whole, and are not printed; start again to go on"
            );
        }
        output::write(format, &shared.charts().cells(&Filter::default()), options.output.as_deref())?;
    }
    Ok(())
}

impl Run {
    /// Runs until `stop` is set, or all is read if that is asked for. `started` is called when HTTP answers.
    pub fn run(self, stop: Arc<AtomicBool>, started: impl FnOnce(&Arc<Shared>) -> Result<()>) -> Result<Arc<Shared>> {
        let definitions = self.charts.load()?;
        let lake = absolute(&self.lake)?;
        let shared = Arc::new(Shared::new(Charts::new(definitions.clone())));
        // Before the lake is taken over: a second start by mistake ends here, and leaves the first one alone.
        let server = serve::start(self.listen, shared.clone())?;
        let (identity, extents) = self.look()?;
        let mut committer = Committer::open(&lake, &identity)?;
        let starts = starts(&self.broker.topic, &extents, &committer.progress().offsets, self.from)?;
        committer.begin(&starts)?;
        let snapshot = Snapshot::open(&lake, None)?;
        let files = snapshot.files().to_vec();
        let rows_total = files.iter().map(|file| file.rows).sum();
        let rebuilt = Arc::new(Progress { rows_total, ..Progress::default() });
        let version = snapshot.version();
        shared.charts_mut().set_as_of(AsOf { lake_version: Some(version), ..AsOf::default() });
        let address = format!("http://{}", server.address);
        *shared.status_mut() = Status {
            topic: self.broker.topic.clone(),
            workers: self.workers,
            address: address.clone(),
            lake: lake.display().to_string(),
            lake_version: Some(version),
            lake_plays: rows_total,
            started_at_us: SystemTime::now().duration_since(UNIX_EPOCH).ok().map(|since| since.as_micros() as i64),
            ..Status::default()
        };
        let last_epoch = committer.progress().epoch;
        info!(%address, lake = %lake.display(), workers = self.workers, partitions = starts.len(), "running");
        started(&shared)?;
        let monitor = Monitor::start(shared.clone(), self.broker.clone(), rebuilt.clone(), self.notes)?;
        let interval = self.care.compact_after.min(self.care.retain);
        let chores = vec![("the care of the lake", care::chore(lake.clone(), self.care))];
        let caretaker = Caretaker::start(interval, chores)?;
        let paused = shared.clone();
        let room = Room::new(stop.clone(), move |reason| paused.status_mut().paused = reason);
        let engine = Engine {
            workers: self.workers,
            definitions,
            pace: self.pace,
            last_epoch,
            clock_us: snapshot.progress().clock_us,
            files,
            times_us: i64::MIN..i64::MAX,
            progress: rebuilt,
            live: Some(Live {
                broker: self.broker,
                starts: starts.into_iter().collect(),
                lake,
                incarnation: committer.progress().incarnation,
                room,
                committer: Mutex::new(Some(committer)),
            }),
            shared: shared.clone(),
            stop,
            fail,
        };
        engine.run()?;
        drop((caretaker, monitor));
        server.stop();
        Ok(shared)
    }
}

impl Run {
    /// What the broker says of the topic.
    fn look(&self) -> Result<(Identity, BTreeMap<i32, Extent>)> {
        let consumer = self.broker.consumer()?;
        let partitions = self.broker.partitions(&consumer)?;
        let extents = self.broker.extents(&consumer, &partitions, ANSWER_TIMEOUT)?;
        Ok((Identity { cluster_id: self.broker.cluster_id(&consumer)?, topic: self.broker.topic.clone() }, extents))
    }
}

/// Where each partition goes on: where the lake ends, or where `from` says if the lake knows nothing of it.
fn starts(
    topic: &str,
    extents: &BTreeMap<i32, Extent>,
    committed: &BTreeMap<i32, i64>,
    from: From,
) -> Result<BTreeMap<i32, i64>> {
    if let Some(partition) = committed.keys().find(|partition| !extents.contains_key(partition)) {
        bail!(
            "the lake holds plays of {topic}/{partition}, a partition that the topic does not have: was the topic made anew? Begin a new lake for it"
        );
    }
    let start = |(partition, extent): (&i32, &Extent)| {
        let start = match (committed.get(partition), from) {
            (None, From::Earliest) => extent.first,
            // Not for a partition that was added later: what it has got by now would be lost.
            (None, From::Latest) if committed.is_empty() => extent.end,
            (None, From::Latest) => extent.first,
            (Some(next), _) if *next < extent.first => bail!(
                "plays are missing: the lake ends before offset {next} of {topic}/{partition}, and Kafka only has offsets from {} on, \
                 since its retention has deleted the others; begin a new lake, or bring the plays back",
                extent.first
            ),
            (Some(next), _) if *next > extent.end => bail!(
                "the lake has {topic}/{partition} up to offset {next}, and Kafka ends at {}: was the topic made anew? Begin a new lake for it",
                extent.end
            ),
            (Some(next), _) => *next,
        };
        Ok((*partition, start))
    };
    extents.iter().map(start).collect::<Result<_>>().context("cannot go on with this lake")
}

/// Reads a number of workers.
pub fn workers(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(workers @ 1..=256) => Ok(workers),
        _ => Err("it must be a number from 1 to 256".to_owned()),
    }
}
