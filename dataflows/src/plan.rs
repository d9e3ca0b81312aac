//! What has to be counted, so that every chart can be made from it.
//!
//! Charts that count the same items of the same plays in the same time zone share a [`Grouping`]: its plays are counted
//! once, by the finest [`Key`] that any of them needs, and rolled up to cells on the far side of the exchange.

use serde::{Deserialize, Serialize};

use crate::calendar::{Calendar, Period};
use crate::definition::{Cell, Definitions, Eligible, ItemKind, Scope, ScopeKind, TRENDING};
use crate::label::Label;

/// All groupings of a set of definitions. A [`Key`] names one by its index.
#[derive(Clone, Debug)]
pub struct Plan {
    pub groupings: Vec<Grouping>,
}

/// Charts whose plays are counted together.
#[derive(Clone, Debug)]
pub struct Grouping {
    pub item: ItemKind,
    pub eligible: Eligible,
    pub time: Time,
    pub by_country: bool,
    pub by_device: bool,
    members: Vec<Member>,
}

/// How a grouping divides time.
#[derive(Clone, Debug)]
pub enum Time {
    /// By the days of a calendar's zone.
    Days(Calendar),
    /// By panes of so many µs, for the trending window.
    Panes(i64),
}

/// A chart of a grouping, as far as rolling up is concerned.
#[derive(Clone, Debug)]
struct Member {
    chart: u32,
    period: Period,
    week_starts: jiff::civil::Weekday,
    scopes: Vec<ScopeKind>,
}

/// What a worker counts by, beside the item. Dimensions that no chart of the grouping asks for are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    pub grouping: u32,
    /// A day since 1970 that stands for all the days that fall in the same periods, or a pane since 1970.
    pub bucket: i64,
    pub country: Label,
    pub device: Label,
}

impl Plan {
    pub fn new(definitions: &Definitions) -> Self {
        let trending = &definitions.trending;
        let mut plan = Self { groupings: Vec::new() };
        plan.groupings.push(Grouping::new(trending.item, trending.eligible, Time::Panes(trending.slide_us)));
        plan.groupings[0].join(TRENDING, Period::All, jiff::civil::Weekday::Monday, &trending.scopes);
        for (chart, index) in definitions.charts.iter().zip(0..) {
            let grouping = plan.grouping(chart.item, chart.eligible, &chart.calendar);
            grouping.join(index, chart.period, chart.calendar.week_starts, &chart.scopes);
        }
        plan
    }

    fn grouping(&mut self, item: ItemKind, eligible: Eligible, calendar: &Calendar) -> &mut Grouping {
        let same = |grouping: &Grouping| {
            let zone = match &grouping.time {
                Time::Days(other) => other.zone == calendar.zone,
                Time::Panes(_) => false,
            };
            zone && grouping.item == item && grouping.eligible == eligible
        };
        let index = self.groupings.iter().position(same).unwrap_or_else(|| {
            self.groupings.push(Grouping::new(item, eligible, Time::Days(calendar.clone())));
            self.groupings.len() - 1
        });
        &mut self.groupings[index]
    }

    /// The cells that a key counts in.
    pub fn cells(&self, key: &Key) -> Vec<Cell> {
        let Some(grouping) = self.groupings.get(key.grouping as usize) else { return Vec::new() };
        let mut cells = Vec::new();
        for member in &grouping.members {
            let start_day = grouping.start_day(member, key.bucket);
            cells.extend(member.scopes.iter().map(|scope| Cell {
                chart: member.chart,
                start_day,
                scope: match scope {
                    ScopeKind::Global => Scope::Global,
                    ScopeKind::Country => Scope::Country(key.country.clone()),
                    ScopeKind::Device => Scope::Device(key.device.clone()),
                },
            }));
        }
        cells
    }

    /// Whether any grouping counts items of `kind`.
    pub fn counts(&self, kind: ItemKind) -> bool {
        self.groupings.iter().any(|grouping| grouping.item == kind)
    }

    /// The columns that summarising reads, from plays of which the UTC day is known. `window`: also for trending.
    pub fn columns(&self, window: bool) -> Vec<&'static str> {
        let used = || self.groupings.iter().filter(|grouping| window || !matches!(grouping.time, Time::Panes(_)));
        let mut columns = vec!["song_id", "title", "artist"];
        columns.extend(used().any(|grouping| grouping.by_country).then_some("country"));
        columns.extend(used().any(|grouping| grouping.by_device).then_some("device"));
        columns.extend(used().any(|grouping| grouping.time.needs_timestamps()).then_some("timestamp"));
        columns.extend(used().any(|grouping| grouping.eligible != Eligible::All).then_some("completed"));
        if used().any(|grouping| matches!(grouping.eligible, Eligible::ListenedMs(_))) {
            columns.extend(["duration_ms", "listened_ms"]);
        }
        columns
    }
}

impl Time {
    fn needs_timestamps(&self) -> bool {
        !matches!(self, Self::Days(Calendar { zone: None, .. }))
    }
}

impl Grouping {
    fn new(item: ItemKind, eligible: Eligible, time: Time) -> Self {
        Self { item, eligible, time, by_country: false, by_device: false, members: Vec::new() }
    }

    fn join(&mut self, chart: u32, period: Period, week_starts: jiff::civil::Weekday, scopes: &[ScopeKind]) {
        self.by_country |= scopes.contains(&ScopeKind::Country);
        self.by_device |= scopes.contains(&ScopeKind::Device);
        self.members.push(Member { chart, period, week_starts, scopes: scopes.to_vec() });
    }

    /// The day that stands for `day`: the latest beginning of a period that holds it. It lies in the same periods, and
    /// a month has far fewer of them than days.
    pub fn representative(&self, day: i32) -> i32 {
        let starts = self.members.iter().filter(|member| member.period != Period::All);
        starts.map(|member| member.period.start(day, member.week_starts)).max().unwrap_or(0)
    }

    fn start_day(&self, member: &Member, bucket: i64) -> i32 {
        match self.time {
            Time::Days(_) => member.period.start(bucket as i32, member.week_starts),
            Time::Panes(_) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A day's representative falls in the very periods that the day falls in.
    #[test]
    fn representatives_share_all_periods() {
        let plan = Plan::new(&Definitions::builtin());
        let grouping = &plan.groupings[1];
        let cells = |day| plan.cells(&Key { grouping: 1, bucket: day, ..Key::default() });
        for day in 20_000..21_000 {
            assert_eq!(cells(grouping.representative(day).into()), cells(day.into()), "day {day}");
        }
    }

    #[test]
    fn default_charts_share_one_grouping() {
        let plan = Plan::new(&Definitions::builtin());
        assert_eq!(plan.groupings.len(), 2);
        assert_eq!(plan.columns(false), ["song_id", "title", "artist", "country", "completed"]);
        assert_eq!(plan.columns(true), ["song_id", "title", "artist", "country", "timestamp", "completed"]);
    }
}
