//! Errors over HTTP: problem documents (RFC 9457) that say what is wrong and what is possible.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::json::Json;
use crate::state::charts::Available;

/// What a path of the API answers.
pub type Answered<T> = Result<Json<T>, Problem>;

/// When to ask again what cannot be answered now, in seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");

/// A problem document. Its type is always `about:blank`: the status says the kind, and `detail` the rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    #[serde(rename = "type", default)]
    pub kind: String,
    #[serde(default)]
    pub title: String,
    pub status: u16,
    pub detail: String,
    /// What there is instead of what was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub available: Option<Box<Available>>,
}

impl Problem {
    pub const MEDIA_TYPE: &'static str = "application/problem+json";

    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or_default().to_owned();
        Self { kind: "about:blank".to_owned(), title, status: status.as_u16(), detail: detail.into(), available: None }
    }

    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    /// Says what there is instead.
    pub fn with(self, available: Available) -> Self {
        Self { available: Some(Box::new(available)), ..self }
    }

    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let media_type = [(header::CONTENT_TYPE, Self::MEDIA_TYPE)];
        let mut response = (status, media_type, Json(self)).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        response
    }
}
