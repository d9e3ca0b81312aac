//! `/v1/tracks`: the plays of a track in all cells. `/v1/search`: tracks and artists by a part of
//! their names.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use reprise_dataflows::names::catalogue::TrackInfo;
use reprise_dataflows::query::{Finding, QueryKind};
use reprise_dataflows::rules::definition::{Scope, TRENDING};
use serde::Serialize;

use super::cells as lookup;
use super::common::{ChartPeriod, FoundTrack, Plays, check_id, entry_limit, run_query, widest_cell};
use crate::serve::Http;
use crate::serve::json::Json;
use crate::serve::parameters::parameters;
use crate::serve::problem::Answered;
use crate::serve::problem::Problem;
use crate::state::Findings;
use crate::state::charts::{AsOf, Available};

/// The most characters of a text to search for.
const TEXT_MAX: usize = 200;
/// The most cells of one answer.
const CELLS_MAX: usize = 100_000;
/// The most periods, and the most scopes, that are named if a track has no plays in the cells that
/// are asked for.
const ELSEWHERE_MAX: usize = 20;

/// The names of a track, and its plays in each cell.
#[derive(Hash, Serialize)]
pub struct Track {
    track_id: String,
    title: Option<String>,
    artist: Option<String>,
    as_of: AsOf,
    /// Sorted by chart, period and scope.
    plays: Vec<Plays>,
    /// The periods and scopes in which the track has plays, if it has none in the cells that are
    /// asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    available: Option<Available>,
}

/// The tracks and artists that a search has found.
#[derive(Hash, Serialize)]
pub struct Search {
    query: String,
    as_of: AsOf,
    /// The chart, and below the period, in which the plays are counted.
    chart: String,
    period: String,
    tracks: Vec<FoundTrack>,
    artists: Vec<FoundArtist>,
}

#[derive(Hash, Serialize)]
struct FoundArtist {
    artist: String,
    /// The plays of all tracks that bear the name.
    plays: i64,
    /// The number of these tracks.
    tracks: u64,
}

/// Answers with the plays of the track whose id is in the path.
///
/// # Errors
/// Bad request, if the id or a parameter is wrong; not found, if the track has never been played,
/// or the chart, scope or period cannot exist; unavailable, if the workers do not answer.
pub async fn track(
    State(http): State<Arc<Http>>,
    id: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Answered<Track> {
    let Path(track_id) = id.map_err(|_| Problem::bad_request("the id of the track is not UTF-8"))?;
    let filters = parameters(query.as_deref(), ["chart", "scope", "period"])?;
    of_track(&http, track_id, filters).await
}

/// Answers as [`track`] does, with the id as a parameter: browsers and proxies take `.` and `..` in
/// a path for folders, even if they are encoded.
///
/// # Errors
/// Those of [`track`], and bad request if `id` is missing.
pub async fn track_by_id(State(http): State<Arc<Http>>, RawQuery(query): RawQuery) -> Answered<Track> {
    let [id, chart, scope, period] = parameters(query.as_deref(), ["id", "chart", "scope", "period"])?;
    let id = id.ok_or_else(|| Problem::bad_request("`id` is missing: the id of a track"))?;
    of_track(&http, id, [chart, scope, period]).await
}

async fn of_track(http: &Http, track_id: String, [chart, scope, period]: [Option<String>; 3]) -> Answered<Track> {
    check_id(&track_id)?;
    let wanted = chart.map(|name| lookup::chart_index(&http.state.charts(), &name)).transpose()?;
    let scope = filters(http, wanted, scope.as_deref(), period.as_deref())?;
    let Findings { as_of, found } = run_query(http, QueryKind::Track(track_id.clone())).await?;
    let charts = http.state.charts();
    let (mut info, mut plays) = (None::<TrackInfo>, Vec::new());
    for found in found {
        match found {
            Finding::TrackInfo(found) => info = Some(found),
            Finding::Plays { cell, plays: count } if wanted.is_none_or(|chart| chart == cell.chart) => {
                plays.push(Plays::new(&charts, &cell, as_of, count));
            }
            _ => {}
        }
    }
    drop(charts);
    if info.is_none() && plays.is_empty() {
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
    let (title, artist) = info.map(|TrackInfo { title, artist }| (title, artist)).unzip();
    let available = plays.is_empty().then_some(of_chart);
    Ok(Json(Track { track_id, title, artist, as_of, plays, available }))
}

/// The scope that is asked for. Fails if the scope or period cannot exist in the `wanted` chart, or
/// without such a chart, in any.
fn filters(
    http: &Http,
    wanted: Option<u32>,
    scope: Option<&str>,
    period: Option<&str>,
) -> Result<Option<Scope>, Problem> {
    let charts = http.state.charts();
    let is_whole = http.state.ready.load(Ordering::Acquire);
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

/// Answers with the tracks and artists that have `q` as a part of their names.
///
/// # Errors
/// Bad request, if `q` is missing or a parameter is wrong; not found, if no chart counts tracks in
/// the global scope; unavailable, if the workers do not answer.
pub async fn search(State(http): State<Arc<Http>>, RawQuery(query): RawQuery) -> Answered<Search> {
    let [text, limit] = parameters(query.as_deref(), ["q", "limit"])?;
    let text = text.ok_or_else(|| Problem::bad_request("`q` is missing: a part of a title, or of an artist's name"))?;
    if text.chars().count() > TEXT_MAX {
        return Err(Problem::bad_request(format!("`q` is longer than {TEXT_MAX} characters")));
    }
    let limit = entry_limit(limit)?;
    let cell = widest_cell(&http.state.charts())?;
    let kind = QueryKind::Search { text: text.clone(), cell: cell.clone(), limit };
    let Findings { as_of, found } = run_query(&http, kind).await?;
    let (mut tracks, mut artists) = (Vec::new(), BTreeMap::<String, (i64, u64)>::new());
    for found in found {
        match found {
            Finding::Track { track_id, info, plays } => tracks.push(FoundTrack::new(track_id, info, plays)),
            Finding::Artist { artist, plays, tracks } => {
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
    let ChartPeriod { chart, period, .. } = ChartPeriod::new(&http.state.charts(), cell.chart, cell.start_day, as_of);
    Ok(Json(Search { query: text, as_of, chart, period, tracks, artists }))
}
