//! `/v1/geo`: plays by country, a query to the workers.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use reprise_dataflows::query::{Finding, QueryKind};
use reprise_dataflows::rules::definition::{Cell, ItemKind, Scope, ScopeKind, TRENDING};
use serde::Serialize;

use super::cells as lookup;
use super::common::{ChartPeriod, check_id, run_query};
use crate::serve::Http;
use crate::serve::guard::Revision;
use crate::serve::json::Json;
use crate::serve::paging::{link, next_page};
use crate::serve::parameters::{count, parameters};
use crate::serve::problem::Problem;
use crate::state::Findings;
use crate::state::charts::{AsOf, Available, Charts, scopes};

/// The countries of one answer by default.
const COUNTRIES: usize = 1000;
/// The most countries of one answer.
const COUNTRIES_MAX: usize = 10_000;

/// The plays of one period of a chart, by country.
#[derive(Hash, Serialize)]
pub struct Geo {
    #[serde(flatten)]
    of: ChartPeriod,
    track_id: Option<String>,
    as_of: AsOf,
    /// Sorted by name.
    countries: Vec<Country>,
    /// The path of the next page, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    /// The periods that have plays, if this one has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    available: Option<Available>,
}

#[derive(Hash, Serialize)]
struct Country {
    country: String,
    /// All plays that the chart counts in this country.
    plays: i64,
    /// Of these, the plays of the track, if the request names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    track_plays: Option<i64>,
}

/// Answers with the plays of one period by country and, if the request names a track, the plays of
/// that track among them. Producers can write any text as a country, so there may be very many: the
/// answer comes in pages.
///
/// # Errors
/// Bad request, if a parameter is wrong; not found, if the chart or period does not exist;
/// unavailable, if the workers do not answer.
pub async fn geo(State(http): State<Arc<Http>>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let names = ["chart", "period", "track", "after", "limit"];
    let [chart, period, track_id, after, limit] = parameters(query.as_deref(), names)?;
    let limit = count(limit)?.unwrap_or(COUNTRIES).min(COUNTRIES_MAX);
    track_id.as_ref().map_or(Ok(()), |id| check_id(id))?;
    let (chart, start_day) =
        places_by_country(&http.state.charts(), chart.as_deref(), period.as_deref(), track_id.is_some())?;
    let kind = QueryKind::Countries { chart, start_day, track_id: track_id.clone() };
    let Findings { as_of, found } = run_query(&http, kind).await?;
    let mut countries = BTreeMap::<String, (i64, i64)>::new();
    for found in found {
        if let Finding::Country { cell: Cell { scope: Scope::Of(_, country), .. }, plays, of_track } = found {
            let sum = countries.entry(country.as_str().to_owned()).or_default();
            *sum = (sum.0 + plays, sum.1 + of_track);
        }
    }
    let of = ChartPeriod::new(&http.state.charts(), chart, start_day, as_of);
    let available = countries.is_empty().then(|| http.state.charts().available(chart, None, None));
    let mut countries = match after {
        Some(after) => countries.split_off(&format!("{after}\0")),
        None => countries,
    };
    // A client that keeps all pages revalidates only the first, so the tag of the first page also
    // covers the later ones.
    let revision = (countries.len() > limit).then(|| {
        let mut hasher = DefaultHasher::new();
        countries.hash(&mut hasher);
        Extension(Revision(hasher.finish()))
    });
    let next = countries.keys().nth(limit).cloned().and_then(|first_of_next| {
        let last = countries.keys().nth(limit - 1)?.clone();
        countries.split_off(&first_of_next);
        let limit = limit.to_string();
        // For trending the link names no period, and so means the current window: the window may
        // slide between two pages, and a window that has passed would not be found.
        let period = (chart != TRENDING).then_some(("period", of.period()));
        let track = track_id.as_deref().map(|track| ("track", track));
        let parameters = [("chart", of.chart()), ("after", &last), ("limit", &limit)];
        Some(next_page("/v1/geo", &parameters.into_iter().chain(period).chain(track).collect::<Vec<_>>()))
    });
    let country =
        |(country, (plays, of_track))| Country { country, plays, track_plays: track_id.is_some().then_some(of_track) };
    let countries = countries.into_iter().map(country).collect();
    Ok((revision, link(next.as_deref()), Json(Geo { of, track_id, as_of, countries, next, available })).into_response())
}

/// The index of the chart and the start day of the period that the request names; by default the
/// newest period.
fn places_by_country(
    charts: &Charts,
    name: Option<&str>,
    period: Option<&str>,
    of_tracks: bool,
) -> Result<(u32, i32), Problem> {
    let chart = chart_by_country(charts, name, of_tracks)?;
    Ok((chart, lookup::start_day(charts, chart, None, period)?.unwrap_or(0)))
}

/// The chart called `name`, or without a name the first chart that counts by country. If
/// `of_tracks`, it must be a chart of tracks.
fn chart_by_country(charts: &Charts, name: Option<&str>, of_tracks: bool) -> Result<u32, Problem> {
    let definitions = charts.definitions();
    let fits = |chart: &u32| {
        scopes(definitions, *chart).contains(&ScopeKind::COUNTRY)
            && (!of_tracks || charts.item_kind(*chart) == ItemKind::TRACK)
    };
    let Some(name) = name else {
        let mut indices = (0..definitions.charts.len() as u32).chain([TRENDING]);
        return indices.find(fits).ok_or_else(|| Problem::not_found("no chart counts by country"));
    };
    let chart = lookup::chart_index(charts, name)?;
    let problem = || {
        Problem::not_found(format!("`{name}` does not count {} by country", if of_tracks { "tracks" } else { "plays" }))
    };
    Some(chart).filter(fits).ok_or_else(problem)
}
