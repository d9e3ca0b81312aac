//! `/metrics`, in Prometheus's text format.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus::proto::MetricFamily;
use prometheus::{Encoder, TextEncoder};

use super::problem::Problem;

const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The answer of `/metrics`: `families` as text.
///
/// # Errors
/// None in practice: the names of metrics are unique and have valid characters.
pub fn answer(families: prometheus::Result<Vec<MetricFamily>>) -> Result<Response, Problem> {
    let mut text = Vec::new();
    let written = families.and_then(|families| TextEncoder::new().encode(&families, &mut text));
    written.map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, MEDIA_TYPE)], text).into_response())
}
