//! What all queries share: they are asked of the workers, and what those say is put together.

use crate::serve::Http;
use crate::serve::parameters::count;
use crate::serve::problem::Problem;
use crate::state::Findings;
use crate::state::charts::{AsOf, Charts, scopes};
use crate::text::instant;
use reprise_dataflows::names::catalogue::About;
use reprise_dataflows::query::QueryKind;
use reprise_dataflows::rules::definition::{Cell, ItemKind, Scope, ScopeKind, TRENDING};
use reprise_dataflows::time::Period;
use serde::Serialize;
use std::cmp::Ordering as Order;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// An epoch takes milliseconds, but the one that a commit or a search is in may take longer.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

pub const LIMIT: usize = 20;

pub const LIMIT_MAX: usize = 200;

/// Bytes of a track's id, or of an artist's name: as many as one that counts can have.
pub const TEXT_BYTES_MAX: usize = 1024;

/// What numbers are of: a period of a chart.
#[derive(Serialize)]
pub struct Of {
    pub chart: String,
    pub period: String,
    #[serde(rename = "start", with = "instant")]
    pub start_us: Option<i64>,
    #[serde(rename = "end", with = "instant")]
    pub end_us: Option<i64>,
}

impl Of {
    /// The name of the chart.
    pub fn chart(&self) -> &str {
        &self.chart
    }

    /// The name of the period.
    pub fn period(&self) -> &str {
        &self.period
    }

    /// `as_of` says which window it is, if it is that.
    pub fn new(charts: &Charts, chart: u32, start_day: i32, as_of: AsOf) -> Self {
        let (period, start_us, end_us) = charts.period_as_of(chart, Some(start_day), as_of);
        Self { chart: charts.definitions().name(chart).to_owned(), period, start_us, end_us }
    }
}

/// The plays of a track, or of an artist, in one cell.
#[derive(Serialize)]
pub struct Plays {
    #[serde(flatten)]
    pub of: Of,
    pub scope: String,
    pub plays: i64,
}

impl Plays {
    /// What was counted in `cell`.
    pub fn new(charts: &Charts, cell: &Cell, as_of: AsOf, plays: i64) -> Self {
        Self { of: Of::new(charts, cell.chart, cell.start_day, as_of), scope: cell.scope.name(), plays }
    }

    /// The order of answers: by chart, period and scope.
    pub fn by_name(a: &Self, b: &Self) -> Order {
        (&a.of.chart, &a.of.period, &a.scope).cmp(&(&b.of.chart, &b.of.period, &b.scope))
    }
}

/// A track that a search, or an artist, has.
#[derive(Serialize)]
pub struct FoundTrack {
    track_id: String,
    title: String,
    artist: String,
    plays: i64,
}

impl FoundTrack {
    /// A track that may not have been named yet.
    pub fn new(track_id: String, about: Option<About>, plays: i64) -> Self {
        let (title, artist) = about.map(|About { title, artist }| (title, artist)).unwrap_or_default();
        Self { track_id, title, artist, plays }
    }

    /// The order of answers. Equal plays are ordered by id.
    pub fn most_played_first(a: &Self, b: &Self) -> Order {
        b.plays.cmp(&a.plays).then_with(|| a.track_id.cmp(&b.track_id))
    }
}

/// The global cell in which a track has the most plays: that of the longest period, of the chart that is defined first.
pub fn widest(charts: &Charts) -> Result<Cell, Problem> {
    let chart = longest(charts, ScopeKind::Global).ok_or_else(|| {
        Problem::not_found("no chart counts the plays of tracks everywhere, so nothing can be searched")
    })?;
    let start_day = charts.usual(chart, Some(&Scope::Global)).unwrap_or(0);
    Ok(Cell { chart, start_day, scope: Scope::Global })
}

/// Of the charts that count tracks by a kind of scope the one with the longest period, and of several the first.
pub fn longest(charts: &Charts, kind: ScopeKind) -> Option<u32> {
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
pub fn check_id(id: &str) -> Result<(), Problem> {
    if id.len() > TEXT_BYTES_MAX {
        return Err(Problem::bad_request(format!("no track's id is longer than {TEXT_BYTES_MAX} bytes")));
    }
    Ok(())
}

/// Reads `limit`, of answers that have a most.
pub fn bounded(limit: Option<String>) -> Result<usize, Problem> {
    let limit = count(limit)?.unwrap_or(LIMIT);
    if limit > LIMIT_MAX {
        return Err(Problem::bad_request(format!("`limit` is {limit}, and {LIMIT_MAX} is the most")));
    }
    Ok(limit)
}

/// Asks the workers, and waits for them.
pub async fn ask(http: &Http, kind: QueryKind) -> Result<Findings, Problem> {
    if !http.state.ready.load(Ordering::Acquire) {
        return Err(Problem::unavailable("still catching up; /v1/status says how far it is"));
    }
    let answer = http.state.queries.ask(kind);
    let answer =
        answer.ok_or_else(|| Problem::unavailable("too many questions wait for the workers: ask again later"))?;
    match tokio::time::timeout(ANSWER_TIMEOUT, answer).await {
        Ok(Ok(findings)) => Ok(findings),
        Ok(Err(_)) => Err(Problem::unavailable("the run has ended")),
        Err(_) => {
            Err(Problem::unavailable(format!("the workers have not answered within {} s", ANSWER_TIMEOUT.as_secs())))
        }
    }
}
