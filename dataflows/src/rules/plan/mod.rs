//! The counts from which every chart can be made.
//!
//! Charts that count the same items of the same plays in the same time zone share a [`Grouping`].
//! Its plays are counted once, by the finest [`Key`] that any of these charts needs, and rolled up
//! to cells after the exchange, by the worker that owns the item.

#[cfg(test)]
mod tests;
pub mod translation;

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::definition::{Cell, Definitions, Eligible, ItemKind, Measure, Scope, ScopeKind, TRENDING, TRENDING_NAME};
use crate::keys::dimension::Dimension;
use crate::keys::item::ItemKey;
use crate::keys::label::Label;
use crate::keys::labels::Labels;
use crate::play::PlayBatch;
use crate::time::{Calendar, Period};

/// The grouping of the trending window is always the first.
const TRENDING_GROUPING: usize = 0;

/// The groupings of a set of definitions.
///
/// ```
/// use reprise_dataflows::keys::label::Label;
/// use reprise_dataflows::rules::definition::{Cell, Definitions};
/// use reprise_dataflows::rules::plan::{Key, Plan};
///
/// // Weekly, monthly and all-time charts of completed plays: one count serves all three.
/// let definitions = Definitions::builtin();
/// let plan = Plan::new(&definitions);
/// assert_eq!(plan.groupings.len(), 2, "the window, and all charts by period");
///
/// // A play in Portugal on 2026-11-20, under the key by which it is counted.
/// let bucket = plan.groupings[1].representative(20_777).into();
/// let labels = [Label::new("PT")].into_iter().collect();
/// let cells = plan.cells(&Key { grouping: 1, bucket, labels });
/// let name = |cell: &Cell| format!("{} {}", definitions.name(cell.chart), cell.scope.name());
/// let mut names: Vec<String> = cells.iter().map(name).collect();
/// names.sort();
/// assert_eq!(names[..4], ["all-time PT", "all-time global", "monthly PT", "monthly global"]);
/// assert_eq!(names[4..], ["weekly PT", "weekly global"]);
/// ```
#[derive(Clone, Debug)]
pub struct Plan {
    /// The groupings. A [`Key`] refers to one by its index; the first is that of the trending
    /// window.
    pub groupings: Vec<Grouping>,
    /// The names of the charts, in the order of the definitions.
    names: Vec<String>,
}

/// Charts whose plays are counted together.
#[derive(Clone, Debug)]
pub struct Grouping {
    /// The kind of items that are counted.
    pub item: ItemKind,
    /// The plays that are counted.
    pub eligible: Eligible,
    /// The quantity that is counted. A grouping by user serves one chart and one kind of scope, so
    /// that each key is a cell: the listeners of a country do not add up to those of all countries.
    pub measure: Measure,
    /// How time is divided into buckets.
    pub time: Time,
    /// The dimensions of all its charts, in order. A [`Key`] has a label for each.
    pub dimensions: Vec<Dimension>,
    members: Vec<Member>,
}

/// How a grouping divides time.
#[derive(Clone, Debug)]
pub enum Time {
    /// Into days of the calendar's time zone. Its weekday is not used: each chart has its own.
    Days(Calendar),
    /// Into panes of this length in µs, for the trending window.
    Panes(i64),
}

/// A chart of a grouping, with what rolling up needs.
#[derive(Clone, Debug)]
struct Member {
    chart: u32,
    period: Period,
    week_starts: jiff::civil::Weekday,
    scopes: Vec<ScopeKind>,
}

/// The key under which a worker counts an item: bucket of time and labels.
///
/// ```
/// use reprise_dataflows::keys::label::Label;
/// use reprise_dataflows::rules::definition::Definitions;
/// use reprise_dataflows::rules::plan::{Key, Plan};
///
/// // With weeks and months, days count together until a week or a month begins: November 2026 has
/// // six buckets.
/// let plan = Plan::new(&Definitions::builtin());
/// let november = 20_758..20_788;
/// let keys = november.map(|day| Key {
///     grouping: 1,
///     bucket: plan.groupings[1].representative(day).into(),
///     labels: [Label::new("PT")].into_iter().collect(),
/// });
/// let mut keys: Vec<Key> = keys.collect();
/// keys.dedup();
/// assert_eq!(keys.len(), 6);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    /// The index of the grouping in [`Plan::groupings`].
    pub grouping: u32,
    /// A day since 1970 that stands for all days in the same periods
    /// ([`Grouping::representative`]), or a pane, counted from 1970.
    pub bucket: i64,
    /// The labels of the dimensions of the grouping, in their order.
    pub labels: Labels,
}

/// An item that is counted, and the key under which it is counted. The count is the difference of
/// the update.
pub type Tally = (Key, ItemKey);

impl Plan {
    /// The plan of all charts in `definitions`.
    pub fn new(definitions: &Definitions) -> Self {
        let trending = &definitions.trending;
        let names = definitions.charts.iter().map(|chart| chart.name.clone()).collect();
        let mut plan = Self { groupings: Vec::new(), names };
        plan.groupings.push(Grouping::new(trending.item, trending.eligible, Time::Panes(trending.slide_us)));
        plan.groupings[TRENDING_GROUPING].join(TRENDING, Period::All, jiff::civil::Weekday::Monday, &trending.scopes);
        for (chart, index) in definitions.charts.iter().zip(0..) {
            match chart.measure {
                Measure::Plays => {
                    let grouping = plan.grouping(chart.item, chart.eligible, &chart.calendar);
                    grouping.join(index, chart.period, chart.calendar.week_starts, &chart.scopes);
                }
                Measure::Listeners => plan.groupings.extend(chart.scopes.iter().map(|scope| {
                    let time = Time::Days(chart.calendar.clone());
                    let mut grouping = Grouping::new(chart.item, chart.eligible, time);
                    grouping.measure = Measure::Listeners;
                    grouping.join(index, chart.period, chart.calendar.week_starts, &[*scope]);
                    grouping
                })),
            }
        }
        plan
    }

    /// The grouping of a chart; a new one if no other chart counts the same.
    fn grouping(&mut self, item: ItemKind, eligible: Eligible, calendar: &Calendar) -> &mut Grouping {
        let same = |grouping: &Grouping| {
            let zone = match &grouping.time {
                Time::Days(other) => other.zone == calendar.zone,
                Time::Panes(_) => false,
            };
            zone && grouping.item == item && grouping.eligible == eligible && !grouping.is_by_user()
        };
        let index = self.groupings.iter().position(same).unwrap_or_else(|| {
            self.groupings.push(Grouping::new(item, eligible, Time::Days(calendar.clone())));
            self.groupings.len() - 1
        });
        &mut self.groupings[index]
    }

    /// The cells in which the plays under `key` count.
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

    /// The kinds of items that any grouping counts, in order.
    pub fn items(&self) -> impl Iterator<Item = ItemKind> {
        ItemKind::all().filter(|kind| self.counts(*kind))
    }

    /// The dimensions by which any grouping counts, in order.
    pub fn dimensions(&self) -> impl Iterator<Item = Dimension> {
        Dimension::all()
            .filter(|dimension| self.groupings.iter().any(|grouping| grouping.dimensions.contains(dimension)))
    }

    /// The columns that [`summarise`](crate::count::summarise) needs of a batch whose UTC day is
    /// known. `window` adds the columns that only the trending window needs.
    ///
    /// ```
    /// use reprise_dataflows::rules::definition::Definitions;
    /// use reprise_dataflows::rules::plan::Plan;
    ///
    /// let plan = Plan::new(&Definitions::builtin());
    /// // Old plays count by the day of their partition: the reader skips the timestamps.
    /// assert_eq!(plan.columns(false), ["song_id", "title", "artist", "country", "completed"]);
    /// assert!(plan.columns(true).contains(&"timestamp"));
    /// ```
    pub fn columns(&self, window: bool) -> Vec<&'static str> {
        let used = || self.groupings.iter().filter(|grouping| window || !grouping.is_window());
        let mut columns = vec!["song_id", "title", "artist"];
        columns.extend(
            self.items().filter(|kind| !columns.contains(&kind.column())).map(ItemKind::column).collect::<Vec<_>>(),
        );
        let is_used = |dimension: &Dimension| used().any(|grouping| grouping.dimensions.contains(dimension));
        columns.extend(Dimension::all().filter(is_used).map(Dimension::column));
        columns.extend(used().any(Grouping::is_by_user).then_some("user_id"));
        columns.extend(used().any(|grouping| grouping.time.needs_timestamps()).then_some("timestamp"));
        columns.extend(used().any(|grouping| grouping.eligible != Eligible::All).then_some("completed"));
        if used().any(|grouping| matches!(grouping.eligible, Eligible::ListenedMs(_))) {
            columns.extend(["duration_ms", "listened_ms"]);
        }
        columns
    }

    /// The names of the charts that cannot be counted from batches without `column`, which must be
    /// one of the columns that every play has: a chart can do without the others.
    ///
    /// ```
    /// use reprise_dataflows::rules::definition::Definitions;
    /// use reprise_dataflows::rules::plan::Plan;
    ///
    /// let plan = Plan::new(&Definitions::parse("[trending]\nscopes = ['global', 'device']")?);
    /// assert_eq!(plan.charts_that_need("device"), ["trending"]);
    /// assert_eq!(plan.charts_that_need("country"), ["weekly", "monthly", "all-time"]);
    /// # Ok::<(), reprise_dataflows::rules::charts_toml::DefinitionError>(())
    /// ```
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
    /// The same plan, which counts nothing for the trending window.
    pub fn without_window(mut self) -> Self {
        self.groupings[TRENDING_GROUPING].members.clear();
        self
    }
}

impl Time {
    /// Whether the UTC day of a play is not enough to find its bucket.
    fn needs_timestamps(&self) -> bool {
        !matches!(self, Self::Days(Calendar { zone: None, .. }))
    }
}

impl Grouping {
    fn new(item: ItemKind, eligible: Eligible, time: Time) -> Self {
        Self { item, eligible, measure: Measure::Plays, time, dimensions: Vec::new(), members: Vec::new() }
    }

    /// Adds a chart.
    fn join(&mut self, chart: u32, period: Period, week_starts: jiff::civil::Weekday, scopes: &[ScopeKind]) {
        let added = scopes.iter().filter_map(|scope| match scope {
            ScopeKind::Global => None,
            ScopeKind::By(dimension) => Some(*dimension),
        });
        self.dimensions.extend(added);
        self.dimensions.sort_unstable();
        self.dimensions.dedup();
        self.members.push(Member { chart, period, week_starts, scopes: scopes.to_vec() });
    }

    /// Whether a chart of the grouping needs `column`, one of the columns that may not be null.
    fn needs(&self, member: &Member, column: &str) -> bool {
        match column {
            "song_id" | "title" | "artist" => true,
            "user_id" => self.is_by_user(),
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

    /// The label of `key` for a dimension of the grouping.
    fn label(&self, key: &Key, dimension: Dimension) -> Label {
        self.dimensions
            .iter()
            .position(|other| *other == dimension)
            .map_or_else(Label::default, |place| key.labels.get(place))
    }

    /// Whether it is the grouping of the trending window.
    pub fn is_window(&self) -> bool {
        matches!(self.time, Time::Panes(_))
    }

    /// Whether its measure depends on the user, so that it is counted by
    /// [`by_user`](mod@crate::count) and not by worker.
    pub fn is_by_user(&self) -> bool {
        self.measure != Measure::Plays
    }

    /// Whether the plays of a batch count in this grouping.
    pub fn wants(&self, batch: &PlayBatch) -> bool {
        !self.members.is_empty() && (self.is_window() || !batch.is_for_window_only())
    }

    /// The bucket of all plays of a batch that count, if it is known to be the same.
    pub fn bucket_of(&self, batch: &PlayBatch) -> Option<i64> {
        match &self.time {
            Time::Days(calendar) if calendar.zone.is_none() => Some(self.representative(batch.day()?).into()),
            Time::Days(_) => None,
            // A fixed window never moves, and any of its panes will do.
            Time::Panes(slide_us) => {
                self.fixed_window(batch).map(|(window_us, _)| (window_us.end - 1).div_euclid(*slide_us))
            }
        }
    }

    /// For the grouping of the trending window and a batch with a fixed window: the window, and the
    /// event times of the plays. Plays outside the window do not count.
    pub fn fixed_window<'a>(&self, batch: &'a PlayBatch) -> Option<(&'a Range<i64>, &'a [i64])> {
        let window_us = batch.fixed_window_us().filter(|_| self.is_window())?;
        Some((window_us, batch.timestamps_us()?))
    }

    /// The day that stands for `day` in keys: the latest first day of the periods that hold it.
    /// Both days lie in the same periods, and there are far fewer such days.
    pub fn representative(&self, day: i32) -> i32 {
        let starts = self.members.iter().filter(|member| member.period != Period::All);
        starts.map(|member| member.period.start(day, member.week_starts)).max().unwrap_or(0)
    }

    /// The first day of a chart's period that holds `bucket`.
    fn start_day(&self, member: &Member, bucket: i64) -> i32 {
        match self.time {
            Time::Days(_) => member.period.start(bucket as i32, member.week_starts),
            Time::Panes(_) => 0,
        }
    }
}
