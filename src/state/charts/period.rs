//! The meaning of the numbers in a cell's key: the name and times of its period, and the kind of
//! item that its chart lists.
//!
//! The trending window is treated as a chart with one period, which the clock determines.

use reprise_dataflows::rules::definition::{Definitions, ItemKind, Scope, ScopeKind, TRENDING};
use reprise_dataflows::time::{Period, Unreadable, instant_name};

use super::cell::AsOf;
use super::folded::Charts;

/// The name of a period that is unknown because there is no clock: open start, open end.
const UNKNOWN: &str = "../..";

impl Charts {
    /// The name of a period, its first moment, and the first moment after it, in µs since 1970.
    pub fn period(&self, chart: u32, start_day: Option<i32>) -> (String, Option<i64>, Option<i64>) {
        self.period_as_of(chart, start_day, self.as_of)
    }

    /// The same as [`period`](Self::period), but for trending the window at the clock of `as_of`.
    pub fn period_as_of(&self, chart: u32, start_day: Option<i32>, as_of: AsOf) -> (String, Option<i64>, Option<i64>) {
        let Some(definition) = self.definitions.chart(chart) else { return self.window(as_of.clock_us) };
        let Some(start_day) = start_day else { return (UNKNOWN.to_owned(), None, None) };
        let (period, calendar) = (definition.period, &definition.calendar);
        let name = period.name(start_day, calendar.week_starts);
        let end_us = period.end(start_day, calendar.week_starts).map(|end_day| calendar.midnight_us(end_day));
        let start_us = (period != Period::All).then(|| calendar.midnight_us(start_day));
        (name, start_us, end_us)
    }

    fn window(&self, clock_us: Option<i64>) -> (String, Option<i64>, Option<i64>) {
        let Some(clock_us) = clock_us else { return (UNKNOWN.to_owned(), None, None) };
        let (start_us, end_us) = self.definitions.trending.window(clock_us);
        (format!("{}/{}", instant_name(start_us), instant_name(end_us)), Some(start_us), Some(end_us))
    }

    /// The first day of the period with the name `text`, as in the key of a cell.
    ///
    /// # Errors
    /// If `text` is no period of this chart's kind, or for trending not the current window.
    pub fn start_day(&self, chart: u32, text: &str) -> Result<i32, Unreadable> {
        match self.definitions.chart(chart) {
            Some(definition) => definition.period.parse(text, definition.calendar.week_starts),
            None if self.window(self.as_of.clock_us).0 == text => Ok(0),
            None => Err(Unreadable { found: text.to_owned(), expected: "the current window, the only one there is" }),
        }
    }

    /// The first day of the period that the clock is in; `None` while there is no clock.
    pub fn current(&self, chart: u32) -> Option<i32> {
        let clock_us = self.as_of.clock_us?;
        let Some(definition) = self.definitions.chart(chart) else { return Some(0) };
        let day = definition.calendar.local_day(clock_us);
        Some(definition.period.start(day, definition.calendar.week_starts))
    }

    /// The first day of the period of a request that names none: the [`newest`](Self::newest) with
    /// entries for `scope`, or for any scope; without entries the period that the clock is in.
    pub fn usual(&self, chart: u32, scope: Option<&Scope>) -> Option<i32> {
        self.newest(chart, scope).or_else(|| self.current(chart))
    }

    /// The kind of item that the chart lists.
    pub fn item_kind(&self, chart: u32) -> ItemKind {
        self.definitions.chart(chart).map_or(self.definitions.trending.item, |definition| definition.item)
    }
}

/// The kinds of scope that a chart, or the trending window, has lists for.
pub fn scopes(definitions: &Definitions, chart: u32) -> &[ScopeKind] {
    match definitions.chart(chart) {
        Some(definition) => &definition.scopes,
        None if chart == TRENDING => &definitions.trending.scopes,
        None => &[],
    }
}
