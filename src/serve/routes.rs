//! The paths that HTTP answers, and what every request must keep to.
//!
//! ```text
//! GET /v1/trending?scope=&limit=&durable=        one cell: the current window; with `*` as scope, an array
//! GET /v1/charts                                 what charts there are, and which periods and scopes have entries
//! GET /v1/charts/{name}?scope=&period=&limit=&durable=
//!                                                one cell; with `*` as scope or period, an array of cells
//! GET /v1/snapshot?durable=                      every cell, as lines of JSON (see `snapshot.rs`)
//! GET /v1/status                                 how the run is doing
//! GET /healthz                                   200 while the process lives
//! GET /readyz                                    200 once it has caught up with its lake and its topic, 503 before
//! ```
//! With `durable=true` the charts are those of the last commit, otherwise of the newest complete epoch.
//! Unknown parameters are refused rather than ignored: a misspelt `scpoe=US` must not look like the global chart.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, Request as HttpRequest, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use reprise_dataflows::definition::TRENDING_NAME;
use serde::Serialize;

use super::lookup::{self, Request};
use super::problem::Problem;
use super::snapshot::{self, Snapshot};
use super::{Shared, Status};
use crate::charts::{Answer, AsOf, Charts, Overview};

/// Bytes that the part of a URL after `?` may have.
pub const QUERY_BYTES_MAX: usize = 4096;

type Answered<T> = Result<Json<T>, Problem>;

pub fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/v1/trending", get(trending))
        .route("/v1/charts", get(charts))
        .route("/v1/charts/{name}", get(chart))
        .route("/v1/snapshot", get(snapshot))
        .route("/v1/status", get(status))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .fallback(nowhere)
        .layer(middleware::from_fn(guard))
        .with_state(shared)
}

async fn trending(State(shared): State<Arc<Shared>>, RawQuery(query): RawQuery) -> Answered<Answer> {
    let [scope, limit, durable] = parameters(query.as_deref(), ["scope", "limit", "durable"])?;
    let request = Request { scope, period: None, limit: count(limit)? };
    answer(&shared, TRENDING_NAME, &request, flag(durable)?)
}

async fn chart(
    State(shared): State<Arc<Shared>>,
    name: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Answered<Answer> {
    let Path(name) = name.map_err(|_| Problem::bad_request("the name of the chart is not UTF-8"))?;
    let [scope, period, limit, durable] = parameters(query.as_deref(), ["scope", "period", "limit", "durable"])?;
    let request = Request { scope, period, limit: count(limit)? };
    answer(&shared, &name, &request, flag(durable)?)
}

fn answer(shared: &Shared, name: &str, request: &Request, durable: bool) -> Answered<Answer> {
    let answer = if durable {
        lookup::chart(&*self::durable(shared)?, name, request)
    } else {
        lookup::chart(&shared.charts(), name, request)
    };
    answer.map(Json)
}

fn durable(shared: &Shared) -> Result<Arc<Charts>, Problem> {
    shared.durable_charts().ok_or_else(|| {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "nothing is known to be durable yet: the charts of the lake are still being made; /readyz says when they are",
        )
    })
}

async fn snapshot(State(shared): State<Arc<Shared>>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let [durable] = parameters(query.as_deref(), ["durable"])?;
    let durable = flag(durable)?;
    let permit = shared.snapshots.clone().try_acquire_owned().map_err(|_| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too many snapshots are being read: ask again later")
    })?;
    let charts = if durable { self::durable(&shared)? } else { Arc::new(shared.charts().clone()) };
    let status = shared.status();
    let body = Snapshot::new(charts, status.topic.clone(), status.lake.clone(), permit);
    drop(status);
    let body = body.map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, snapshot::MEDIA_TYPE)], Body::new(body)).into_response())
}

#[derive(Serialize)]
struct ChartList {
    as_of: AsOf,
    charts: Vec<Overview>,
}

async fn charts(State(shared): State<Arc<Shared>>, RawQuery(query): RawQuery) -> Answered<ChartList> {
    let [] = parameters(query.as_deref(), [])?;
    let charts = shared.charts();
    Ok(Json(ChartList { as_of: charts.as_of(), charts: charts.overview() }))
}

async fn status(State(shared): State<Arc<Shared>>, RawQuery(query): RawQuery) -> Answered<Status> {
    let [] = parameters(query.as_deref(), [])?;
    Ok(Json(shared.status().clone()))
}

async fn readyz(State(shared): State<Arc<Shared>>) -> Result<&'static str, Problem> {
    match shared.ready.load(Ordering::Acquire) {
        true => Ok("ready\n"),
        false => Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "still catching up; /v1/status says how far it is")),
    }
}

async fn nowhere() -> Problem {
    Problem::not_found(
        "there is nothing here; there is /v1/trending, /v1/charts, /v1/charts/{name}, /v1/snapshot, /v1/status, /healthz \
         and /readyz",
    )
}

/// What holds for every path: reading only, short queries, and answers that nobody keeps, because they change by the
/// second.
async fn guard(request: HttpRequest, next: Next) -> Response {
    let mut response = if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let detail = format!("{} is not possible here: charts are only read, with GET or HEAD", request.method());
        let allowed = [(header::ALLOW, "GET, HEAD")];
        (allowed, Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)).into_response()
    } else if request.uri().query().is_some_and(|query| query.len() > QUERY_BYTES_MAX) {
        let detail = format!("the query is longer than {QUERY_BYTES_MAX} bytes");
        Problem::new(StatusCode::URI_TOO_LONG, detail).into_response()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// The values of the parameters `names`. One that is empty (`scope=`) is left out.
fn parameters<const N: usize>(query: Option<&str>, names: [&str; N]) -> Result<[Option<String>; N], Problem> {
    let mut values = [const { None }; N];
    for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        let Some(index) = names.iter().position(|known| *known == name) else {
            let possible = if N == 0 { "there are none here".to_owned() } else { names.join(", ") };
            return Err(Problem::bad_request(format!("unknown parameter `{name}`; possible: {possible}")));
        };
        if values[index].is_some() {
            return Err(Problem::bad_request(format!("`{name}` is given twice")));
        }
        values[index] = Some(value.into_owned());
    }
    Ok(values.map(|value| value.filter(|value| !value.is_empty())))
}

fn flag(text: Option<String>) -> Result<bool, Problem> {
    match text.as_deref() {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(text) => Err(Problem::bad_request(format!("`durable` is `{text}`, but must be `true` or `false`"))),
    }
}

fn count(limit: Option<String>) -> Result<Option<usize>, Problem> {
    let Some(text) = limit else { return Ok(None) };
    let count = text.parse().ok().filter(|count| *count > 0);
    let problem = || Problem::bad_request(format!("`limit` is `{text}`, but must be a whole number from 1"));
    count.map(Some).ok_or_else(problem)
}
