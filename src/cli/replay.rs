//! `reprise replay`: recomputes the charts from the plays in a lake, by the same dataflow as a run.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use reprise_dataflows::rules::definition::{Definitions, Eligible, Scope, TRENDING, TRENDING_NAME};
use serde::{Deserialize, Serialize};

use super::lake_folder::LakeFolder;
use super::logging::start_log;
use super::options::{ChartsFile, MemoryMax, default_workers};
use super::parsers::parse_moment;
use super::peers::Peers;
use super::printed::{Printed, as_of};
use super::run::workers;
use super::usage::WrongUsage;
use crate::cluster::view::View;
use crate::cluster::{Fingerprint, Team, join};
use crate::lake::store::Place;
use crate::lake::{LakeFile, Snapshot, balance};
use crate::process::memory;
use crate::process::shutdown::{Shutdown, fail};
use crate::run::engine::{Engine, for_each_worker};
use crate::run::mode::Mode;
use crate::run::tick::{Pace, clock_of_plays};
use crate::source::lake::{ReadProgress, latest_times};
use crate::state::State;
use crate::state::charts::{Charts, Filter, scopes};
use crate::terminal::output::Format;
use crate::text::grouped;
use crate::text::log;

/// Printed below the newest lists: how to see one of the others.
const SELECTION: &str = " One: --chart weekly --scope US --period 2026-W47.";

/// The options of `reprise replay`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  reprise replay ./lake                              the newest list of each chart, as tables
  reprise replay ./lake --all                        every list
  reprise replay ./lake --chart monthly --scope US --format csv
  reprise replay ./lake --charts other.toml          with other definitions of the charts
  reprise replay ./lake --from 2026-11-01 --to 2026-11-08 --format json")]
pub struct Options {
    /// The lake.
    #[command(flatten, next_help_heading = "Lake")]
    pub lake: LakeFolder,
    /// Count only plays from this time on: 2026-11-20, or 2026-11-20T14:00:00Z.
    #[arg(help_heading = "Lake")]
    #[arg(long, value_name = "T", value_parser = parse_moment)]
    from: Option<i64>,
    /// Count only plays before this time.
    #[arg(help_heading = "Lake")]
    #[arg(long, value_name = "T", value_parser = parse_moment)]
    to: Option<i64>,
    #[command(flatten, next_help_heading = "Charts")]
    charts: ChartsFile,
    /// Print only this chart.
    #[arg(help_heading = "Charts")]
    #[arg(long, value_name = "NAME")]
    chart: Option<String>,
    /// Print only this scope: global, a country such as US, or device:mobile.
    #[arg(help_heading = "Charts")]
    #[arg(long, value_name = "S", value_parser = parse_scope)]
    scope: Option<Scope>,
    /// Print only this period, as in 2026-11-20, 2026-W47, 2026-11, 2026 or all.
    #[arg(help_heading = "Charts")]
    #[arg(long, value_name = "P")]
    period: Option<String>,
    /// The clock that decides where the trending window ends, instead of the clock of the last
    /// commit.
    #[arg(help_heading = "Charts")]
    #[arg(long, value_name = "T", value_parser = parse_moment)]
    clock: Option<i64>,
    /// The output format.
    #[arg(help_heading = "Output")]
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    #[command(flatten, next_help_heading = "Output")]
    printed: Printed,
    /// The membership in a cluster.
    #[command(flatten)]
    pub peers: Peers,
    /// Worker threads of the dataflow.
    #[arg(help_heading = "Advanced")]
    #[arg(short, long, value_name = "N", default_value_t = default_workers(), value_parser = workers, env = "REPRISE_WORKERS")]
    workers: usize,
    #[command(flatten, next_help_heading = "Advanced")]
    memory_max: MemoryMax,
}

/// The message by which process 0 of a cluster starts the others.
#[derive(Serialize, Deserialize)]
struct Start {
    view: View,
    clock_us: Option<i64>,
}

/// Replays the lake, and prints the charts.
///
/// # Errors
/// If the options are wrong, the lake cannot be read, or no play can have the given scope.
pub fn run(options: Options) -> Result<()> {
    start_log("warn");
    // Exit at once, as on Ctrl-C: a replay has nothing to commit.
    options.peers.stop_with_stdin(|| std::process::exit(130))?;
    let definitions = with_only(options.charts.load()?, options.chart.as_deref()).wrong_usage()?;
    options.printed.check(options.format)?;
    check(&options, &definitions).wrong_usage()?;
    let lake = options.lake.open()?;
    let times_us = options.from.unwrap_or(i64::MIN)..options.to.unwrap_or(i64::MAX);
    let _memory = memory::watch(options.memory_max.bytes(), memory::Parts::default, fail)?;
    let Some(team) = options.team(&definitions)? else { return Ok(()) };
    let watch = team.watch()?;
    let Some((snapshot, clock_us)) = options.input(&lake, &team, &definitions)? else { return Ok(()) };
    let files: Vec<_> = snapshot.files_between(times_us.start, times_us.end).cloned().collect();
    let is_first = team.process() == 0;
    drop(watch);
    if !team.await_all()? {
        return Ok(());
    }
    let mut charts = Replay { team, definitions, files, times_us, clock_us }.charts()?;
    if !is_first {
        return Ok(());
    }
    let found = Lake::of(&snapshot, lake.to_string());
    charts.set_as_of(as_of(&snapshot, clock_us));
    let filter = Filter { chart: options.chart, scope: options.scope, period: options.period, limit: None };
    if options.printed.print(&charts, &filter, options.format, SELECTION)? == 0 {
        return report_empty(&charts, &filter, &found);
    }
    Ok(())
}

/// The contents of a lake, for the message of a replay that printed nothing.
struct Lake {
    /// Its folder.
    name: String,
    plays: u64,
    dead_letters: u64,
}

impl Lake {
    fn of(snapshot: &Snapshot, name: String) -> Self {
        let plays = snapshot.files().iter().map(|file| file.rows).sum();
        Self { name, plays, dead_letters: balance::dead_letters(snapshot) }
    }
}

/// Reports that nothing was printed, and where there are plays instead.
///
/// # Errors
/// If no play can have the given scope: then the request was wrong, and the result is not just
/// empty.
fn report_empty(charts: &Charts, filter: &Filter, lake: &Lake) -> Result<()> {
    let text = match lake {
        Lake { plays: 0, dead_letters: 0, name } => format!("the lake {name} holds no play"),
        Lake { plays: 0, dead_letters: 1, name } => format!("the lake {name} holds no play (1 dead letter)"),
        Lake { plays: 0, dead_letters, name } => {
            format!("the lake {name} holds no play ({} dead letters)", grouped(*dead_letters))
        }
        Lake { name, .. } => where_plays_are(charts, filter, name)?,
    };
    // On stderr: a program that reads stdout expects no lines for an empty result.
    log::note(&text);
    Ok(())
}

/// The message for a lake with plays of which none match the filter: where there are some.
fn where_plays_are(charts: &Charts, filter: &Filter, lake: &str) -> Result<String> {
    let definitions = charts.definitions();
    let scope = filter.scope.as_ref();
    let counts_by = |chart: &u32| scope.is_none_or(|scope| scopes(definitions, *chart).contains(&scope.kind()));
    let named = filter.chart.as_deref().and_then(|name| definitions.index_of(name));
    let chart = named.or_else(|| (0..definitions.charts.len() as u32).find(counts_by)).unwrap_or(TRENDING);
    let available = charts.available(chart, scope, None);
    let name = definitions.name(chart);
    if let Some(scope) = scope.filter(|scope| !is_possible(charts, chart, scope)) {
        bail!("no play counted from {lake} has the scope {}; of {name}, {available}", scope.name());
    }
    Ok(format!("no play in {lake} matches the given charts, scope, period and times; of {name}, {available}"))
}

/// Whether there can be a list of `chart` for `scope`. [`Charts::is_possible`] tells it by the other
/// charts, but a replay of the trending window alone counts none. There, a scope such as `US`, of a
/// dimension whose values are written without a prefix and have a fixed form, is refused if its
/// value does not have that form and the window has other scopes of the dimension.
fn is_possible(charts: &Charts, chart: u32, scope: &Scope) -> bool {
    let Scope::Of(dimension, value) = scope else { return true };
    let is_of_kind = |other: &Scope| other.kind() == scope.kind();
    let is_odd = chart == TRENDING && dimension.is_bare() && !dimension.is_plausible(value.as_str());
    charts.is_possible(scope) && !(is_odd && charts.scopes_after(TRENDING, None, usize::MAX).iter().any(is_of_kind))
}

impl Options {
    /// The workers, with those of the other processes of a cluster. `None` if the replay was
    /// stopped before all had joined.
    fn team(&self, definitions: &Definitions) -> Result<Option<Team>> {
        let stop = Arc::new(AtomicBool::new(false));
        let Some(membership) = self.peers.membership().wrong_usage()? else {
            return Ok(Some(Team::alone(self.workers)));
        };
        let mut fingerprint = Fingerprint::new("replay", self.workers, definitions);
        fingerprint.set("times (--from, --to, --clock)", format!("{:?}", (self.from, self.to, self.clock)));
        let cluster = join(&membership, &fingerprint, &stop, Arc::new(fail))?;
        Ok(cluster.map(|cluster| Team { threads: self.workers, cluster: Some(cluster) }))
    }

    /// The snapshot that all processes read, and the clock for the trending window. `None` if
    /// process 0 has left.
    fn input(&self, lake: &Place, team: &Team, definitions: &Definitions) -> Result<Option<(Snapshot, Option<i64>)>> {
        if team.process() > 0 {
            let Some(Start { view, clock_us }) = team.receive()? else { return Ok(None) };
            return Ok(Some((view.open(lake)?, clock_us)));
        }
        let snapshot = Snapshot::open(lake, None)?;
        let clock_us = match self.clock.or(snapshot.progress().clock_us) {
            Some(clock_us) => Some(clock_us),
            None => clock_of_plays(&latest_times(snapshot.files(), definitions)?),
        };
        team.broadcast(&Start { view: View::of(&snapshot), clock_us })?;
        Ok(Some((snapshot, clock_us)))
    }
}

/// A replay: which plays of a lake to count, and how.
pub struct Replay {
    /// The workers.
    pub team: Team,
    /// The definitions of the charts.
    pub definitions: Arc<Definitions>,
    /// The files of all processes to read.
    pub files: Vec<LakeFile>,
    /// The event times to count, in µs since 1970.
    pub times_us: Range<i64>,
    /// The clock for the trending window, in µs since 1970.
    pub clock_us: Option<i64>,
}

impl Replay {
    /// Computes the charts of the plays. The caller sets their `as_of`.
    ///
    /// # Errors
    /// If the dataflow cannot be started, or a file cannot be read.
    pub fn charts(self) -> Result<Charts> {
        let rows_total = self.files.iter().map(|file| file.rows).sum();
        let progress = Arc::new(ReadProgress { rows_total, ..ReadProgress::default() });
        let state = Arc::new(State::new(Charts::new(self.definitions.clone())));
        let files = for_each_worker(&self.files, self.team.threads);
        let engine = Engine {
            team: Arc::new(self.team),
            definitions: self.definitions,
            pace: Pace::default(),
            last_epoch: None,
            clock_us: self.clock_us,
            // A replay serves as a proof, so it never starts from a checkpoint.
            checkpoint: None,
            counted: None,
            files,
            times_us: self.times_us,
            progress: progress.clone(),
            mode: Mode::Replay,
            state: state.clone(),
            shutdown: Shutdown::default(),
            fail,
        };
        with_bar(&progress, || engine.run())?;
        for note in progress.left_out.lock().unwrap_or_else(PoisonError::into_inner).notes() {
            tracing::warn!("{note}");
        }
        Ok(state.charts().clone())
    }
}

/// Refuses options to which no lake can have an answer.
fn check(options: &Options, definitions: &Arc<Definitions>) -> Result<()> {
    if options.from.zip(options.to).is_some_and(|(from, to)| from >= to) {
        bail!("--from must be before --to");
    }
    let chart = options.chart.as_ref().map(|name| definitions.index_of(name).unwrap_or(TRENDING));
    if let Some(period) = options.period.as_ref().filter(|_| chart != Some(TRENDING)) {
        check_period(&Charts::new(definitions.clone()), chart, period)?;
    }
    let Some(kind) = options.scope.as_ref().map(Scope::kind) else { return Ok(()) };
    let all = (0..definitions.charts.len() as u32).chain([TRENDING]);
    let mut selected = all.filter(|one| chart.is_none_or(|chart| chart == *one));
    if selected.any(|chart| scopes(definitions, chart).contains(&kind)) {
        return Ok(());
    }
    let message = match options.chart.as_ref().zip(chart) {
        Some((name, chart)) => format!("chart {name} has no {kind:?} lists; it has {:?}", scopes(definitions, chart)),
        None => format!("no chart has {kind:?} lists"),
    };
    bail!("{}", message.to_lowercase())
}

/// Refuses a period that is not written as the periods of `chart` are, or, without a chart, as
/// those of any chart.
fn check_period(charts: &Charts, chart: Option<u32>, period: &str) -> Result<()> {
    if let Some(chart) = chart {
        charts.start_day(chart, period)?;
        return Ok(());
    }
    let all = 0..charts.definitions().charts.len() as u32;
    let refused = all.map(|chart| charts.start_day(chart, period)).collect::<Vec<_>>();
    // The period of the trending window is written as its two ends, with a slash.
    if period.contains('/') || refused.iter().any(Result::is_ok) {
        return Ok(());
    }
    let expected: BTreeSet<&str> =
        refused.iter().filter_map(|refused| Some(refused.as_ref().err()?.expected)).collect();
    bail!("no chart has a period `{period}`: give {}", expected.into_iter().collect::<Vec<_>>().join(", or "))
}

/// The definitions reduced to `chart`, if one is given, so that others are not counted.
fn with_only(definitions: Arc<Definitions>, chart: Option<&str>) -> Result<Arc<Definitions>> {
    let Some(name) = chart else { return Ok(definitions) };
    let index = definitions.index_of(name).with_context(|| {
        let names: Vec<&str> = definitions.charts.iter().map(|chart| chart.name.as_str()).collect();
        format!("there is no chart {name:?}; there are {TRENDING_NAME}, {}", names.join(", "))
    })?;
    let mut only = Definitions::clone(&definitions);
    only.charts.retain(|chart| index != TRENDING && chart.name == name);
    if index != TRENDING {
        // There is always a trending window; reduce it so that it needs no further column.
        only.trending.scopes.clear();
        only.trending.eligible = Eligible::All;
    }
    Ok(Arc::new(only))
}

fn parse_scope(text: &str) -> Result<Scope, String> {
    Scope::parse(text).map_err(|error| error.to_string())
}

/// The style of a progress bar that counts plays.
pub fn bar_of_plays() -> ProgressStyle {
    // The library's own rate has fractions.
    let rate = |state: &ProgressState, out: &mut dyn fmt::Write| {
        // A formatting error cannot be handled here.
        let _ = write!(out, "{}/s", HumanCount(state.per_sec() as u64));
    };
    let style = ProgressStyle::with_template("{bar:40} {human_pos} of {human_len} plays, {rate}, {eta} left");
    style.map_or_else(|_| ProgressStyle::default_bar(), |style| style.with_key("rate", rate))
}

/// Shows the progress of `work`, if stderr is a terminal.
fn with_bar(progress: &Arc<ReadProgress>, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let bar = ProgressBar::with_draw_target(Some(progress.rows_total), ProgressDrawTarget::stderr());
    bar.set_style(bar_of_plays());
    let (shown, read) = (bar.clone(), progress.clone());
    let done = Arc::new(AtomicBool::new(false));
    let until = done.clone();
    let thread = std::thread::spawn(move || {
        while !until.load(Ordering::Relaxed) {
            shown.set_position(read.rows.load(Ordering::Relaxed));
            std::thread::park_timeout(Duration::from_millis(100));
        }
    });
    let outcome = work();
    done.store(true, Ordering::Relaxed);
    thread.thread().unpark();
    let _ = thread.join();
    bar.finish_and_clear();
    outcome
}
