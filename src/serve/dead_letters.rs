//! `/v1/dead-letters`: the newest records that are not plays, each with the reason, from memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{RawQuery, State};
use serde::Serialize;

use super::Http;
use super::json::Bytewise;
use super::parameters::{count, parameters};
use super::problem::Problem;
use crate::report::rejected::{NEWEST_MAX, RejectedRecord};

/// The newest dead letters of this run, and the number of all of them by reason.
#[derive(Serialize)]
pub struct DeadLetters {
    /// Newest first.
    dead_letters: Vec<OfTopic>,
    /// The number of dead letters since the start of the run, by reason, as in `/v1/status`.
    counts: BTreeMap<String, u64>,
    /// The number of dead letters in the lake, including those of earlier runs.
    lake_dead_letters: u64,
    /// The folder of the lake.
    lake: String,
}

#[derive(Serialize)]
struct OfTopic {
    topic: String,
    #[serde(flatten)]
    record: RejectedRecord,
}

/// Answers with at most `limit` of the newest dead letters; without `limit`, with all that are kept
/// in memory.
///
/// # Errors
/// Bad request, if a parameter is unknown or `limit` is not a whole number from 1.
pub async fn dead_letters(
    State(http): State<Arc<Http>>,
    RawQuery(query): RawQuery,
) -> Result<Bytewise<DeadLetters>, Problem> {
    let [limit] = parameters(query.as_deref(), ["limit"])?;
    let newest = http.state.newest_dead_letters(count(limit)?.unwrap_or(NEWEST_MAX));
    let status = http.state.status();
    let dead_letters = newest.into_iter().map(|record| OfTopic { topic: status.topic.clone(), record }).collect();
    Ok(Bytewise(DeadLetters {
        dead_letters,
        counts: status.dead_letters.clone(),
        lake_dead_letters: status.lake_dead_letters,
        lake: status.lake.clone(),
    }))
}
