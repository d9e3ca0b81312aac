//! Resolves the parameters of a request to cells: the chart, scope, period and number of entries.

use reprise_dataflows::rules::definition::{Scope, ScopeKind, TRENDING, TRENDING_NAME};

use crate::serve::problem::Problem;
use crate::state::charts::{CellAnswer, Charts, Filter, scopes};

/// As a scope or period: all of them. (A country that is really called `*` is `country:*`.)
const EVERY: &str = "*";

/// The most cells of one answer.
const CELLS_MAX: usize = 100_000;

/// Several cells with at most this many entries in total are made in memory and get an ETag; an
/// answer with more is sent as it is made.
const WHOLE_ENTRIES_MAX: usize = 5_000;

/// The most scopes that a wrong one is compared with, to suggest the nearest.
const COMPARED_MAX: usize = 1000;
/// Names with more bytes are not compared.
const COMPARED_BYTES_MAX: usize = 64;

/// The most charts that one stream watches.
const WATCHED_MAX: usize = 16;

/// The cells that a request asks for. A parameter that it leaves out has a default.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// `global` by default.
    pub scope: Option<String>,
    /// By default the newest period that has entries.
    pub period: Option<String>,
    /// The most entries of a cell; all by default.
    pub limit: Option<usize>,
}

/// The answer to a request for a chart.
pub enum ChartAnswer {
    /// One cell, or a few.
    Whole(CellAnswer),
    /// Too many cells for memory. The cells that match the filter are found and made once the
    /// client has a seat (see `readers.rs`).
    Many(Filter),
}

/// One cell of the chart `name`, which may be trending; with `*` as scope or period, all cells that
/// have entries. A scope or period that could have plays and has none is no error: its cell has no
/// entries, and says which scopes and periods have some.
///
/// # Errors
/// Not found, for a chart, scope or period that cannot exist; the problem says which ones exist.
/// Bad request, for too many cells.
pub fn chart(charts: &Charts, name: &str, request: &Request) -> Result<ChartAnswer, Problem> {
    let chart = chart_index(charts, name)?;
    let scope = match request.scope.as_deref() {
        Some(EVERY) => None,
        text => Some(one_scope(charts, chart, text.unwrap_or("global"), true)?),
    };
    let start_day = match request.period.as_deref() {
        Some(EVERY) => None,
        text => Some(start_day(charts, chart, scope.as_ref(), text)?),
    };
    if let (Some(scope), Some(start_day)) = (&scope, start_day) {
        let mut cell = charts.cell(chart, scope, start_day, request.limit);
        if cell.entries.is_empty() {
            cell.available = Some(charts.available(chart, Some(scope), start_day));
        }
        return Ok(ChartAnswer::Whole(CellAnswer::One(cell)));
    }
    // The filter names no period for trending: the window may have moved by the time the filter is
    // used, and it is the only period of its chart anyway.
    let period = start_day.filter(|_| chart != TRENDING).map(|start_day| charts.period(chart, start_day).0);
    several(charts, Filter { chart: Some(name.to_owned()), scope, period, limit: request.limit }, chart)
}

fn several(charts: &Charts, filter: Filter, chart: u32) -> Result<ChartAnswer, Problem> {
    let cells = charts.keys(&filter).len();
    if cells > CELLS_MAX {
        return Err(Problem::bad_request(format!(
            "these are {cells} cells, and one answer has at most {CELLS_MAX}: name a scope or a period, ask for /v1/snapshot, or \
             let `reprise replay` write all of them from the lake"
        )));
    }
    let top = charts.definitions().top(chart);
    let entries = cells.saturating_mul(filter.limit.unwrap_or(top).min(top));
    Ok(match entries > WHOLE_ENTRIES_MAX {
        true => ChartAnswer::Many(filter),
        false => ChartAnswer::Whole(CellAnswer::Many(charts.cells(&filter))),
    })
}

/// The first day of the period that is written as `text`. Without a text, that of the usual period,
/// which is none if there is no clock yet.
///
/// # Errors
/// Not found, if the text is not a period of this chart.
pub fn start_day(
    charts: &Charts,
    chart: u32,
    scope: Option<&Scope>,
    text: Option<&str>,
) -> Result<Option<i32>, Problem> {
    let Some(text) = text else { return Ok(charts.usual(chart, scope)) };
    charts.start_day(chart, text).map(Some).map_err(|error| {
        let available = charts.available(chart, scope, None);
        let newest = available.periods.first().map(|newest| format!("; the newest with plays is `{newest}`"));
        Problem::not_found(format!("{error}{}", newest.unwrap_or_default())).with(available)
    })
}

/// The index of the chart called `name`.
///
/// # Errors
/// Not found, if there is no such chart; the problem names all charts.
pub fn chart_index(charts: &Charts, name: &str) -> Result<u32, Problem> {
    charts.definitions().index_of(name).ok_or_else(|| unknown_chart(charts, name))
}

/// The charts and the scope that a stream watches. `names` is a list with commas, trending by
/// default; the scope is global by default.
///
/// # Errors
/// Bad request, for too many charts; not found, for a chart or scope that cannot exist.
pub fn watched(
    charts: &Charts,
    names: Option<&str>,
    scope: Option<&str>,
    is_whole: bool,
) -> Result<(Vec<u32>, Scope), Problem> {
    let names: Vec<&str> = names.unwrap_or(TRENDING_NAME).split(',').collect();
    if names.len() > WATCHED_MAX {
        return Err(Problem::bad_request(format!(
            "`chart` names {} charts, and {WATCHED_MAX} is the most",
            names.len()
        )));
    }
    let mut indices = names.iter().map(|name| chart_index(charts, name)).collect::<Result<Vec<u32>, _>>()?;
    let mut seen = std::collections::BTreeSet::new();
    indices.retain(|chart| seen.insert(*chart));
    let scopes = indices.iter().map(|chart| one_scope(charts, *chart, scope.unwrap_or("global"), is_whole));
    let scopes = scopes.collect::<Result<Vec<Scope>, _>>()?;
    let scope = scopes.into_iter().next().unwrap_or(Scope::Global);
    Ok((indices, scope))
}

/// The scope that is written as `text`.
///
/// # Errors
/// Not found, if the text is not a scope, the chart has no lists for scopes of its kind, or no play
/// can have it. The last is checked only if `is_whole`: the names that plays have are known only
/// once the charts of the lake are complete.
pub fn one_scope(charts: &Charts, chart: u32, text: &str, is_whole: bool) -> Result<Scope, Problem> {
    let available = || charts.available(chart, None, None);
    let scope = Scope::parse(text).map_err(|error| Problem::not_found(error.to_string()).with(available()))?;
    let possible = scopes(charts.definitions(), chart);
    let name = charts.definitions().name(chart);
    if !possible.contains(&scope.kind()) {
        let detail = format!("`{name}` has no list for `{text}`; {}", allowed(possible));
        return Err(Problem::not_found(detail).with(available()));
    }
    if is_whole && !charts.is_possible(&scope) {
        return Err(no_such_scope(charts, chart, &scope));
    }
    Ok(scope)
}

/// Names the `possible` scopes of a chart.
fn allowed(possible: &[ScopeKind]) -> String {
    let examples: Vec<&str> = possible.iter().map(|kind| kind.examples()).collect();
    format!("its scopes are {}", examples.join(", "))
}

/// The problem for a scope that no play has and that does not look like one that plays could have.
fn no_such_scope(charts: &Charts, chart: u32, scope: &Scope) -> Problem {
    let of_kind = |other: &Scope| other.kind() == scope.kind();
    let known = charts.scopes_after(chart, None, COMPARED_MAX);
    let nearest = nearest(&scope.name(), known.iter().filter(|other| of_kind(other)).map(Scope::name));
    let available = charts.available(chart, None, None);
    let some: Vec<String> = available.scopes.iter().map(|scope| format!("`{scope}`")).collect();
    let detail = format!(
        "`{}` has no list for `{scope}`; {}. `{scope}` is not {}, and no play has it.{} Scopes with plays: {}",
        charts.definitions().name(chart),
        allowed(scopes(charts.definitions(), chart)),
        match scope {
            Scope::Of(dimension, _) => dimension.expected(),
            Scope::Global => "one",
        },
        nearest.map(|nearest| format!(" Did you mean `{nearest}`?")).unwrap_or_default(),
        if some.is_empty() { "none yet".to_owned() } else { some.join(", ") },
    );
    Problem::not_found(detail).with(available)
}

/// The name that differs from `text` by the fewest letters, ignoring case, if these are at most a
/// quarter of its letters.
fn nearest(text: &str, names: impl Iterator<Item = String>) -> Option<String> {
    if text.len() > COMPARED_BYTES_MAX {
        return None;
    }
    let names: Vec<String> = names.filter(|name| name.len() <= COMPARED_BYTES_MAX).collect();
    let text = text.to_lowercase();
    let distances = names.into_iter().map(|name| (letters_between(&text, &name.to_lowercase()), name));
    let (distance, name) = distances.min()?;
    (distance <= text.chars().count() / 4).then_some(name)
}

/// The edit distance: how many letters have to be inserted, deleted or replaced to turn one text
/// into the other.
fn letters_between(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (index, letter) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], index + 1);
        for (column, other) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

fn unknown_chart(charts: &Charts, name: &str) -> Problem {
    let definitions = charts.definitions();
    let names = [definitions.name(TRENDING)].into_iter().chain(definitions.charts.iter().map(|chart| &*chart.name));
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    Problem::not_found(format!("there is no chart `{name}`; the charts are {}", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_one_that_differs_little() {
        let near = |text: &str| nearest(text, ["DE", "US", "device:mobile"].map(str::to_owned).into_iter());
        assert_eq!(near("de").as_deref(), Some("DE"));
        assert_eq!(near("device:mobil").as_deref(), Some("device:mobile"));
        assert_eq!((near("Germany"), near(&"x".repeat(65))), (None, None));
        for (one, other, letters) in [("", "abc", 3), ("kitten", "sitting", 3), ("ab", "ba", 2), ("same", "same", 0)] {
            assert_eq!((letters_between(one, other), letters_between(other, one)), (letters, letters));
        }
    }
}
