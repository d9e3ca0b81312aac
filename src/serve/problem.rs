//! Errors over HTTP: problem documents (RFC 9457) that say what is wrong and what is possible.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::json::{Bytewise, Json};
use crate::state::charts::Available;

/// The result of a handler: an answer in JSON, or a problem.
pub type Answered<T> = Result<Json<T>, Problem>;

/// The seconds after which a client should repeat a request that cannot be answered now.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");

/// A problem document. Its type is always `about:blank`: the status says the kind, and `detail` the
/// rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Always `about:blank`.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// The name of the status.
    #[serde(default)]
    pub title: String,
    /// The HTTP status code.
    pub status: u16,
    /// What is wrong and what to do, as a sentence for people.
    pub detail: String,
    /// What there is instead of what was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub available: Option<Box<Available>>,
}

impl Problem {
    /// The media type of problem documents.
    pub const MEDIA_TYPE: &'static str = "application/problem+json";

    /// A problem with `status`.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or_default().to_owned();
        Self { kind: "about:blank".to_owned(), title, status: status.as_u16(), detail: detail.into(), available: None }
    }

    /// Status 400: the request itself is wrong.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// Status 503, with `Retry-After`: the request cannot be answered now.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    /// Adds what there is instead of what was asked for.
    pub fn with(self, available: Available) -> Self {
        Self { available: Some(Box::new(available)), ..self }
    }

    /// Status 404: what was asked for does not exist.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let media_type = [(header::CONTENT_TYPE, Self::MEDIA_TYPE)];
        let mut response = (status, media_type, Bytewise(self)).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        response
    }
}
