//! Answers that the workers are asked for: a track anywhere, a search. `geo.rs` asks for the map, and
//! `past_window.rs` asks for windows of the past.
//!
//! The charts that are served know only what is in a top. The workers know all, each of the tracks that it owns, so
//! they are asked together, and what they say is put together here.

use std::cmp::Ordering as Order;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use reprise_dataflows::calendar::Period;
use reprise_dataflows::catalogue::About;
use reprise_dataflows::definition::{Cell, ItemKind, Scope, ScopeKind, TRENDING};
use reprise_dataflows::query::{Found, Question};
use serde::Serialize;

use super::parameters::{count, parameters};
use super::problem::Problem;
use super::questions::Findings;
use super::routes::Answered;
use super::{Shared, lookup};
use crate::charts::{AsOf, Available, Charts, instant, scopes};
use crate::output::json::Json;

/// An epoch takes milliseconds, but the one that a commit or a search is in may take longer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
const LIMIT: usize = 20;
const LIMIT_MAX: usize = 200;
/// Characters that are searched for.
const TEXT_MAX: usize = 200;
/// Bytes of a track's id, or of an artist's name: as many as one that counts can have.
pub const TEXT_BYTES_MAX: usize = 1024;
const CELLS_MAX: usize = 100_000;
/// Periods and scopes that are named where a track has none of the plays that are asked for.
const ELSEWHERE_MAX: usize = 20;

#[derive(Serialize)]
pub struct Track {
    track_id: String,
    title: Option<String>,
    artist: Option<String>,
    as_of: AsOf,
    /// By chart, period and scope.
    plays: Vec<Plays>,
    /// Where the track has plays, if it has none where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    available: Option<Available>,
}

/// What numbers are of: a period of a chart.
#[derive(Serialize)]
pub struct Of {
    chart: String,
    period: String,
    #[serde(rename = "start", with = "instant")]
    start_us: Option<i64>,
    #[serde(rename = "end", with = "instant")]
    end_us: Option<i64>,
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
    of: Of,
    scope: String,
    plays: i64,
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

#[derive(Serialize)]
pub struct Search {
    query: String,
    as_of: AsOf,
    /// Where the plays are counted.
    chart: String,
    period: String,
    tracks: Vec<FoundTrack>,
    artists: Vec<FoundArtist>,
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

#[derive(Serialize)]
struct FoundArtist {
    artist: String,
    /// Of all tracks that bear the name.
    plays: i64,
    tracks: u64,
}

pub async fn track(
    State(shared): State<Arc<Shared>>,
    id: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Answered<Track> {
    let Path(track_id) = id.map_err(|_| Problem::bad_request("the id of the track is not UTF-8"))?;
    let filters = parameters(query.as_deref(), ["chart", "scope", "period"])?;
    of_track(&shared, track_id, filters).await
}

/// Answers as [`track`] does, with the id as a parameter: browsers and proxies take `.` and `..` in a path for
/// folders, whether encoded or not.
pub async fn track_by_id(State(shared): State<Arc<Shared>>, RawQuery(query): RawQuery) -> Answered<Track> {
    let [id, chart, scope, period] = parameters(query.as_deref(), ["id", "chart", "scope", "period"])?;
    let id = id.ok_or_else(|| Problem::bad_request("`id` is missing: the id of a track"))?;
    of_track(&shared, id, [chart, scope, period]).await
}

async fn of_track(shared: &Shared, track_id: String, [chart, scope, period]: [Option<String>; 3]) -> Answered<Track> {
    check_id(&track_id)?;
    let wanted = chart.map(|name| lookup::chart_index(&shared.charts(), &name)).transpose()?;
    let scope = filters(shared, wanted, scope.as_deref(), period.as_deref())?;
    let Findings { as_of, found } = ask(shared, Question::Track(track_id.clone())).await?;
    let charts = shared.charts();
    let (mut about, mut plays) = (None::<About>, Vec::new());
    for found in found {
        match found {
            Found::Called(called) => about = Some(called),
            Found::Plays { cell, plays: count } if wanted.is_none_or(|chart| chart == cell.chart) => {
                plays.push(Plays::new(&charts, &cell, as_of, count));
            }
            _ => {}
        }
    }
    drop(charts);
    if about.is_none() && plays.is_empty() {
        return Err(Problem::not_found(format!(
            "no track `{track_id}` has been played; `reprise search` and /v1/search find tracks by their names"
        )));
    }
    let of_chart = elsewhere(&plays);
    let scope = scope.map(|scope| scope.name());
    plays.retain(|plays| scope.as_ref().is_none_or(|scope| *scope == plays.scope));
    plays.retain(|plays| period.as_ref().is_none_or(|period| *period == plays.of.period));
    if plays.len() > CELLS_MAX {
        return Err(Problem::bad_request(format!(
            "these are {} cells, and one answer has at most {CELLS_MAX}: name a chart, a scope or a period",
            plays.len()
        )));
    }
    plays.sort_by(Plays::by_name);
    let (title, artist) = about.map(|About { title, artist }| (title, artist)).unzip();
    let available = plays.is_empty().then_some(of_chart);
    Ok(Json(Track { track_id, title, artist, as_of, plays, available }))
}

/// The scope that is asked for. Fails if there can be no such scope or period, of the `wanted` chart or else of any.
fn filters(
    shared: &Shared,
    wanted: Option<u32>,
    scope: Option<&str>,
    period: Option<&str>,
) -> Result<Option<Scope>, Problem> {
    let charts = shared.charts();
    let is_whole = shared.ready.load(Ordering::Acquire);
    let indices: Vec<u32> = match wanted {
        Some(chart) => vec![chart],
        None => (0..charts.definitions().charts.len() as u32).chain([TRENDING]).collect(),
    };
    let first = |answers: Vec<Result<Option<Scope>, Problem>>| -> Result<Option<Scope>, Problem> {
        let mut refused = None;
        for answer in answers {
            match answer {
                Ok(found) => return Ok(found),
                Err(problem) => refused = refused.or(Some(problem)),
            }
        }
        refused.map_or(Ok(None), Err)
    };
    let parsed = |chart: &u32, text: &str| lookup::one_scope(&charts, *chart, text, is_whole).map(Some);
    let scope = scope.map(|text| first(indices.iter().map(|chart| parsed(chart, text)).collect())).transpose()?;
    let has = |chart: &u32, text: &str| lookup::start_day(&charts, *chart, None, Some(text)).map(|_| None);
    period.map(|text| first(indices.iter().map(|chart| has(chart, text)).collect())).transpose()?;
    Ok(scope.flatten())
}

/// Some of the periods and scopes in which a track has plays.
fn elsewhere(plays: &[Plays]) -> Available {
    let periods: BTreeSet<&str> = plays.iter().map(|plays| plays.of.period.as_str()).collect();
    let scopes: BTreeSet<&str> = plays.iter().map(|plays| plays.scope.as_str()).collect();
    Available {
        periods: periods.into_iter().rev().take(ELSEWHERE_MAX).map(str::to_owned).collect(),
        scopes: scopes.into_iter().take(ELSEWHERE_MAX).map(str::to_owned).collect(),
    }
}

pub async fn search(State(shared): State<Arc<Shared>>, RawQuery(query): RawQuery) -> Answered<Search> {
    let [text, limit] = parameters(query.as_deref(), ["q", "limit"])?;
    let text = text.ok_or_else(|| Problem::bad_request("`q` is missing: a part of a title, or of an artist's name"))?;
    if text.chars().count() > TEXT_MAX {
        return Err(Problem::bad_request(format!("`q` is longer than {TEXT_MAX} characters")));
    }
    let limit = bounded(limit)?;
    let cell = widest(&shared.charts())?;
    let question = Question::Search { text: text.clone(), cell: cell.clone(), limit };
    let Findings { as_of, found } = ask(&shared, question).await?;
    let (mut tracks, mut artists) = (Vec::new(), BTreeMap::<String, (i64, u64)>::new());
    for found in found {
        match found {
            Found::Track { track_id, about, plays } => tracks.push(FoundTrack::new(track_id, about, plays)),
            Found::Artist { artist, plays, tracks } => {
                let sum = artists.entry(artist).or_default();
                *sum = (sum.0 + plays, sum.1 + tracks);
            }
            _ => {}
        }
    }
    tracks.sort_by(FoundTrack::most_played_first);
    tracks.truncate(limit);
    let artists = artists.into_iter().map(|(artist, (plays, tracks))| FoundArtist { artist, plays, tracks });
    let mut artists: Vec<FoundArtist> = artists.collect();
    artists.sort_by(|a, b| b.plays.cmp(&a.plays).then_with(|| a.artist.cmp(&b.artist)));
    artists.truncate(limit);
    let Of { chart, period, .. } = Of::new(&shared.charts(), cell.chart, cell.start_day, as_of);
    Ok(Json(Search { query: text, as_of, chart, period, tracks, artists }))
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
    let fits = |chart: &u32| charts.item_kind(*chart) == ItemKind::Track && scopes(definitions, *chart).contains(&kind);
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
pub async fn ask(shared: &Shared, question: Question) -> Result<Findings, Problem> {
    if !shared.ready.load(Ordering::Acquire) {
        return Err(Problem::unavailable("still catching up; /v1/status says how far it is"));
    }
    let answer = shared.questions.ask(question);
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
