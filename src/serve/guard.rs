//! Middleware around every request: access control, only reading methods, a bound on the URL's
//! query, ETags, the memory budget, headers for browsers, and metrics.

use std::sync::Arc;
use std::time::Instant;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Http;
use super::access::Access;
use super::budget::Share;
use super::connections::ClientAddress;
use super::json::ContentHash;
use super::parameters::QUERY_BYTES_MAX;
use super::problem::Problem;
use super::readers::Streamed;

/// The page loads only its own files, and connects only to this server.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const HEADERS: [(HeaderName, HeaderValue); 5] = [
    // A cache may keep a copy, but has to revalidate it before each use.
    (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
];

/// The state of the middleware.
#[derive(Clone)]
pub struct Guard {
    /// Has the memory budget and the metrics.
    pub http: Arc<Http>,
    /// The checks that each request has to pass.
    pub access: Arc<Access>,
}

/// A number that changes when an answer changes in a way that its body does not show, such as in
/// its later pages. It is a part of the ETag.
#[derive(Clone, Copy)]
pub struct Revision(pub u64);

/// Passes a request on if it is allowed, and adds to its answer the ETag and the headers that all
/// answers have.
pub async fn guard(State(Guard { http, access }): State<Guard>, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let path = request.extensions().get::<MatchedPath>().cloned();
    let known: Vec<HeaderValue> = request.headers().get_all(header::IF_NONE_MATCH).iter().cloned().collect();
    let mut response = match refuse(&request, &access) {
        Some(refusal) => refusal,
        None => {
            let client = request.extensions().get::<ClientAddress>().copied().unwrap_or_default();
            request.extensions_mut().insert(client);
            let share = share(request.uri().path());
            let hold = |body| match share {
                Some(share) => http.budget.hold(share, client, body),
                None => Ok(body),
            };
            with_etag(next.run(request).await, &known, hold).await
        }
    };
    let headers = response.headers_mut();
    headers.extend(HEADERS);
    access.share(headers);
    let path = path.as_ref().map_or("other", MatchedPath::as_str);
    http.state.metrics.answered(path, response.status().as_u16(), began.elapsed());
    response
}

fn refuse(request: &Request, access: &Access) -> Option<Response> {
    let (method, uri) = (request.method(), request.uri());
    if let Some(allowed) = access.preflight(method) {
        return Some(allowed);
    }
    if !matches!(*method, Method::GET | Method::HEAD) {
        let detail = format!("{method} is not allowed: charts are only read, with GET or HEAD");
        let allowed = [(header::ALLOW, "GET, HEAD")];
        return Some((allowed, Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)).into_response());
    }
    if uri.query().is_some_and(|query| query.len() > QUERY_BYTES_MAX) {
        let detail = format!("the query is longer than {QUERY_BYTES_MAX} bytes");
        return Some(Problem::new(StatusCode::URI_TOO_LONG, detail).into_response());
    }
    access.refuse(uri.path(), request.headers())
}

/// Adds a weak ETag to an answer; a client that already has the answer with this tag gets 304.
/// Answers of different epochs with the same content have the same tag, unless they are durable: a
/// durable answer stands for one version of the lake. An answer that is made while it is read has
/// no tag. `hold` counts the body in the budget, or says why it does not fit.
async fn with_etag(
    response: Response,
    known: &[HeaderValue],
    hold: impl FnOnce(Bytes) -> Result<Bytes, &'static str>,
) -> Response {
    if response.status() != StatusCode::OK || response.extensions().get::<Streamed>().is_some() {
        return response;
    }
    let (mut head, body) = response.into_parts();
    // The body is in memory already.
    let Ok(body) = to_bytes(body, usize::MAX).await else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
    let (content, revision) = (head.extensions.get().copied(), head.extensions.get().copied());
    if let Ok(tag) = HeaderValue::from_str(&etag(&body, content, revision)) {
        // A weak comparison: the prefix `W/` does not matter.
        let bare = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
        let ours = bare(tag.to_str().unwrap_or_default());
        let mut theirs = known.iter().filter_map(|known| known.to_str().ok()).flat_map(|known| known.split(','));
        head.headers.insert(header::ETAG, tag);
        if theirs.any(|one| one.trim() == "*" || bare(one) == ours) {
            head.status = StatusCode::NOT_MODIFIED;
            for gone in [header::CONTENT_TYPE, header::CONTENT_LENGTH] {
                head.headers.remove(gone);
            }
            return Response::from_parts(head, Body::empty());
        }
    }
    match hold(body) {
        Ok(body) => Response::from_parts(head, Body::from(body)),
        Err(full) => Problem::unavailable(full).into_response(),
    }
}

/// The share of the budget in which the answer of a path counts. `/healthz` and `/readyz` do not
/// count: their answers are a few bytes, and each connection holds at most one. The answer of
/// `/metrics` is larger, so it counts, in a share that no other answer can fill.
fn share(path: &str) -> Option<Share> {
    match path {
        "/healthz" | "/readyz" => None,
        "/metrics" => Some(Share::Metrics),
        _ => Some(Share::Answers),
    }
}

/// The ETag of an answer: a hash of its content, by its bytes if it does not say better, and its
/// revision.
fn etag(body: &Bytes, content: Option<ContentHash>, revision: Option<Revision>) -> String {
    let ContentHash(content) = content.unwrap_or_else(|| ContentHash::of(&body[..]));
    let ContentHash(hash) =
        revision.map_or(ContentHash(content), |Revision(revision)| ContentHash::of(&(content, revision)));
    format!("W/\"{hash:016x}\"")
}
