//! `reprise run`: Kafka in, charts out, every play into the lake.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use reprise_dataflows::plan::Plan;
use tracing::{info, warn};

use super::shared::{ChartsFile, absolute, default_workers, fail, parse_duration, parse_option, start_log, stop_flag};
use crate::broker::{ANSWER_TIMEOUT, Broker, DEFAULT_GROUP, Extent};
use crate::charts::{AsOf, Charts, Filter};
use crate::checkpoint;
use crate::ending::Ending;
use crate::engine::{Engine, Live};
use crate::failpoint;
use crate::lake::care::{self, Caretaker};
use crate::lake::{Committer, Identity, LakeFile, Room, Snapshot};
use crate::monitor::{Monitor, has_screen};
use crate::output::{self, Format};
use crate::publish::Publisher;
use crate::serve::{self, Shared, Status};
use crate::source::kafka::{Discovery, Found, PASSED, Resumption, check_remade, lost, resume};
use crate::source::lake::Progress;
use crate::tick::Pace;

/// How soon somebody who wants to leave is heard while Kafka does not answer.
const STOP_INTERVAL: Duration = Duration::from_millis(50);

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
    /// Go on although Kafka has deleted plays before they were read; the lake will say which are missing.
    #[arg(long, env = "REPRISE_ACCEPT_GAP")]
    accept_gap: bool,
    /// The consumer group under which committed offsets are published, for tools that measure lag.
    #[arg(long, value_name = "NAME", default_value = DEFAULT_GROUP, env = "REPRISE_GROUP")]
    group: String,
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
    /// How often the lake is counted in the background, so that the next start is quick.
    #[arg(long, value_name = "SPAN", default_value = "5m", value_parser = parse_duration, env = "REPRISE_CHECKPOINT_INTERVAL")]
    checkpoint_interval: Duration,
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
    /// Go on behind offsets that Kafka no longer has.
    pub accept_gap: bool,
    pub pace: Pace,
    pub care: care::Spans,
    pub checkpoint_interval: Duration,
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
        broker: Broker {
            servers: options.brokers,
            topic: options.topic,
            group: options.group,
            options: options.options,
        },
        lake: options.lake,
        workers: options.workers,
        charts: options.charts,
        listen: options.listen,
        from: options.from,
        accept_gap: options.accept_gap,
        pace,
        care: care::Spans { compact_after: options.compact_after, retain: options.retain },
        checkpoint_interval: options.checkpoint_interval,
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
        let Some((committer, starts)) = self.prepare(&lake, &stop)? else { return Ok(shared) };
        let missing: i64 = committer.progress().missing.values().sum();
        shared.began(&committer.progress().offsets, missing.unsigned_abs());
        let snapshot = Snapshot::open(&lake, None)?;
        let files = snapshot.files().to_vec();
        let plays = files.iter().map(|file| file.rows).sum();
        let checkpoint = checkpoint::newest(&lake, &snapshot, &Plan::new(&definitions))?.map(Arc::new);
        let counted = checkpoint.as_ref().map(|checkpoint| checkpoint.counted(&snapshot));
        let is_counted = |file: &&LakeFile| counted.as_ref().is_some_and(|counted| counted.files.contains(&file.path));
        let rows_total = files.iter().filter(|file| !is_counted(file)).map(|file| file.rows).sum();
        let rebuilt = Arc::new(Progress { rows_total, ..Progress::default() });
        let version = snapshot.version();
        shared.opened(AsOf {
            epoch: snapshot.progress().epoch.unwrap_or(0),
            clock_us: snapshot.progress().clock_us,
            lake_version: Some(version),
            durable: true,
        });
        let address = format!("http://{}", server.address);
        *shared.status_mut() = Status {
            topic: self.broker.topic.clone(),
            workers: self.workers,
            address: address.clone(),
            lake: lake.display().to_string(),
            lake_version: Some(version),
            lake_plays: plays,
            checkpoint_version: checkpoint.as_ref().map(|checkpoint| checkpoint.manifest.version),
            missing: missing.unsigned_abs(),
            started_at_us: SystemTime::now().duration_since(UNIX_EPOCH).ok().map(|since| since.as_micros() as i64),
            ..Status::default()
        };
        let last_epoch = committer.progress().epoch;
        info!(%address, lake = %lake.display(), workers = self.workers, partitions = starts.len(), "running");
        started(&shared)?;
        let paused = shared.clone();
        let room = Room::new(stop.clone(), move |reason| paused.status_mut().paused = reason);
        let (ending, found) = (Ending::new(stop), Arc::<Found>::default());
        let known = starts.keys().copied().collect();
        let plan = Plan::new(&definitions);
        let threads = (
            Monitor::start(shared.clone(), self.broker.clone(), rebuilt.clone(), self.notes)?,
            Publisher::start(shared.clone(), &self.broker)?,
            Discovery::start(&self.broker, known, found.clone(), ending.clone())?,
            Caretaker::start(
                self.care.compact_after.min(self.care.retain).min(self.checkpoint_interval),
                vec![
                    (
                        "making a checkpoint",
                        checkpoint::chore(lake.clone(), plan, self.checkpoint_interval, shared.clone()),
                    ),
                    ("the care of the lake", care::chore(lake.clone(), self.care)),
                ],
            )?,
        );
        let engine = Engine {
            workers: self.workers,
            definitions,
            pace: self.pace,
            last_epoch,
            clock_us: snapshot.progress().clock_us,
            checkpoint,
            counted,
            files,
            times_us: i64::MIN..i64::MAX,
            progress: rebuilt,
            live: Some(Live {
                broker: self.broker,
                starts: starts.into_iter().collect(),
                found,
                accept_gap: self.accept_gap,
                lake,
                incarnation: committer.progress().incarnation,
                room,
                committer: Mutex::new(Some(committer)),
            }),
            shared: shared.clone(),
            ending: ending.clone(),
            fail,
        };
        engine.run()?;
        drop(threads);
        server.stop();
        ending.outcome()?;
        Ok(shared)
    }
}

impl Run {
    /// Takes the lake over, and finds out where each partition goes on. Nothing if it was stopped meanwhile.
    fn prepare(&self, lake: &Path, stop: &AtomicBool) -> Result<Option<(Committer, BTreeMap<i32, i64>)>> {
        let broker = self.broker.clone();
        let Some((identity, extents)) = unless_stopped(stop, move || look(&broker))? else { return Ok(None) };
        let mut committer = Committer::open(lake, &identity)?;
        let (broker, progress) = (self.broker.clone(), committer.progress().clone());
        let topic = self.broker.topic.as_str();
        let resumption = resume(topic, &extents, &progress, self.from == From::Latest);
        let Resumption { starts, gaps } = resumption.context("cannot go on with this lake")?;
        if unless_stopped(stop, move || check_remade(&broker, &extents, &progress))?.is_none() {
            return Ok(None);
        }
        if !gaps.is_empty() && !self.accept_gap {
            return Err(lost(topic, &gaps).context("cannot go on with this lake"));
        }
        for gap in &gaps {
            warn!(topic, partition = gap.partition, first = gap.first, end = gap.end, "{}", PASSED);
        }
        committer.begin(&starts)?;
        committer.pass(&gaps)?;
        Ok(Some((committer, starts)))
    }
}

/// What the broker says of the topic.
fn look(broker: &Broker) -> Result<(Identity, BTreeMap<i32, Extent>)> {
    let consumer = broker.consumer()?;
    let partitions = broker.partitions(&consumer)?;
    let extents = broker.extents(&consumer, &partitions, ANSWER_TIMEOUT)?;
    Ok((Identity { cluster_id: broker.cluster_id(&consumer)?, topic: broker.topic.clone() }, extents))
}

/// Asks Kafka on a thread of its own, since that may take long, and does not wait for the answer when `stop` is set.
fn unless_stopped<T: Send + 'static>(
    stop: &AtomicBool,
    ask: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<Option<T>> {
    let (answered, answer) = channel();
    let ask = move || drop(answered.send(ask()));
    std::thread::Builder::new().name("reprise-ask".to_owned()).spawn(ask).context("a thread cannot be started")?;
    loop {
        if stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        match answer.recv_timeout(STOP_INTERVAL) {
            Ok(answer) => return answer.map(Some),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => bail!("the thread that asks Kafka has died"),
        }
    }
}

/// Reads a number of workers.
pub fn workers(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(workers @ 1..=256) => Ok(workers),
        _ => Err("it must be a number from 1 to 256".to_owned()),
    }
}
