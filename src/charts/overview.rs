//! What charts there are, and what is in them: the list from which a reader picks a cell.

use std::collections::BTreeSet;

use reprise_dataflows::calendar::Period;
use reprise_dataflows::definition::{Eligible, ItemKind, Measure, Scope, ScopeKind, TRENDING};
use serde::Serialize;

use super::{Charts, Filter};

/// One chart: its definition, in the words of `charts.toml`, and the periods and scopes that have entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Overview {
    pub name: String,
    /// Absent of trending, which has a window instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period: Option<Period>,
    /// The time zone whose midnight ends a day, by its name in the IANA database; absent of UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Only of trending.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window_ms: Option<i64>,
    /// Only of trending.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slide_ms: Option<i64>,
    pub scopes: Vec<ScopeKind>,
    pub item: ItemKind,
    pub measure: Measure,
    pub eligible: String,
    pub top: usize,
    pub with_entries: WithEntries,
}

/// Which cells of a chart can be asked for. Not every pair of the two has entries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WithEntries {
    /// From the oldest to the newest.
    pub periods: Vec<String>,
    /// The one that is meant when none is named. Later ones have not begun by the clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newest: Option<String>,
    pub scopes: Vec<String>,
}

impl Charts {
    /// The trending window, then the charts as they are defined.
    pub fn overview(&self) -> Vec<Overview> {
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
            with_entries: self.with_entries(TRENDING),
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
            with_entries: self.with_entries(index),
        });
        [window].into_iter().chain(charts).collect()
    }

    fn with_entries(&self, chart: u32) -> WithEntries {
        let filter = Filter { chart: Some(self.definitions.name(chart).to_owned()), ..Filter::default() };
        let places = self.places(&filter);
        let start_days: BTreeSet<i32> = places.iter().map(|(_, _, start_day)| *start_day).collect();
        let mut scopes: Vec<&Scope> = places.iter().map(|(_, scope, _)| scope).collect();
        // The places of a scope are next to each other.
        scopes.dedup();
        WithEntries {
            periods: start_days.into_iter().map(|start_day| self.period(chart, Some(start_day)).0).collect(),
            newest: self.newest(chart, None).map(|start_day| self.period(chart, Some(start_day)).0),
            scopes: scopes.into_iter().map(Scope::name).collect(),
        }
    }
}

/// As `charts.toml` writes it.
pub(super) fn eligible_name(eligible: Eligible) -> String {
    match eligible {
        Eligible::All => "all".to_owned(),
        Eligible::Completed => "completed".to_owned(),
        Eligible::ListenedMs(least_ms) if least_ms % 1000 == 0 => format!("{}s", least_ms / 1000),
        Eligible::ListenedMs(least_ms) => format!("{least_ms}ms"),
    }
}
