//! A trending window of the past. The workers keep its plays in panes.

use std::sync::Arc;

use reprise_dataflows::query::{Finding, QueryKind};
use reprise_dataflows::rules::definition::{ItemKind, Scope, TRENDING, TRENDING_NAME};
use reprise_dataflows::time::{instant_name, parse_instant};

use super::cells as lookup;
use super::common::run_query;
use crate::serve::Http;
use crate::serve::json::Json;
use crate::serve::problem::Answered;
use crate::serve::problem::Problem;
use crate::state::Findings;
use crate::state::charts::{AsOf, CellAnswer, ChartCell, Entry};

/// As `at`: the oldest window that is known.
const EARLIEST: &str = "earliest";

/// How often the oldest window is asked for: the clock can move on between the query that finds it
/// and the one that reads it, and the window is then forgotten.
const EARLIEST_ATTEMPTS: usize = 5;

/// Answers with the trending window that the clock was in at the instant `at`; with `earliest`, the
/// oldest that is known.
///
/// # Errors
/// Bad request, if `at` is not an instant or `durable` is set; not found, if the window is later
/// than the clock, no longer known, or its scope cannot exist; unavailable, if the workers do not
/// answer.
pub async fn past_window(
    http: &Arc<Http>,
    at: &str,
    scope: Option<&str>,
    limit: Option<usize>,
    durable: bool,
) -> Answered<CellAnswer> {
    if durable {
        return Err(Problem::bad_request(
            "a window of the past is never that of a commit: leave out `durable`, or `at`",
        ));
    }
    let scope = lookup::one_scope(&http.state.charts(), TRENDING, scope.unwrap_or("global"), true)?;
    let trending = http.state.charts().definitions().trending.clone();
    let limit = limit.unwrap_or(trending.top).min(trending.top);
    let mut attempts = if at == EARLIEST { EARLIEST_ATTEMPTS } else { 1 };
    loop {
        let at_us = match at {
            EARLIEST => earliest_us(http).await?,
            at => parse_instant(at).map_err(|error| Problem::bad_request(error.to_string()))?,
        };
        let (start_us, end_us) = trending.window(at_us);
        let now_us = http.state.charts().as_of().clock_us;
        if now_us.is_none_or(|now_us| end_us > trending.end_us(now_us)) {
            return Err(Problem::not_found(format!("`at` is {at}, after the current clock")));
        }
        let kind = QueryKind::Window { end_us, scope: scope.clone(), limit };
        let Findings { as_of, found } = run_query(http, kind).await?;
        attempts -= 1;
        if known_from_us(&found).is_some_and(|known_from_us| start_us >= known_from_us) {
            let of_window = AsOf { clock_us: Some(at_us), ..as_of };
            let period = http.state.charts().period_as_of(TRENDING, Some(0), of_window).0;
            let cell = ChartCell {
                chart: TRENDING_NAME.to_owned(),
                period,
                start_us: Some(start_us),
                end_us: Some(end_us),
                scope: scope.name(),
                as_of,
                entries: entries(found, trending.item, limit),
                available: None,
            };
            return Ok(Json(CellAnswer::One(cell)));
        }
        if attempts == 0 {
            return Err(Problem::not_found(format!(
                "the window at {at} is not known: it was before the server's start, or longer ago than --trending-history \
                 keeps them. `reprise replay --lake {} --chart trending --clock {}` counts it from the lake",
                shell_word(&http.state.status().lake).unwrap_or_else(|| "LAKE".to_owned()),
                instant_name(at_us),
            )));
        }
    }
}

/// A clock for the oldest window that is known, in µs since 1970. That window begins at
/// [`known_from_us`].
async fn earliest_us(http: &Http) -> Result<i64, Problem> {
    let trending = http.state.charts().definitions().trending.clone();
    let now_us = http.state.charts().as_of().clock_us;
    let now_us = now_us.ok_or_else(|| Problem::not_found("no play has been counted yet, so there is no window"))?;
    let end_us = trending.end_us(now_us);
    let Findings { found, .. } = run_query(http, QueryKind::Window { end_us, scope: Scope::Global, limit: 1 }).await?;
    let first_end_us = known_from_us(&found).map_or(end_us, |from_us| (from_us + trending.window_us).min(end_us));
    Ok(first_end_us - trending.slide_us)
}

/// `text` quoted as one word of a shell, so that the command can be pasted there; none if it is
/// empty.
fn shell_word(text: &str) -> Option<String> {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-:=@+,%".contains(letter);
    match text {
        "" => None,
        text if text.chars().all(is_plain) => Some(text.to_owned()),
        text => Some(format!("'{}'", text.replace('\'', "'\\''"))),
    }
}

/// The instant, in µs since 1970, from which on all workers still keep plays by their time. Earlier
/// plays are no longer told apart by their time, so windows that begin earlier are not known.
fn known_from_us(found: &[Finding]) -> Option<i64> {
    found.iter().filter_map(|found| if let Finding::KnownFrom(us) = found { Some(*us) } else { None }).max()
}

fn entries(found: Vec<Finding>, item_kind: ItemKind, limit: usize) -> Vec<Entry> {
    let items = found.into_iter().filter_map(|found| match found {
        Finding::Track { track_id, info, plays } => Some((plays, track_id, info, ItemKind::TRACK)),
        Finding::Item { text, plays } => Some((plays, text, None, item_kind)),
        _ => None,
    });
    let mut items: Vec<_> = items.collect();
    items.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    items.truncate(limit);
    let ranked = (1..).zip(items);
    ranked.map(|(rank, (plays, item, info, kind))| Entry::new(kind, rank, &item, info.as_ref(), plays)).collect()
}
