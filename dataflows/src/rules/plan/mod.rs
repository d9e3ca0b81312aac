//! What has to be counted, so that every chart can be made from it.
//!
//! Charts that count the same items of the same plays in the same time zone share a [`Grouping`]: its plays are counted
//! once, by the finest [`Key`] that any of them needs, and rolled up to cells on the far side of the exchange.

#[cfg(test)]
mod tests;

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::definition::{Cell, Definitions, Eligible, ItemKind, Scope, ScopeKind, TRENDING, TRENDING_NAME};
use crate::keys::dimension::Dimension;
use crate::keys::item::ItemKey;
use crate::keys::label::Label;
use crate::keys::labels::Labels;
use crate::play::PlayBatch;
use crate::time::{Calendar, Period};

/// The grouping of the trending window is always the first.
const TRENDING_GROUPING: usize = 0;

/// All groupings of a set of definitions. A [`Key`] names one by its index.
#[derive(Clone, Debug)]
pub struct Plan {
    pub groupings: Vec<Grouping>,
    /// What the charts are called, in their order.
    names: Vec<String>,
}

/// Charts whose plays are counted together.
#[derive(Clone, Debug)]
pub struct Grouping {
    pub item: ItemKind,
    pub eligible: Eligible,
    pub time: Time,
    /// In their order; a [`Key`] has a label for each.
    pub dimensions: Vec<Dimension>,
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

/// What a worker counts by, beside the item.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    pub grouping: u32,
    /// A day since 1970 that stands for all the days that fall in the same periods, or a pane since 1970.
    pub bucket: i64,
    /// Of the dimensions of the grouping, in their order.
    pub labels: Labels,
}

/// What is counted; how often, is in the difference.
pub type Tally = (Key, ItemKey);

impl Plan {
    pub fn new(definitions: &Definitions) -> Self {
        let trending = &definitions.trending;
        let names = definitions.charts.iter().map(|chart| chart.name.clone()).collect();
        let mut plan = Self { groupings: Vec::new(), names };
        plan.groupings.push(Grouping::new(trending.item, trending.eligible, Time::Panes(trending.slide_us)));
        plan.groupings[TRENDING_GROUPING].join(TRENDING, Period::All, jiff::civil::Weekday::Monday, &trending.scopes);
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
                    ScopeKind::By(dimension) => Scope::Of(*dimension, grouping.label(key, *dimension)),
                },
            }));
        }
        cells
    }

    /// Whether any grouping counts items of `kind`.
    pub fn counts(&self, kind: ItemKind) -> bool {
        self.groupings.iter().any(|grouping| grouping.item == kind)
    }

    /// The kinds of items that are counted, in their order.
    pub fn items(&self) -> impl Iterator<Item = ItemKind> {
        ItemKind::all().filter(|kind| self.counts(*kind))
    }

    /// The dimensions that are counted by, in their order.
    pub fn dimensions(&self) -> impl Iterator<Item = Dimension> {
        Dimension::all()
            .filter(|dimension| self.groupings.iter().any(|grouping| grouping.dimensions.contains(dimension)))
    }

    /// The columns that summarising reads, from plays of which the UTC day is known. `window`: also for trending.
    pub fn columns(&self, window: bool) -> Vec<&'static str> {
        let used = || self.groupings.iter().filter(|grouping| window || !grouping.is_window());
        let mut columns = vec!["song_id", "title", "artist"];
        columns.extend(
            self.items().filter(|kind| !columns.contains(&kind.column())).map(ItemKind::column).collect::<Vec<_>>(),
        );
        let is_used = |dimension: &Dimension| used().any(|grouping| grouping.dimensions.contains(dimension));
        columns.extend(Dimension::all().filter(is_used).map(Dimension::column));
        columns.extend(used().any(|grouping| grouping.time.needs_timestamps()).then_some("timestamp"));
        columns.extend(used().any(|grouping| grouping.eligible != Eligible::All).then_some("completed"));
        if used().any(|grouping| matches!(grouping.eligible, Eligible::ListenedMs(_))) {
            columns.extend(["duration_ms", "listened_ms"]);
        }
        columns
    }

    /// The names of the charts that cannot be counted from plays without `column`. It is a column that every play has: what
    /// a play may lack, no chart needs.
    pub fn charts_that_need(&self, column: &str) -> Vec<&str> {
        let mut names = Vec::new();
        for grouping in &self.groupings {
            let members = grouping.members.iter().filter(|member| grouping.needs(member, column));
            names.extend(members.map(|member| match self.names.get(member.chart as usize) {
                Some(name) => name.as_str(),
                None => TRENDING_NAME,
            }));
        }
        names
    }
}

impl Plan {
    /// A plan that counts the same days, and nothing for the trending window.
    pub fn without_window(mut self) -> Self {
        self.groupings[TRENDING_GROUPING].members.clear();
        self
    }

    /// What each grouping counts by; `None` for that of the trending window.
    pub fn counted_by(&self) -> Vec<Option<CountedBy>> {
        self.groupings.iter().map(Grouping::counted_by).collect()
    }

    /// How tallies by other dimensions become tallies of this plan, or the dimensions that they lack.
    pub fn translation(&self, from: &[Option<CountedBy>]) -> Result<Translation, Box<CountedBy>> {
        let mut translation = Translation { targets: vec![Vec::new(); from.len()] };
        for (grouping, index) in self.groupings.iter().zip(0..) {
            let Some(wanted) = grouping.counted_by() else { continue };
            let source = from.iter().position(|other| other.as_ref().is_some_and(|other| other.cover(&wanted)));
            let Some(source) = source else { return Err(Box::new(wanted)) };
            let held = from[source].iter().flat_map(|source| &source.dimensions);
            let place = |dimension: &Dimension| held.clone().position(|other| other == dimension);
            let labels = grouping.dimensions.iter().filter_map(place).collect();
            translation.targets[source].push(Target { grouping: index, labels });
        }
        Ok(translation)
    }
}

/// What a grouping counts by, in words that outlive the process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountedBy {
    pub item: ItemKind,
    pub eligible: Eligible,
    /// The IANA name of the time zone of its days; `None` is UTC.
    pub zone: Option<String>,
    pub dimensions: Vec<Dimension>,
    /// The periods that a bucket lies in as a whole, each with the day that begins a week (Monday is 1).
    pub periods: Vec<(Period, i8)>,
}

impl CountedBy {
    /// Whether tallies by these dimensions hold all that tallies by `other` do.
    fn cover(&self, other: &Self) -> bool {
        let exact = self.periods.iter().any(|(period, _)| *period == Period::Day);
        (self.item, self.eligible, &self.zone) == (other.item, other.eligible, &other.zone)
            && other.dimensions.iter().all(|dimension| self.dimensions.contains(dimension))
            && (exact || other.periods.iter().all(|period| self.periods.contains(period)))
    }
}

/// From tallies by some dimensions to those of a plan, key by key.
#[derive(Clone, Debug)]
pub struct Translation {
    /// By the grouping that a key names.
    targets: Vec<Vec<Target>>,
}

#[derive(Clone, Debug)]
struct Target {
    grouping: u32,
    /// Where each of its labels stands in the key that is translated.
    labels: Vec<usize>,
}

impl Translation {
    /// The keys of the plan that the count of `key` adds to.
    pub fn keys(&self, key: &Key) -> Vec<Key> {
        let targets = self.targets.get(key.grouping as usize).map_or(&[][..], Vec::as_slice);
        let translate = |target: &Target| Key {
            grouping: target.grouping,
            bucket: key.bucket,
            labels: target.labels.iter().map(|place| key.labels.get(*place)).collect(),
        };
        targets.iter().map(translate).collect()
    }
}

impl Time {
    fn needs_timestamps(&self) -> bool {
        !matches!(self, Self::Days(Calendar { zone: None, .. }))
    }
}

impl Grouping {
    fn new(item: ItemKind, eligible: Eligible, time: Time) -> Self {
        Self { item, eligible, time, dimensions: Vec::new(), members: Vec::new() }
    }

    fn join(&mut self, chart: u32, period: Period, week_starts: jiff::civil::Weekday, scopes: &[ScopeKind]) {
        let asked = scopes.iter().filter_map(|scope| match scope {
            ScopeKind::Global => None,
            ScopeKind::By(dimension) => Some(*dimension),
        });
        self.dimensions.extend(asked);
        self.dimensions.sort_unstable();
        self.dimensions.dedup();
        self.members.push(Member { chart, period, week_starts, scopes: scopes.to_vec() });
    }

    fn needs(&self, member: &Member, column: &str) -> bool {
        match column {
            "song_id" | "title" | "artist" => true,
            "timestamp" => self.time.needs_timestamps(),
            "completed" => self.eligible != Eligible::All,
            "duration_ms" => matches!(self.eligible, Eligible::ListenedMs(_)),
            _ if self.item.column() == column => true,
            _ => {
                let is_of = |dimension: &Dimension| dimension.column() == column;
                Dimension::all().filter(is_of).any(|dimension| member.scopes.contains(&ScopeKind::By(dimension)))
            }
        }
    }

    /// Whether it is that of the trending window.
    /// The label that `key` has for a dimension of the grouping.
    fn label(&self, key: &Key, dimension: Dimension) -> Label {
        self.dimensions
            .iter()
            .position(|other| *other == dimension)
            .map_or_else(Label::default, |place| key.labels.get(place))
    }

    pub fn is_window(&self) -> bool {
        matches!(self.time, Time::Panes(_))
    }

    /// Whether the plays of a batch are to be counted.
    pub fn wants(&self, batch: &PlayBatch) -> bool {
        !self.members.is_empty() && (self.is_window() || !batch.is_for_window_only())
    }

    /// The bucket that all plays of a batch fall in, as far as they count, if it is one.
    pub fn bucket_of(&self, batch: &PlayBatch) -> Option<i64> {
        match &self.time {
            Time::Days(calendar) if calendar.zone.is_none() => Some(self.representative(batch.day()?).into()),
            Time::Days(_) => None,
            // Where there is one window, any of its panes will do.
            Time::Panes(slide_us) => {
                self.fixed_window(batch).map(|(window_us, _)| (window_us.end - 1).div_euclid(*slide_us))
            }
        }
    }

    /// For the trending window, if it is fixed: the window, and when the plays of a batch happened, of which those outside do not
    /// count.
    pub fn fixed_window<'a>(&self, batch: &'a PlayBatch) -> Option<(&'a Range<i64>, &'a [i64])> {
        let window_us = batch.fixed_window_us().filter(|_| self.is_window())?;
        Some((window_us, batch.timestamps_us()?))
    }

    fn counted_by(&self) -> Option<CountedBy> {
        let Time::Days(calendar) = &self.time else { return None };
        let bounded = self.members.iter().filter(|member| member.period != Period::All);
        let mut periods: Vec<_> = bounded
            .map(|member| match member.period {
                // Only of weeks does it matter how they begin.
                Period::Week => (Period::Week, member.week_starts.to_monday_one_offset()),
                period => (period, 1),
            })
            .collect();
        periods.sort_unstable();
        periods.dedup();
        Some(CountedBy {
            item: self.item,
            eligible: self.eligible,
            zone: calendar.zone.as_ref().and_then(|zone| zone.iana_name()).map(str::to_owned),
            dimensions: self.dimensions.clone(),
            periods,
        })
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
