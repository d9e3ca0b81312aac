//! The overview: all charts, with the periods and scopes from which a reader picks a cell.

use reprise_dataflows::rules::definition::{Eligible, ItemKind, Measure, Scope, ScopeKind, TRENDING};
use reprise_dataflows::time::Period;
use serde::Serialize;

use super::folded::{Charts, Filter};

/// The number of scopes of each chart in one response, unless the request gives another.
const SCOPES: usize = 1000;

/// The largest number of scopes that a request may ask for.
pub const SCOPES_MAX: usize = 10_000;

/// The page of scopes in an overview. There may be hundreds of thousands, if producers write
/// arbitrary text as a country.
#[derive(Clone, Debug)]
pub struct Page {
    /// The page begins after this scope; at the first one if `None`.
    pub after: Option<Scope>,
    /// The largest number of scopes of each chart.
    pub limit: usize,
}

impl Default for Page {
    fn default() -> Self {
        Self { after: None, limit: SCOPES }
    }
}

/// One chart: its definition, in the words of `charts.toml`, and the periods and scopes that have
/// entries.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Overview {
    /// The chart's name.
    pub name: String,
    /// The kind of period; absent for trending, which has a window instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period: Option<Period>,
    /// The IANA name of the time zone whose midnight ends a day; absent for UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// The length of the window; only for trending.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window_ms: Option<i64>,
    /// The distance between successive windows; only for trending.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slide_ms: Option<i64>,
    /// The kinds of scope that the chart has lists for.
    pub scopes: Vec<ScopeKind>,
    /// The kind of item that the chart lists.
    pub item: ItemKind,
    /// What is counted.
    pub measure: Measure,
    /// Which plays count: `all`, `completed`, or the least time listened, such as `30s`.
    pub eligible: String,
    /// The largest number of entries of a cell.
    pub top: usize,
    /// The periods and scopes that have entries.
    pub with_entries: WithEntries,
}

/// The periods and scopes of a chart that have entries. Not every pair of the two has some.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct WithEntries {
    /// The periods, from the oldest to the newest.
    pub periods: Vec<String>,
    /// The period of a request that names none. Later periods have not begun by the clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newest: Option<String>,
    /// The names of the scopes on this page.
    pub scopes: Vec<String>,
}

impl Charts {
    /// The trending window, then the charts in the order of their definitions, with the scopes of a
    /// page; and the scope after which the next page begins, if there is a next page.
    pub fn overview(&self, page: &Page) -> (Vec<Overview>, Option<Scope>) {
        let of_chart = |chart: u32| self.scopes_after(chart, page.after.as_ref(), page.limit.saturating_add(1));
        let charts = [TRENDING].into_iter().chain(0..self.definitions.charts.len() as u32);
        let mut found: Vec<Vec<Scope>> = charts.map(of_chart).collect();
        let ends = found.iter().filter(|scopes| scopes.len() > page.limit).map(|scopes| &scopes[page.limit - 1]);
        // All charts end at the least of their last scopes, so a scope is on the same page in each.
        let last = ends.min().cloned();
        if let Some(last) = &last {
            found.iter_mut().for_each(|scopes| scopes.retain(|scope| scope <= last));
        }
        let mut scopes = found.into_iter().map(|scopes| scopes.iter().map(Scope::name).collect());
        let overview = self.described(|chart| self.with_entries(chart, scopes.next().unwrap_or_default()));
        (overview, last)
    }

    /// The definitions in the form of the overview.
    fn described(&self, mut with_entries: impl FnMut(u32) -> WithEntries) -> Vec<Overview> {
        let trending = &self.definitions.trending;
        let window = Overview {
            name: self.definitions.name(TRENDING).to_owned(),
            period: None,
            zone: None,
            window_ms: Some(trending.window_us / 1000),
            slide_ms: Some(trending.slide_us / 1000),
            scopes: trending.scopes.clone(),
            item: trending.item,
            measure: trending.measure,
            eligible: eligible_name(trending.eligible),
            top: trending.top,
            with_entries: with_entries(TRENDING),
        };
        let charts = (0..).zip(&self.definitions.charts).map(|(index, chart)| Overview {
            name: chart.name.clone(),
            period: Some(chart.period),
            zone: chart.calendar.zone.as_ref().and_then(|zone| zone.iana_name().map(str::to_owned)),
            window_ms: None,
            slide_ms: None,
            scopes: chart.scopes.clone(),
            item: chart.item,
            measure: chart.measure,
            eligible: eligible_name(chart.eligible),
            top: chart.top,
            with_entries: with_entries(index),
        });
        [window].into_iter().chain(charts).collect()
    }

    fn with_entries(&self, chart: u32, scopes: Vec<String>) -> WithEntries {
        let filter = Filter {
            chart: Some(self.definitions.name(chart).to_owned()),
            // The global scope has every period that any scope has.
            scope: self.has_global(chart).then_some(Scope::Global),
            ..Filter::default()
        };
        let mut start_days: Vec<i32> = self.keys(&filter).into_iter().map(|(_, _, start_day)| *start_day).collect();
        start_days.sort_unstable();
        start_days.dedup();
        WithEntries {
            periods: start_days.into_iter().map(|start_day| self.period(chart, Some(start_day)).0).collect(),
            newest: self.newest(chart, None).map(|start_day| self.period(chart, Some(start_day)).0),
            scopes,
        }
    }
}

/// The rule for eligible plays as `charts.toml` writes it.
pub(super) fn eligible_name(eligible: Eligible) -> String {
    match eligible {
        Eligible::All => "all".to_owned(),
        Eligible::Completed => "completed".to_owned(),
        Eligible::ListenedMs(least_ms) if least_ms % 1000 == 0 => format!("{}s", least_ms / 1000),
        Eligible::ListenedMs(least_ms) => format!("{least_ms}ms"),
    }
}
