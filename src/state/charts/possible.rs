//! The cells of a chart that have entries, and the scopes that could have some.

use super::available::Available;
use super::folded::{Charts, Filter};
use super::period::scopes;
use reprise_dataflows::rules::definition::{Scope, ScopeKind, TRENDING};
use std::ops::Bound;

/// The most periods that [`Charts::available`] names.
const PERIODS_MAX: usize = 10;

/// The most scopes that [`Charts::available`] names.
const SCOPES_MAX: usize = 20;

/// The most scopes that are searched for entries in one period.
const LOOKED_AT_MAX: usize = 1000;

impl Charts {
    /// Periods and scopes of `chart` with entries: periods of `scope` and scopes of the period that
    /// begins on `start_day` if there are any, otherwise of the whole chart.
    pub fn available(&self, chart: u32, scope: Option<&Scope>, start_day: Option<i32>) -> Available {
        let of_scope = |scope: Option<&Scope>| {
            let filter = Filter {
                chart: Some(self.definitions.name(chart).to_owned()),
                scope: scope.cloned(),
                ..Filter::default()
            };
            let mut days: Vec<i32> = self.keys(&filter).into_iter().map(|(_, _, day)| *day).collect();
            days.sort_unstable();
            days.dedup();
            days
        };
        let mut days = scope.map(|scope| of_scope(Some(scope))).unwrap_or_default();
        if days.is_empty() {
            days = of_scope(self.has_global(chart).then_some(&Scope::Global));
        }
        let newest = days.into_iter().rev().take(PERIODS_MAX);
        let periods = newest.map(|day| self.period(chart, Some(day)).0).collect();
        let all = self.scopes_after(chart, None, LOOKED_AT_MAX);
        let has_day =
            |scope: &&Scope| start_day.is_some_and(|day| self.tops.contains_key(&(chart, (*scope).clone(), day)));
        let mut scopes: Vec<String> = all.iter().filter(has_day).take(SCOPES_MAX).map(Scope::name).collect();
        if scopes.is_empty() {
            scopes = all.iter().take(SCOPES_MAX).map(Scope::name).collect();
        }
        Available { periods, scopes }
    }

    /// The first `max` scopes of `chart` after `after` that have entries. The cost is one look-up
    /// for each, whatever the number of periods.
    pub fn scopes_after(&self, chart: u32, after: Option<&Scope>, max: usize) -> Vec<Scope> {
        let behind = |scope: &Scope| Bound::Excluded((chart, scope.clone(), i32::MAX));
        let mut from = after.map_or(Bound::Included((chart, Scope::Global, i32::MIN)), behind);
        let mut found = Vec::new();
        while found.len() < max
            && let Some(((of, scope, _), _)) = self.tops.range((from, Bound::Unbounded)).next()
            && *of == chart
        {
            found.push(scope.clone());
            from = behind(scope);
        }
        found
    }

    /// Whether there can be a cell for `scope`: the global scope, a value that is plausible for its
    /// dimension, or a value of counted plays. Before any chart other than trending has a cell of
    /// this kind of scope, every value is possible.
    pub fn is_possible(&self, scope: &Scope) -> bool {
        match scope {
            Scope::Global => return true,
            Scope::Of(dimension, value) if dimension.is_plausible(value.as_str()) => return true,
            Scope::Of(..) => {}
        }
        let kind = scope.kind();
        let counts = |chart: &u32| scopes(&self.definitions, *chart).contains(&kind);
        let charts = || (0..self.definitions.charts.len() as u32).chain([TRENDING]).filter(counts);
        let has = |chart: u32| {
            self.tops.range((chart, scope.clone(), i32::MIN)..=(chart, scope.clone(), i32::MAX)).next().is_some()
        };
        // The trending window does not count: plays leave it.
        let is_known = |chart: u32| chart != TRENDING && self.has_any(chart, kind);
        charts().any(has) || !charts().any(is_known)
    }

    fn has_any(&self, chart: u32, kind: ScopeKind) -> bool {
        // Scopes are in the order of their kinds.
        let first = Scope::first(kind);
        let next = self.tops.range((chart, first, i32::MIN)..).next();
        next.is_some_and(|((of, scope, _), _)| *of == chart && scope.kind() == kind)
    }

    /// Whether the chart has cells for the global scope.
    pub(super) fn has_global(&self, chart: u32) -> bool {
        scopes(&self.definitions, chart).contains(&ScopeKind::Global)
    }
}
