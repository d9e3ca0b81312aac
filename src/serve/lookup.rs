//! From the words of a request to chart cells: which chart, scope, period and how much of it.

use reprise_dataflows::definition::{Scope, ScopeKind, TRENDING, TRENDING_NAME};

use super::problem::Problem;
use crate::charts::{Answer, Charts, Filter, scopes};

/// Asks for every scope, or every period. (A country that is really called `*` is `country:*`.)
const EVERY: &str = "*";

/// Entries that one answer has at most, all its cells together: building it holds the charts for a moment, and the
/// dataflow waits. The answer of one cell is never refused.
const ENTRIES_MAX: usize = 100_000;

/// Charts that one stream watches at most.
const WATCHED_MAX: usize = 16;

/// What a request says about the cells that it wants; what it leaves out has a default.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// `global` by default.
    pub scope: Option<String>,
    /// The newest that has entries, by default.
    pub period: Option<String>,
    /// Entries of a cell; all by default.
    pub limit: Option<usize>,
}

/// One cell of the chart `name`, which may be trending; with `*` as scope or period all cells that have entries.
///
/// A scope or period for which nothing has been counted is an answer too: a cell without entries.
pub fn chart(charts: &Charts, name: &str, request: &Request) -> Result<Answer, Problem> {
    let chart = chart_index(charts, name)?;
    let scope = match request.scope.as_deref() {
        Some(EVERY) => None,
        text => Some(one_scope(charts, chart, text.unwrap_or("global"))?),
    };
    let start_day = match request.period.as_deref() {
        Some(EVERY) => None,
        text => Some(start_day(charts, chart, scope.as_ref(), text)?),
    };
    if let (Some(scope), Some(start_day)) = (&scope, start_day) {
        return Ok(Answer::One(charts.cell(chart, scope, start_day, request.limit)));
    }
    let period = start_day.map(|start_day| charts.period(chart, start_day).0);
    several(charts, &Filter { chart: Some(name.to_owned()), scope, period, limit: request.limit }, chart)
}

fn several(charts: &Charts, filter: &Filter, chart: u32) -> Result<Answer, Problem> {
    let cells = charts.places(filter).len();
    let top = charts.definitions().top(chart);
    let entries = cells.saturating_mul(filter.limit.unwrap_or(top).min(top));
    if entries > ENTRIES_MAX {
        return Err(Problem::bad_request(format!(
            "these are {cells} cells with up to {entries} entries, and one answer has at most {ENTRIES_MAX}: name a \
             scope or a period, set a limit, or let `reprise replay` write all of them from the lake"
        )));
    }
    Ok(Answer::Many(charts.cells(filter)))
}

/// The first day of the period that is written as `text`, or of the usual one.
pub fn start_day(
    charts: &Charts,
    chart: u32,
    scope: Option<&Scope>,
    text: Option<&str>,
) -> Result<Option<i32>, Problem> {
    let Some(text) = text else { return Ok(charts.usual(chart, scope)) };
    charts.start_day(chart, text).map(Some).map_err(|error| Problem::bad_request(error.to_string()))
}

/// The chart of a name.
pub fn chart_index(charts: &Charts, name: &str) -> Result<u32, Problem> {
    charts.definitions().index_of(name).ok_or_else(|| unknown_chart(charts, name))
}

/// What somebody wants to watch: some charts, trending by default, for one scope.
pub fn watched(charts: &Charts, names: Option<&str>, scope: Option<&str>) -> Result<(Vec<u32>, Scope), Problem> {
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
    let scopes = indices.iter().map(|chart| one_scope(charts, *chart, scope.unwrap_or("global")));
    let scopes = scopes.collect::<Result<Vec<Scope>, _>>()?;
    let scope = scopes.into_iter().next().unwrap_or(Scope::Global);
    Ok((indices, scope))
}

/// The scope of a name, if the chart has lists for its kind.
pub fn one_scope(charts: &Charts, chart: u32, text: &str) -> Result<Scope, Problem> {
    let scope = Scope::parse(text).map_err(|error| Problem::not_found(error.to_string()))?;
    let possible = scopes(charts.definitions(), chart);
    if possible.contains(&scope.kind()) {
        return Ok(scope);
    }
    let examples: Vec<&str> = possible.iter().map(|kind| example(*kind)).collect();
    let name = charts.definitions().name(chart);
    Err(Problem::not_found(format!("`{name}` has no list for `{text}`; its scopes are {}", examples.join(", "))))
}

fn example(kind: ScopeKind) -> &'static str {
    match kind {
        ScopeKind::Global => "`global`",
        ScopeKind::Country => "countries such as `US`",
        ScopeKind::Device => "devices such as `device:mobile`",
    }
}

fn unknown_chart(charts: &Charts, name: &str) -> Problem {
    let definitions = charts.definitions();
    let names = [definitions.name(TRENDING)].into_iter().chain(definitions.charts.iter().map(|chart| &*chart.name));
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    Problem::not_found(format!("there is no chart `{name}`; the charts are {}", names.join(", ")))
}
