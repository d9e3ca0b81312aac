//! `reprise verify`: compares a running instance with a replay of its lake, or checks a lake by
//! itself.

use std::io::BufReader;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use url::Url;

use super::access::TokenFile;
use super::client::{Client, Committed, Failure};
use super::instance::{client, url};
use super::lake_folder::LakeFolder;
use super::logging::start_log;
use super::options::{ChartsFile, default_workers};
use super::parsers::parse_duration;
use super::replay::Replay;
use super::run::workers;
use crate::cluster::Team;
use crate::lake::Snapshot;
use crate::lake::store::Place;
use crate::state::charts::SnapshotHeader;
use crate::state::charts::{Charts, Filter};
use crate::terminal::output;
use crate::text::log;
use crate::text::printable;
use crate::verify::against::{self, Live};
use crate::verify::{self};

/// The option that names the instance.
const AGAINST: &str = "--against";
/// The interval between requests to an instance that has not committed yet.
const WAIT_STEP: Duration = Duration::from_millis(100);

/// The options of `reprise verify`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  reprise verify ./lake --against http://127.0.0.1:7878
  reprise verify ./lake --against http://127.0.0.1:7878 --charts charts.toml
  reprise verify ./lake

The exit status is 0 if no problem was found, and 1 otherwise.")]
pub struct Options {
    #[command(flatten, next_help_heading = "Lake")]
    lake: LakeFolder,
    /// The URL of a running instance, whose charts are compared with a replay of the lake. Without
    /// it the lake itself is checked.
    #[arg(help_heading = "Serving")]
    #[arg(long, value_name = "URL")]
    against: Option<String>,
    /// How long to wait until an instance that has just been started answers and has committed
    /// plays; 0s does not wait.
    #[arg(help_heading = "Serving")]
    #[arg(long, value_name = "SPAN", default_value = "2m", value_parser = parse_duration, env = "REPRISE_WAIT")]
    wait: Duration,
    #[command(flatten, next_help_heading = "Serving")]
    token: TokenFile,
    #[command(flatten, next_help_heading = "Charts")]
    charts: ChartsFile,
    /// Worker threads of the dataflow.
    #[arg(help_heading = "Advanced")]
    #[arg(short, long, value_name = "N", default_value_t = default_workers(), value_parser = workers, env = "REPRISE_WORKERS")]
    workers: usize,
}

/// Compares or checks.
///
/// # Errors
/// If a difference or a problem was found, or it could not be looked for.
pub fn run(options: Options) -> Result<()> {
    start_log("warn");
    let lake = options.lake.open()?;
    match &options.against {
        Some(url) => options.lake.advise(against(&options, url, &lake)),
        None => options.lake.advise(alone(&lake, options.workers)),
    }
}

fn against(options: &Options, given: &str, lake: &Place) -> Result<()> {
    let [snapshot, status] = [(&["v1", "snapshot"], Some("true")), (&["v1", "status"], None)]
        .map(|(path, durable)| url(AGAINST, given, path, &[("durable", durable)]));
    let instance =
        LiveInstance { given, client: client(&options.token, AGAINST)?, snapshot: snapshot?, status: status? };
    let definitions = options.charts.load()?;
    let body = instance.whole(options.wait)?;
    let live = Live::open(BufReader::new(body.as_slice())).with_context(|| not_a_reprise(given))?;
    let as_of = live.header.as_of;
    let version = as_of.lake_version.filter(|_| as_of.durable).with_context(|| not_a_reprise(given))?;
    against::check_rules(&live.header.charts, &Charts::new(definitions.clone()).inputs())?;
    let snapshot = open(lake, version, &live.header)?;
    let elsewhere = elsewhere(lake, &live.header.lake);
    let files = snapshot.files().to_vec();
    let (workers, times_us) = (options.workers, i64::MIN..i64::MAX);
    let mut charts =
        Replay { team: Team::alone(workers), definitions, files, times_us, clock_us: as_of.clock_us }.charts()?;
    // The name of the trending window's period is derived from it.
    charts.set_as_of(as_of);
    let cells = charts.cells(&Filter::default());
    let comparison = against::compare(live, cells, charts.inputs()).with_context(|| not_a_reprise(given))?;
    output::print_text(&comparison.report())?;
    match comparison.difference {
        None if comparison.same() => Ok(()),
        None => bail!("live and replay differ{elsewhere}"),
        Some(difference) => bail!("live and replay differ, first in {difference}{elsewhere}"),
    }
}

/// Opens `lake` at `version`, if it is the lake of the instance.
///
/// # Errors
/// If it is another lake, or does not have that version. The topics are compared first, so that the
/// error about a wrong lake says that, and not that a version is missing.
fn open(lake: &Place, version: u64, live: &SnapshotHeader) -> Result<Snapshot> {
    let newest = Snapshot::open(lake, None)?;
    let (shown, theirs) = (lake, printable(&live.lake));
    ensure!(
        newest.topic() == Some(&live.topic),
        "the instance reads the topic {}, and the lake {shown} holds {}: name its own lake, {theirs}",
        printable(&live.topic),
        newest.topic().map_or("none".into(), printable)
    );
    ensure!(
        newest.version() >= version,
        "the instance serves version {version} of its lake {theirs}, and the lake {shown} has {} at most: name its own lake",
        newest.version()
    );
    if newest.version() == version {
        return Ok(newest);
    }
    Snapshot::open(lake, Some(version))
        .with_context(|| format!("the instance serves version {version} of its lake {theirs}, and this is {shown}"))
}

/// Names the lake of the instance, if its path is not that of the `lake` that was replayed: two
/// lakes of the same topic differ.
fn elsewhere(lake: &Place, theirs: &str) -> String {
    match (Path::new(&lake.to_string()).canonicalize(), Path::new(theirs).canonicalize()) {
        (Ok(ours), Ok(theirs)) if ours == theirs => String::new(),
        _ => format!("; the lake of the instance is {}, and this is {}", printable(theirs), lake),
    }
}

/// The instance whose charts are compared, and the URLs to ask.
struct LiveInstance<'a> {
    given: &'a str,
    client: Client,
    snapshot: Url,
    status: Url,
}

/// The answer of an instance to a request for its durable charts.
enum Answer {
    /// A snapshot of them.
    Whole(Vec<u8>),
    /// There are none yet, for this reason.
    NotYet(String),
}

impl LiveInstance<'_> {
    /// The durable charts of the instance. Waits up to `wait` for it to start, to read its topic
    /// and to commit.
    fn whole(&self, wait: Duration) -> Result<Vec<u8>> {
        let until = Instant::now() + wait;
        let mut is_first = true;
        loop {
            let (why, hint) = match self.answer() {
                Ok(Answer::Whole(body)) => return Ok(body),
                Ok(Answer::NotYet(why)) => {
                    (format!("there is nothing to compare: {why}"), "; try again after that, or give a longer --wait")
                }
                Err(Failure::Unavailable(error)) => (format!("{error:#}"), ""),
                Err(Failure::Refused(error)) => return Err(error),
            };
            if Instant::now() >= until {
                bail!("{why}{hint}");
            }
            if is_first {
                log::note(&format!("{why}; waiting for it"));
            }
            is_first = false;
            std::thread::sleep(WAIT_STEP);
        }
    }

    /// Requests the snapshot once. After its start an instance commits when it has read everything,
    /// or when its commit interval is over. Before that, its charts are not in the lake, so there is
    /// nothing to compare.
    fn answer(&self) -> Result<Answer, Failure> {
        // Requested before the snapshot, which then contains all that this status calls committed.
        let committed = self.client.json::<Committed>(&self.status)?;
        let body = self.client.snapshot(&self.snapshot)?;
        let live = Live::open(BufReader::new(body.as_slice())).with_context(|| not_a_reprise(self.given));
        let SnapshotHeader { as_of, charts, lake, .. } = live.map_err(Failure::Refused)?.header;
        // The lake may hold only plays that no chart counts.
        let holds_plays = committed.lake_plays > 0 && as_of.lake_version >= committed.lake_version;
        if holds_plays || charts.iter().any(|chart| chart.plays > 0) {
            if committed.uncommitted_plays > 0 {
                log::note(&format!("{committed}, and what they change is not compared"));
            }
            return Ok(Answer::Whole(body));
        }
        if committed.lake_plays + committed.uncommitted_plays > 0 {
            return Ok(Answer::NotYet(committed.to_string()));
        }
        let (url, lake, version) = (printable(self.given), printable(&lake), as_of.lake_version.unwrap_or_default());
        if !committed.is_live() {
            return Ok(Answer::NotYet(format!("{url} has not read its topic to the end yet")));
        }
        Err(Failure::Refused(anyhow!(
            "there is nothing to compare: {url} has read no play, and version {version} of its lake {lake} holds none"
        )))
    }
}

fn not_a_reprise(url: &str) -> String {
    format!("{} does not answer as a `reprise run` of this version does", printable(url))
}

/// Checks a lake by itself, and prints a report.
///
/// # Errors
/// If a problem was found, or the lake cannot be read.
pub fn alone(lake: &Place, workers: usize) -> Result<()> {
    let checked = verify::lake::check(lake, workers)?;
    output::print_text(&checked.report)?;
    match checked.problems {
        0 => Ok(()),
        1 => bail!("the lake {lake} is damaged or incomplete: see above"),
        problems => bail!("the lake {lake} is damaged or incomplete: see the {problems} problems above"),
    }
}
