//! The paths that HTTP answers.
//!
//! ```text
//! GET /                                    the page; its parts are below /web/
//! GET /v1/trending?scope=&limit=&durable=  one cell: the current window; for scope `*` an array
//! GET /v1/trending?at=&scope=&limit=       the window that the clock was in at a past instant;
//!                                          `at=earliest`: the oldest that is known
//! GET /v1/charts?after=&limit=             the charts, and periods and scopes that have entries
//! GET /v1/charts/{name}?scope=&period=&limit=&durable=
//!                                          one cell; for scope or period `*` an array of cells
//! GET /v1/tracks/{id}?chart=&scope=&period=
//!                                          the plays of a track in all cells, in a top or not
//! GET /v1/tracks?id=&chart=&scope=&period= the same; here the id may be `..`
//! GET /v1/artists?name=&limit=             an artist's tracks, and plays over time and by country
//! GET /v1/search?q=&limit=                 tracks and artists by a part of their names
//! GET /v1/geo?chart=&period=&track=&after=&limit=
//!                                          plays by country
//! GET /v1/dead-letters?limit=              the newest records that are not plays, with the reason
//! GET /v1/stream?chart=&scope=&limit=&every=&status=
//!                                          changes, as server-sent events (see `stream/`)
//! GET /v1/snapshot?durable=                every cell, as lines of JSON (see `snapshot.rs`)
//! GET /v1/status                           the status of the run
//! GET /v1/openapi.json                     this list, for programs
//! GET /metrics                             for Prometheus
//! GET /healthz                             200 while the process lives
//! GET /readyz                              200 once the lake's charts are complete, 503 before
//! ```
//! With `durable=true` the charts are those of the last commit, otherwise of the newest complete
//! epoch.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use reprise_dataflows::rules::definition::{Scope, TRENDING_NAME};
use serde::Serialize;

use super::access::Access;
use super::connections::ClientAddress;
use super::guard::{Guard, Revision, guard};
use super::json::{Bytewise, Json};
use super::paging::{link, next_page};
use super::parameters::{count, flag, parameters};
use super::problem::Problem;
use super::query::cells as lookup;
use super::query::cells::{ChartAnswer, Request};
use super::query::{artist, geo, past_window, track};
use super::readers::Streamed;
use super::snapshot;
use super::stream::{self, CLIENTS_MAX, Full, LISTS_MAX};
use super::{Http, dead_letters, page};
use crate::publish::exposition;
use crate::state::Status;
use crate::state::charts::{AsOf, Charts, Overview, Page, SCOPES_MAX};

const OPENAPI: &str = include_str!("openapi.json");

/// All paths, behind the checks of `access`.
pub fn router(http: Arc<Http>, access: Access) -> Router {
    let guarded = Guard { http: http.clone(), access: Arc::new(access) };
    Router::new()
        .route("/", get(page::index))
        .route("/web/{file}", get(page::file))
        .route("/v1/trending", get(trending))
        .route("/v1/charts", get(charts))
        .route("/v1/charts/{name}", get(chart))
        .route("/v1/artists", get(artist::artist))
        .route("/v1/tracks", get(track::track_by_id))
        .route("/v1/tracks/{id}", get(track::track))
        .route("/v1/search", get(track::search))
        .route("/v1/geo", get(geo::geo))
        .route("/v1/dead-letters", get(dead_letters::dead_letters))
        .route("/v1/stream", get(stream))
        .route("/v1/snapshot", get(snapshot))
        .route("/v1/status", get(status))
        .route("/v1/openapi.json", get(async || ([(header::CONTENT_TYPE, "application/json")], OPENAPI)))
        .merge(probe_routes())
        .fallback(not_found)
        .layer(middleware::from_fn_with_state(guarded, guard))
        .with_state(http)
}

/// Only the paths for supervisors and monitoring: `/healthz`, `/readyz` and `/metrics`.
pub fn probes(http: Arc<Http>, access: Access) -> Router {
    let guarded = Guard { http: http.clone(), access: Arc::new(access) };
    let elsewhere =
        async || Problem::not_found("this address answers /healthz, /readyz and /metrics only; --listen is another");
    let routes = probe_routes().fallback(elsewhere);
    routes.layer(middleware::from_fn_with_state(guarded, guard)).with_state(http)
}

fn probe_routes() -> Router<Arc<Http>> {
    Router::new().route("/metrics", get(metrics)).route("/healthz", get(async || "ok\n")).route("/readyz", get(readyz))
}

async fn trending(
    State(http): State<Arc<Http>>,
    Extension(client): Extension<ClientAddress>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let [scope, limit, durable, at] = parameters(query.as_deref(), ["scope", "limit", "durable", "at"])?;
    let (limit, durable) = (count(limit)?, flag("durable", durable)?);
    if let Some(at) = at {
        let window = past_window::past_window(&http, &at, scope.as_deref(), limit, durable).await;
        return window.map(IntoResponse::into_response);
    }
    answer(&http, client, TRENDING_NAME, &Request { scope, period: None, limit }, durable)
}

async fn chart(
    State(http): State<Arc<Http>>,
    Extension(client): Extension<ClientAddress>,
    name: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let Path(name) = name.map_err(|_| Problem::bad_request("the name of the chart is not UTF-8"))?;
    let [scope, period, limit, durable] = parameters(query.as_deref(), ["scope", "period", "limit", "durable"])?;
    let request = Request { scope, period, limit: count(limit)? };
    answer(&http, client, &name, &request, flag("durable", durable)?)
}

fn answer(
    http: &Http,
    client: ClientAddress,
    name: &str,
    request: &Request,
    durable: bool,
) -> Result<Response, Problem> {
    if durable {
        let charts = self::durable(http)?;
        let found = lookup::chart(&charts, name, request)?;
        return cells(http, client, found, || charts);
    }
    // An unknown chart is not found, even while the charts are incomplete: the list of charts does
    // not depend on plays.
    lookup::chart_index(&http.state.charts(), name)?;
    // Checked before the charts are read. In the other order, incomplete charts could be read,
    // become complete, and pass the check.
    whole(http)?;
    let found = lookup::chart(&http.state.charts(), name, request)?;
    cells(http, client, found, || Arc::new(http.state.charts().clone()))
}

/// The response with `found`. Many cells are made from `charts` as they are read. Copying the
/// charts and sorting the keys of all cells is expensive, so both happen only once the client has a
/// seat; and the keys are sorted in the copy, so that the dataflow does not wait.
fn cells(
    http: &Http,
    client: ClientAddress,
    found: ChartAnswer,
    charts: impl FnOnce() -> Arc<Charts>,
) -> Result<Response, Problem> {
    let filter = match found {
        ChartAnswer::Whole(answer) => return Ok(Json(answer).into_response()),
        ChartAnswer::Many(filter) => filter,
    };
    let make = || {
        let charts = charts();
        let keys = charts.sorted_keys(&filter);
        Ok::<_, Problem>(snapshot::array(charts, keys, filter.limit))
    };
    let body = http.lists.open(client, make)?.ok_or_else(|| {
        Problem::unavailable(
            "too many long lists are being read, by all clients or from your address: try again later, or request less",
        )
    })?;
    let headers = [(header::CONTENT_TYPE, "application/json")];
    Ok((Extension(Streamed), headers, Body::new(body)).into_response())
}

/// Fails while the charts of the lake are incomplete: showing them would look as if plays were
/// lost.
fn whole(http: &Http) -> Result<(), Problem> {
    match http.state.ready.load(Ordering::Acquire) {
        true => Ok(()),
        false => {
            Err(Problem::unavailable("the charts of the lake are still being computed; /v1/status shows the progress"))
        }
    }
}

fn durable(http: &Http) -> Result<Arc<Charts>, Problem> {
    http.state.durable_charts().ok_or_else(|| {
        Problem::unavailable(
            "no charts are durable yet: the charts of the lake are still being computed; /readyz says when they are complete",
        )
    })
}

async fn stream(
    State(http): State<Arc<Http>>,
    Extension(client): Extension<ClientAddress>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let names = ["chart", "scope", "limit", "every", "status"];
    let [chart, scope, limit, every, status] = parameters(query.as_deref(), names)?;
    let is_whole = http.state.ready.load(Ordering::Acquire);
    let (charts, scope) = lookup::watched(&http.state.charts(), chart.as_deref(), scope.as_deref(), is_whole)?;
    let watched = stream::Watched {
        charts,
        scope,
        limit: count(limit)?,
        every: every.map_or(Ok(stream::EVERY), |every| stream_interval(&every))?,
        status: flag("status", status)?,
    };
    if http.state.incarnation() == 0 {
        return Err(Problem::unavailable("the run has not opened its lake yet: try again in a moment"));
    }
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let body = http.streams.open(client, watched, last).map_err(|full| {
        Problem::unavailable(match full {
            Full::Memory(reason) => reason.to_owned(),
            Full::Clients => format!("{CLIENTS_MAX} clients are connected, and no more can be: try again later"),
            Full::Lists => format!(
                "{LISTS_MAX} different lists are watched, and no more can be: watch another, or try again later"
            ),
        })
    })?;
    // Tells proxies not to buffer the answer, which would hold events back.
    let headers = [(header::CONTENT_TYPE.as_str(), stream::MEDIA_TYPE), ("x-accel-buffering", "no")];
    Ok((Extension(Streamed), headers, Body::new(body)).into_response())
}

fn stream_interval(text: &str) -> Result<Duration, Problem> {
    let interval = text.parse().ok().map(Duration::from_millis).filter(|interval| stream::INTERVALS.contains(interval));
    interval.ok_or_else(|| {
        let (least, most) = (stream::INTERVALS.start().as_millis(), stream::INTERVALS.end().as_millis());
        Problem::bad_request(format!(
            "`every` is `{text}`, but must be a number of milliseconds from {least} to {most}"
        ))
    })
}

async fn snapshot(
    State(http): State<Arc<Http>>,
    Extension(client): Extension<ClientAddress>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let [durable] = parameters(query.as_deref(), ["durable"])?;
    let durable = flag("durable", durable)?;
    let make = || {
        let charts = if durable {
            self::durable(&http)?
        } else {
            whole(&http)?;
            Arc::new(http.state.charts().clone())
        };
        // The lock is released here: the dataflow must be able to write the status while all cells
        // are sorted.
        let (topic, lake) = {
            let status = http.state.status();
            (status.topic.clone(), status.lake.clone())
        };
        let pieces = snapshot::snapshot(charts, topic, lake);
        pieces.map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
    };
    let body = http.snapshots.open(client, make)?.ok_or_else(|| {
        Problem::unavailable("too many snapshots are being read, by all clients or from your address: try again later")
    })?;
    Ok((Extension(Streamed), [(header::CONTENT_TYPE, snapshot::MEDIA_TYPE)], Body::new(body)).into_response())
}

#[derive(Hash, Serialize)]
struct ChartList {
    as_of: AsOf,
    charts: Vec<Overview>,
    /// The path of the next page of scopes, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

async fn charts(State(http): State<Arc<Http>>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let [after, limit] = parameters(query.as_deref(), ["after", "limit"])?;
    let after = after.map(|after| Scope::parse(&after)).transpose();
    let after = after.map_err(|error| Problem::bad_request(format!("`after`: {error}")))?;
    let limit = count(limit)?.map_or(Page::default().limit, |limit| limit.min(SCOPES_MAX));
    // The lock is released here: the dataflow must be able to write the charts while the answer
    // becomes JSON.
    let (as_of, (charts, last), scope_changes) = {
        let charts = http.state.charts();
        (charts.as_of(), charts.overview(&Page { after, limit }), charts.scope_changes())
    };
    // A client that keeps all pages revalidates only the first, so the tag of the first page also
    // covers the scopes of the later ones.
    let revision = last.is_some().then_some(Extension(Revision(scope_changes)));
    let next = last.map(|last| next_page("/v1/charts", &[("after", &last.name()), ("limit", &limit.to_string())]));
    Ok((revision, link(next.as_deref()), Json(ChartList { as_of, charts, next })).into_response())
}

async fn status(State(http): State<Arc<Http>>, RawQuery(query): RawQuery) -> Result<Bytewise<Status>, Problem> {
    let [] = parameters(query.as_deref(), [])?;
    Ok(Bytewise(http.state.status_now()))
}

async fn metrics(State(http): State<Arc<Http>>) -> Result<Response, Problem> {
    super::metrics::answer(exposition::families(&http.state))
}

async fn readyz(State(http): State<Arc<Http>>) -> Result<&'static str, Problem> {
    match http.state.ready.load(Ordering::Acquire) {
        true => Ok("ready\n"),
        false => Err(Problem::unavailable("still catching up; /v1/status shows the progress")),
    }
}

async fn not_found() -> Problem {
    Problem::not_found(
        "no such path; there are /, /v1/trending, /v1/charts, /v1/charts/{name}, /v1/tracks, /v1/artists, /v1/search, \
         /v1/geo, /v1/dead-letters, /v1/stream, /v1/snapshot, /v1/status, /v1/openapi.json, /metrics, /healthz and /readyz",
    )
}
