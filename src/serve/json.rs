//! HTTP answers in JSON.

use std::hash::{Hash, Hasher};

use axum::Extension;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use siphasher::sip::SipHasher13;

use crate::text::json::to_vec;

/// An HTTP answer whose body is the wrapped value as JSON, with the [`ContentHash`] of the value.
#[derive(Debug)]
pub struct Json<T>(pub T);

/// The hash of what an answer says, which makes its ETag. It leaves out which epoch the answer is
/// of, unless that is durable: see the `Hash` of `AsOf`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentHash(pub u64);

impl ContentHash {
    /// The hash of `content`: the same in every process.
    pub fn of(content: &(impl Hash + ?Sized)) -> Self {
        let mut hasher = SipHasher13::new();
        content.hash(&mut hasher);
        Self(hasher.finish())
    }
}

impl<T: Serialize + Hash> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        (Extension(ContentHash::of(&self.0)), Bytewise(self.0)).into_response()
    }
}

/// An HTTP answer in JSON that names no epoch: its ETag is made from its bytes.
#[derive(Debug)]
pub struct Bytewise<T>(pub T);

impl<T: Serialize> IntoResponse for Bytewise<T> {
    fn into_response(self) -> Response {
        match to_vec(&self.0) {
            Ok(json) => ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
            // Our own types always serialise to JSON.
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::charts::{AsOf, ChartCell};

    #[test]
    fn the_same_charts_have_the_same_hash_in_every_epoch() {
        let hash = |epoch, durable, scope: &str| {
            let as_of = AsOf { epoch, clock_us: None, lake_version: Some(3), durable };
            let (chart, period) = ("weekly".to_owned(), "2026-W47".to_owned());
            let (start_us, end_us, scope) = (None, None, scope.to_owned());
            ContentHash::of(&ChartCell {
                chart,
                period,
                start_us,
                end_us,
                scope,
                as_of,
                entries: vec![],
                available: None,
            })
        };
        assert_eq!(hash(1, false, "US"), hash(2, false, "US"));
        assert_ne!(hash(1, false, "US"), hash(1, false, "PT"));
        assert_ne!(hash(1, true, "US"), hash(2, true, "US"));
        assert_ne!(hash(1, true, "US"), hash(1, false, "US"));
    }
}
