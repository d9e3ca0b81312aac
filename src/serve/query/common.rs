//! Shared by all queries: sending a query and waiting for the findings, parameters, and the types
//! that answers are made of.

use crate::serve::Http;
use crate::serve::parameters::count;
use crate::serve::problem::Problem;
use crate::state::Findings;
use crate::state::charts::{AsOf, Charts, scopes};
use crate::text::instant;
use reprise_dataflows::names::catalogue::TrackInfo;
use reprise_dataflows::query::QueryKind;
use reprise_dataflows::rules::definition::{Cell, ItemKind, Scope, ScopeKind, TRENDING};
use reprise_dataflows::time::Period;
use serde::Serialize;
use std::cmp::Ordering as Order;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long to wait for the workers. An epoch takes milliseconds, but one with a commit or a search
/// in it may take longer.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// The most entries of an answer, by default.
pub const LIMIT: usize = 20;

/// The largest `limit` that a request may ask for.
pub const LIMIT_MAX: usize = 200;

/// The most bytes of a track's id or an artist's name. Plays have the same bound, so no longer one
/// exists.
pub const TEXT_BYTES_MAX: usize = 1024;

/// The period of a chart in which plays are counted.
#[derive(Hash, Serialize)]
pub struct ChartPeriod {
    /// The name of the chart.
    pub chart: String,
    /// The name of the period, such as `2026-W47`.
    pub period: String,
    /// The first instant of the period, in µs since 1970; none if it has no start or there is no
    /// clock yet.
    #[serde(rename = "start", with = "instant")]
    pub start_us: Option<i64>,
    /// The first instant after the period, in µs since 1970; none if it has no end or there is no
    /// clock yet.
    #[serde(rename = "end", with = "instant")]
    pub end_us: Option<i64>,
}

impl ChartPeriod {
    /// The name of the chart.
    pub fn chart(&self) -> &str {
        &self.chart
    }

    /// The name of the period.
    pub fn period(&self) -> &str {
        &self.period
    }

    /// The period of `chart` that begins on `start_day`. For trending it is the window at the clock
    /// of `as_of`.
    pub fn new(charts: &Charts, chart: u32, start_day: i32, as_of: AsOf) -> Self {
        let (period, start_us, end_us) = charts.period_as_of(chart, Some(start_day), as_of);
        Self { chart: charts.definitions().name(chart).to_owned(), period, start_us, end_us }
    }
}

/// The plays of a track, or of an artist, in one cell.
#[derive(Hash, Serialize)]
pub struct Plays {
    /// The chart and the period of the cell.
    #[serde(flatten)]
    pub of: ChartPeriod,
    /// The name of the scope, such as `global`.
    pub scope: String,
    /// The number of plays.
    pub plays: i64,
}

impl Plays {
    /// The `plays` that were counted in `cell`, as of `as_of`.
    pub fn new(charts: &Charts, cell: &Cell, as_of: AsOf, plays: i64) -> Self {
        Self { of: ChartPeriod::new(charts, cell.chart, cell.start_day, as_of), scope: cell.scope.name(), plays }
    }

    /// The order in answers: by chart, period and scope.
    pub fn by_name(a: &Self, b: &Self) -> Order {
        (&a.of.chart, &a.of.period, &a.scope).cmp(&(&b.of.chart, &b.of.period, &b.scope))
    }
}

/// A track that a search has found, or a track of an artist.
#[derive(Hash, Serialize)]
pub struct FoundTrack {
    track_id: String,
    title: String,
    artist: String,
    plays: i64,
}

impl FoundTrack {
    /// A track with its `plays`. Title and artist are empty if nothing is known of it yet.
    pub fn new(track_id: String, info: Option<TrackInfo>, plays: i64) -> Self {
        let (title, artist) = info.map(|TrackInfo { title, artist }| (title, artist)).unwrap_or_default();
        Self { track_id, title, artist, plays }
    }

    /// The order in answers: most plays first. Equal plays are ordered by id.
    pub fn most_played_first(a: &Self, b: &Self) -> Order {
        b.plays.cmp(&a.plays).then_with(|| a.track_id.cmp(&b.track_id))
    }
}

/// The global cell in which a track has the most plays: the usual period of the chart of tracks
/// that has the longest period. Of several such charts, the one that is defined first.
///
/// # Errors
/// Not found, if no chart counts tracks in the global scope.
pub fn widest_cell(charts: &Charts) -> Result<Cell, Problem> {
    let chart = longest_chart(charts, ScopeKind::Global).ok_or_else(|| {
        Problem::not_found("no chart counts the plays of tracks everywhere, so nothing can be searched")
    })?;
    let start_day = charts.usual(chart, Some(&Scope::Global)).unwrap_or(0);
    Ok(Cell { chart, start_day, scope: Scope::Global })
}

/// The chart with the longest period, among those that count tracks by this `kind` of scope. Of
/// several, the one that is defined first.
pub fn longest_chart(charts: &Charts, kind: ScopeKind) -> Option<u32> {
    let definitions = charts.definitions();
    let length = |chart: u32| {
        definitions.chart(chart).map_or(0, |chart| match chart.period {
            Period::Day => 1,
            Period::Week => 2,
            Period::Month => 3,
            Period::Year => 4,
            Period::All => 5,
        })
    };
    let indices = [TRENDING].into_iter().chain((0..definitions.charts.len() as u32).rev());
    let fits = |chart: &u32| charts.item_kind(*chart) == ItemKind::TRACK && scopes(definitions, *chart).contains(&kind);
    indices.filter(fits).max_by_key(|chart| length(*chart))
}

/// Refuses an id that no track can have.
///
/// # Errors
/// Bad request, if the id is longer than [`TEXT_BYTES_MAX`].
pub fn check_id(id: &str) -> Result<(), Problem> {
    if id.len() > TEXT_BYTES_MAX {
        return Err(Problem::bad_request(format!("no track's id is longer than {TEXT_BYTES_MAX} bytes")));
    }
    Ok(())
}

/// Reads the parameter `limit` of an answer that has at most [`LIMIT_MAX`] entries; [`LIMIT`] if it
/// is absent.
///
/// # Errors
/// Bad request, if it is not a whole number from 1 to [`LIMIT_MAX`].
pub fn entry_limit(limit: Option<String>) -> Result<usize, Problem> {
    let limit = count(limit)?.unwrap_or(LIMIT);
    if limit > LIMIT_MAX {
        return Err(Problem::bad_request(format!("`limit` is {limit}, and {LIMIT_MAX} is the most")));
    }
    Ok(limit)
}

/// Sends a query to the workers, and waits for all that they find.
///
/// # Errors
/// Unavailable, if the run has not caught up or has ended, too many queries wait, or the workers do
/// not answer within [`ANSWER_TIMEOUT`].
pub async fn run_query(http: &Http, kind: QueryKind) -> Result<Findings, Problem> {
    if !http.state.ready.load(Ordering::Acquire) {
        return Err(Problem::unavailable("still catching up; /v1/status shows the progress"));
    }
    let answer = http.state.queries.submit(kind);
    let answer =
        answer.ok_or_else(|| Problem::unavailable("too many queries wait for the workers: try again later"))?;
    match tokio::time::timeout(ANSWER_TIMEOUT, answer).await {
        Ok(Ok(findings)) => Ok(findings),
        Ok(Err(_)) => Err(Problem::unavailable("the run has ended")),
        Err(_) => {
            Err(Problem::unavailable(format!("the workers have not answered within {} s", ANSWER_TIMEOUT.as_secs())))
        }
    }
}
