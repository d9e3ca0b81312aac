//! `/v1/artists`: the tracks of an artist, and the artist's plays over time and by country.
//!
//! The workers add up the plays of the tracks that bear the artist's name. Each track costs one
//! access to the counts per cell, so the cells are few: the newest periods in the global scope, and
//! the countries of one period.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{RawQuery, State};
use reprise_dataflows::query::{Finding, QueryKind};
use reprise_dataflows::rules::definition::{Cell, Scope, ScopeKind, TRENDING};
use serde::Serialize;

use super::common::{
    ChartPeriod, FoundTrack, Plays, TEXT_BYTES_MAX, entry_limit, longest_chart, run_query, widest_cell,
};
use crate::serve::Http;
use crate::serve::json::Json;
use crate::serve::parameters::parameters;
use crate::serve::problem::Answered;
use crate::serve::problem::Problem;
use crate::state::Findings;
use crate::state::charts::{AsOf, Charts, Filter, scopes};

/// The most periods of a chart that are counted: a year of weeks.
const PERIODS_MAX: usize = 53;
/// The most global cells that are counted, of all charts together.
const CELLS_MAX: usize = 400;
/// The most countries that are counted.
const COUNTRIES_MAX: usize = 400;

/// The tracks and plays of an artist.
#[derive(Hash, Serialize)]
pub struct Artist {
    artist: String,
    as_of: AsOf,
    /// The chart and period in which the plays of `tracks` are counted.
    #[serde(flatten)]
    of: ChartPeriod,
    /// The number of all tracks that bear the name.
    track_count: u64,
    /// The tracks with the most plays.
    tracks: Vec<FoundTrack>,
    /// Sorted by chart, period and scope: the newest periods in the global scope, and one period by
    /// country.
    plays: Vec<Plays>,
}

/// Answers with the tracks and plays of the artist whose name is exactly `name`.
///
/// # Errors
/// Bad request, if `name` is missing or a parameter is wrong; not found, if no track bears the
/// name; unavailable, if the workers do not answer.
pub async fn artist(State(http): State<Arc<Http>>, RawQuery(query): RawQuery) -> Answered<Artist> {
    let [name, limit] = parameters(query.as_deref(), ["name", "limit"])?;
    let name = name.ok_or_else(|| Problem::bad_request("`name` is missing: the whole name of an artist"))?;
    if name.len() > TEXT_BYTES_MAX {
        return Err(Problem::bad_request(format!("no artist's name is longer than {TEXT_BYTES_MAX} bytes")));
    }
    let limit = entry_limit(limit)?;
    let first = widest_cell(&http.state.charts())?;
    let cells = cells(&http.state.charts(), &first);
    let Findings { as_of, found } = run_query(&http, QueryKind::Artist { name: name.clone(), cells, limit }).await?;
    let (mut track_count, mut tracks, mut sums) = (0, Vec::new(), BTreeMap::<Cell, i64>::new());
    for found in found {
        match found {
            Finding::Artist { tracks, .. } => track_count += tracks,
            Finding::Track { track_id, info, plays } => tracks.push(FoundTrack::new(track_id, info, plays)),
            Finding::Plays { cell, plays } => *sums.entry(cell).or_default() += plays,
            _ => {}
        }
    }
    if track_count == 0 && sums.is_empty() {
        return Err(Problem::not_found(format!(
            "no artist `{name}` has been played; `reprise search` and /v1/search find artists by a part of their names"
        )));
    }
    tracks.sort_by(FoundTrack::most_played_first);
    tracks.truncate(limit);
    let charts = http.state.charts();
    let plays = sums.into_iter().map(|(cell, plays)| Plays::new(&charts, &cell, as_of, plays));
    let mut plays: Vec<Plays> = plays.collect();
    plays.sort_by(Plays::by_name);
    let of = ChartPeriod::new(&charts, first.chart, first.start_day, as_of);
    Ok(Json(Artist { artist: name, as_of, of, track_count, tracks, plays }))
}

/// The cells to count. The first one is `first`, by whose plays the tracks are sorted.
fn cells(charts: &Charts, first: &Cell) -> Vec<Cell> {
    let definitions = charts.definitions();
    let indices: Vec<u32> = (0..definitions.charts.len() as u32).chain([TRENDING]).collect();
    let periods = (CELLS_MAX / indices.len()).clamp(1, PERIODS_MAX);
    let mut cells = vec![first.clone()];
    for chart in indices.into_iter().filter(|chart| scopes(definitions, *chart).contains(&ScopeKind::Global)) {
        let filter =
            Filter { chart: Some(definitions.name(chart).to_owned()), scope: Some(Scope::Global), ..Filter::default() };
        let keys = charts.keys(&filter);
        let newest = keys[keys.len().saturating_sub(periods)..].iter();
        let newest =
            newest.map(|(chart, scope, start_day)| Cell { chart: *chart, scope: scope.clone(), start_day: *start_day });
        cells.extend(newest.filter(|cell| cell != first));
    }
    cells.extend(countries(charts));
    cells
}

/// One cell for each country, in the newest period of the chart that has the longest period.
fn countries(charts: &Charts) -> Vec<Cell> {
    let Some(chart) = longest_chart(charts, ScopeKind::COUNTRY) else { return Vec::new() };
    let Some(start_day) = charts.usual(chart, None) else { return Vec::new() };
    let filter = Filter { chart: Some(charts.definitions().name(chart).to_owned()), ..Filter::default() };
    let keys = charts.keys(&filter).into_iter();
    let keys = keys.filter(|(_, scope, day)| *day == start_day && scope.kind() == ScopeKind::COUNTRY);
    keys.take(COUNTRIES_MAX).map(|(_, scope, _)| Cell { chart, scope: scope.clone(), start_day }).collect()
}
