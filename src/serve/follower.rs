//! The server of a cluster's process that serves no charts: it answers probes, and redirects all
//! other requests to process 0.

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::metrics::answer;
use super::problem::Problem;
use crate::publish::exposition;

/// The state of such a server.
#[derive(Default)]
pub struct Follower {
    /// The URL of process 0, once process 0 has sent it; none if other machines cannot reach
    /// process 0.
    leader: OnceLock<Option<String>>,
}

impl Follower {
    /// Sets the URL of process 0, or none if other machines cannot reach it.
    pub fn follow(&self, leader: Option<String>) {
        // Process 0 sends it once, so it is never set twice.
        let _ = self.leader.set(leader);
    }
}

/// All paths of such a server.
pub fn router(follower: Arc<Follower>) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .fallback(redirect)
        .with_state(follower)
}

async fn readyz(State(follower): State<Arc<Follower>>) -> Result<&'static str, Problem> {
    follower.leader.get().map(|_| "ready\n").ok_or_else(not_joined)
}

/// The metrics of this process alone: monitoring asks each process of a cluster.
async fn metrics() -> Result<Response, Problem> {
    answer(exposition::process())
}

/// Sends the client to process 0, with the same path and query.
async fn redirect(State(follower): State<Arc<Follower>>, request: Request) -> Response {
    let leader = match follower.leader.get() {
        Some(Some(leader)) => leader,
        Some(None) => return leader_unreachable().into_response(),
        None => return not_joined().into_response(),
    };
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, format!("{leader}{path}"))]).into_response()
}

fn leader_unreachable() -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "process 0 serves the charts, and listens on its own loopback only: connect there, or give it --listen with an address \
         that others reach",
    )
}

fn not_joined() -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "this process waits for the others of its cluster; process 0 serves the charts",
    )
}
