//! Links from one page of a long list to the next.

use axum::http::{HeaderMap, HeaderValue, header};

/// The path of the next page: `path` with `parameters` as its query.
pub fn next_page(path: &str, parameters: &[(&str, &str)]) -> String {
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
    format!("{path}?{query}")
}

/// The `Link` header that points to the next page (RFC 8288); no header if there is none.
pub fn link(next: Option<&str>) -> HeaderMap {
    let link = next.and_then(|next| HeaderValue::try_from(format!("<{next}>; rel=\"next\"")).ok());
    link.into_iter().map(|link| (header::LINK, link)).collect()
}
