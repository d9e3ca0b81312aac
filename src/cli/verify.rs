//! `reprise verify`: live equals replay, or the first difference; and a lake is whole, or what is wrong with it.

use std::io::BufReader;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use url::Url;

use super::client::{Client, Committed, Failure};
use super::lake_folder::LakeFolder;
use super::replay::Replay;
use super::run::workers;
use super::shared::{ChartsFile, TokenFile, default_workers, parse_duration, start_log};
use super::usage::{WrongUsage, wrong};
use crate::charts::{Charts, Filter};
use crate::cluster::Team;
use crate::lake::Snapshot;
use crate::output::{self, table::printable};
use crate::serve::snapshot::Header;
use crate::verify::{
    self,
    against::{self, Live},
};

/// Between two looks at an instance that has not committed yet.
const WAIT_STEP: Duration = Duration::from_millis(100);

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  reprise verify ./lake --against http://127.0.0.1:7878
  reprise verify ./lake --against http://127.0.0.1:7878 --charts charts.toml
  reprise verify ./lake

The exit status is 0 if all is as it should be, and 1 if not.")]
pub struct Options {
    #[command(flatten, next_help_heading = "Lake")]
    lake: LakeFolder,
    /// A running instance, whose charts are compared with a replay of the lake. Without it the lake itself is checked.
    #[arg(help_heading = "Serving")]
    #[arg(long, value_name = "URL")]
    against: Option<String>,
    /// How long to wait for the first commit of an instance that has just begun; 0s refuses at once.
    #[arg(help_heading = "Serving")]
    #[arg(long, value_name = "SPAN", default_value = "2m", value_parser = parse_duration, env = "REPRISE_WAIT")]
    wait: Duration,
    #[command(flatten, next_help_heading = "Serving")]
    token: TokenFile,
    #[command(flatten, next_help_heading = "Charts")]
    charts: ChartsFile,
    /// Threads that work on the dataflow.
    #[arg(help_heading = "Advanced")]
    #[arg(short, long, value_name = "N", default_value_t = default_workers(), value_parser = workers, env = "REPRISE_WORKERS")]
    workers: usize,
}

pub fn run(options: Options) -> Result<()> {
    start_log("warn");
    let lake = options.lake.absolute()?;
    match &options.against {
        Some(url) => options.lake.advise(against(&options, url, &lake)),
        None => options.lake.advise(alone(&lake, options.workers)),
    }
}

fn against(options: &Options, url: &str, lake: &Path) -> Result<()> {
    let definitions = options.charts.load()?;
    let body = options.body(url)?;
    let live = Live::open(BufReader::new(body.as_slice())).with_context(|| not_a_reprise(url))?;
    let as_of = live.header.as_of;
    let version = as_of.lake_version.filter(|_| as_of.durable).with_context(|| not_a_reprise(url))?;
    against::check_rules(&live.header.charts, &Charts::new(definitions.clone()).inputs())?;
    let snapshot = Snapshot::open(lake, Some(version)).with_context(|| {
        format!("the instance serves version {version} of its lake {}", printable(&live.header.lake))
    })?;
    ensure!(
        snapshot.topic() == Some(&live.header.topic),
        "the instance reads the topic {}, and the lake {} holds {}: name its own lake, {}",
        printable(&live.header.topic),
        lake.display(),
        snapshot.topic().unwrap_or("none"),
        printable(&live.header.lake)
    );
    let files = snapshot.files().to_vec();
    let (workers, times_us) = (options.workers, i64::MIN..i64::MAX);
    let mut charts =
        Replay { team: Team::alone(workers), definitions, files, times_us, clock_us: as_of.clock_us }.charts()?;
    // The period of the trending window is named by it.
    charts.set_as_of(as_of);
    let cells = charts.cells(&Filter::default());
    let comparison = against::compare(live, cells, charts.inputs()).with_context(|| not_a_reprise(url))?;
    output::print_text(&comparison.report())?;
    match comparison.difference {
        None if comparison.same() => Ok(()),
        None => bail!("live and replay differ"),
        Some(difference) => bail!("live and replay differ, first in {difference}"),
    }
}

impl Options {
    /// The durable charts of the instance at `url`, once it has some. A start commits when it has read everything, or when
    /// its interval is over, so what it serves until then is not in the lake, and there is nothing to compare.
    fn body(&self, url: &str) -> Result<Vec<u8>> {
        let client = Client::new(self.token.text()?.as_deref())?;
        let (snapshot, status) =
            (address(url, "/v1/snapshot", Some("durable=true"))?, address(url, "/v1/status", None)?);
        let until = Instant::now() + self.wait;
        let mut is_first = true;
        loop {
            // Before the snapshot: what is committed in between is in it.
            let committed = client.json::<Committed>(&status).map_err(Failure::into_error)?;
            let body = client.snapshot(&snapshot).map_err(Failure::into_error)?;
            let Header { as_of, charts, lake, .. } =
                Live::open(BufReader::new(body.as_slice())).with_context(|| not_a_reprise(url))?.header;
            // Plays may be in the lake that no chart counts.
            let holds_plays = committed.lake_plays > 0 && as_of.lake_version >= committed.lake_version;
            if holds_plays || charts.iter().any(|chart| chart.plays > 0) {
                if committed.uncommitted_plays > 0 {
                    eprintln!("{committed}, and what they change is not compared");
                }
                return Ok(body);
            }
            if committed.lake_plays + committed.uncommitted_plays == 0 {
                let (url, lake, version) = (printable(url), printable(&lake), as_of.lake_version.unwrap_or_default());
                bail!(
                    "there is nothing to compare: {url} has read no play, and version {version} of its lake {lake} holds none"
                );
            }
            if Instant::now() >= until {
                bail!("there is nothing to compare: {committed}; ask again after that, or give a longer --wait");
            }
            if is_first {
                eprintln!("{committed}; waiting for it");
            }
            is_first = false;
            std::thread::sleep(WAIT_STEP);
        }
    }
}

fn address(text: &str, path: &str, query: Option<&str>) -> Result<Url> {
    let absolute = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let mut url = Url::parse(&absolute).with_context(|| format!("--against {text} is not a URL")).wrong_usage()?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong(format!("--against {text} must begin with http://")));
    }
    url.set_path(path);
    url.set_query(query);
    Ok(url)
}

fn not_a_reprise(url: &str) -> String {
    format!("{} does not answer as a `reprise run` of this version does", printable(url))
}

/// Checks a lake by itself.
pub fn alone(lake: &Path, workers: usize) -> Result<()> {
    let checked = verify::lake::check(lake, workers)?;
    output::print_text(&checked.report)?;
    match checked.problems {
        0 => Ok(()),
        1 => bail!("the lake {} is not whole: what is wrong stands above", lake.display()),
        problems => bail!("the lake {} is not whole: {problems} problems stand above", lake.display()),
    }
}
