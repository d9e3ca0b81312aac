//! Long lists in pages: where the next one is.

use axum::http::{HeaderMap, HeaderValue, header};

/// The path of the page after this one.
pub fn next_page(path: &str, parameters: &[(&str, &str)]) -> String {
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
    format!("{path}?{query}")
}

/// The header that leads to the page after this one (RFC 8288).
pub fn link(next: Option<&str>) -> HeaderMap {
    let link = next.and_then(|next| HeaderValue::try_from(format!("<{next}>; rel=\"next\"")).ok());
    link.into_iter().map(|link| (header::LINK, link)).collect()
}
