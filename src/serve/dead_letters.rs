//! `/v1/dead-letters`: the newest records that are no plays, with the reason, from memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{RawQuery, State};
use serde::Serialize;

use super::Http;
use super::json::Json;
use super::parameters::{count, parameters};
use super::problem::Answered;
use crate::report::rejected::{NEWEST_MAX, RejectedRecord};

/// The newest dead letters of this run, and how many there are by reason.
#[derive(Serialize)]
pub struct DeadLetters {
    /// Newest first.
    dead_letters: Vec<OfTopic>,
    /// All since the start of the run, as in `/v1/status`.
    counts: BTreeMap<String, u64>,
    /// Those in the lake, of earlier runs too.
    lake_dead_letters: u64,
    /// Its folder.
    lake: String,
}

#[derive(Serialize)]
struct OfTopic {
    topic: String,
    #[serde(flatten)]
    record: RejectedRecord,
}

/// Answers with at most `limit` of the newest; with all that are kept if there is none.
pub async fn dead_letters(State(http): State<Arc<Http>>, RawQuery(query): RawQuery) -> Answered<DeadLetters> {
    let [limit] = parameters(query.as_deref(), ["limit"])?;
    let newest = http.state.newest_dead_letters(count(limit)?.unwrap_or(NEWEST_MAX));
    let status = http.state.status();
    let dead_letters = newest.into_iter().map(|record| OfTopic { topic: status.topic.clone(), record }).collect();
    Ok(Json(DeadLetters {
        dead_letters,
        counts: status.dead_letters.clone(),
        lake_dead_letters: status.lake_dead_letters,
        lake: status.lake.clone(),
    }))
}
