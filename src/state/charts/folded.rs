//! The tops of all cells, folded up from the differences of epochs.

use super::cell::{AsOf, ChartCell, Entry};
use super::changes::{Changes, add};
use differential_dataflow::consolidation::consolidate;
use reprise_dataflows::names::catalogue::About;
use reprise_dataflows::rank::digest::Inputs;
use reprise_dataflows::rules::definition::{Definitions, ItemKind, Scope, TRENDING};
use std::cmp::Reverse;
use std::collections::btree_map::{BTreeMap, Entry as Slot};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// Where a cell is kept: chart, scope, first day. Of a chart and scope the newest period comes last.
pub type CellKey = (u32, Scope, i32);

/// The items that are in the top of a cell, and their counts. In order of the id, which is how ties are broken.
pub(super) type Top = BTreeMap<Box<str>, i64>;

/// Every cell that has entries. A copy shares with its original what neither has changed since, so it costs little more
/// than a list of the cells and titles that there are.
#[derive(Clone)]
pub struct Charts {
    pub(super) definitions: Arc<Definitions>,
    pub(super) as_of: AsOf,
    pub(super) tops: BTreeMap<CellKey, Arc<Top>>,
    pub(super) titles: HashMap<Arc<str>, Arc<About>>,
    /// What was counted for each chart, in its tops or not.
    pub(super) inputs: BTreeMap<u32, Inputs>,
    /// How often a chart has got its first cell of a scope, or lost its last one.
    pub(super) scope_changes: u64,
}

/// Which cells are asked for; what is `None` is not asked about.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub chart: Option<String>,
    pub scope: Option<Scope>,
    /// As [`ChartCell::period`] has it.
    pub period: Option<String>,
    /// How many entries of each cell, from the top.
    pub limit: Option<usize>,
}

impl Charts {
    pub fn new(definitions: Arc<Definitions>) -> Self {
        let (as_of, tops, titles, inputs, scope_changes) = Default::default();
        Self { definitions, as_of, tops, titles, inputs, scope_changes }
    }

    pub fn definitions(&self) -> &Definitions {
        &self.definitions
    }

    pub fn as_of(&self) -> AsOf {
        self.as_of
    }

    /// Says what the numbers stand for after the last [`apply`](Self::apply).
    pub fn set_as_of(&mut self, as_of: AsOf) {
        self.as_of = as_of;
    }

    /// A number that changes whenever a chart has entries for another set of scopes.
    pub fn scope_changes(&self) -> u64 {
        self.scope_changes
    }

    /// How many cells have entries, and how many tracks those have.
    pub fn sizes(&self) -> (usize, usize) {
        (self.tops.len(), self.titles.len())
    }

    /// The ids of all tracks that are in a top.
    pub fn track_ids(&self) -> Vec<String> {
        let tops = self.tops.iter().filter(|((chart, ..), _)| self.item_kind(*chart) == ItemKind::TRACK);
        let ids: BTreeSet<&str> = tops.flat_map(|(_, top)| top.keys().map(|id| &**id)).collect();
        ids.into_iter().map(str::to_owned).collect()
    }

    /// Folds in what changed in one or more whole epochs.
    pub fn apply(&mut self, changes: Changes) {
        let Changes { ranked, mut titles, inputs } = changes;
        for ((cell, item), change) in ranked {
            self.count((cell.chart, cell.scope, cell.start_day), item.into(), change);
        }
        consolidate(&mut titles);
        let (gone, come): (Vec<_>, Vec<_>) = titles.into_iter().partition(|(_, change)| *change < 0);
        for ((track_id, _), _) in gone {
            self.titles.remove(track_id.as_str());
        }
        self.titles.extend(come.into_iter().map(|((track_id, about), _)| (track_id.into(), Arc::new(about))));
        for (chart, change) in inputs {
            self.inputs.entry(chart).or_default().add(change);
        }
    }

    fn count(&mut self, place: CellKey, item: Box<str>, change: i64) {
        // The cell that has come or gone, and how many cells its chart and scope have if it was the first or the last of them.
        let ((chart, scope, _), cells) = match self.tops.entry(place) {
            Slot::Vacant(_) if change == 0 => return,
            Slot::Vacant(slot) => {
                let place = slot.key().clone();
                slot.insert(Arc::new(Top::from([(item, change)])));
                (place, 1)
            }
            Slot::Occupied(mut top) => {
                add(Arc::make_mut(top.get_mut()), item, change);
                if !top.get().is_empty() {
                    return;
                }
                (top.remove_entry().0, 0)
            }
        };
        let of_scope = (chart, scope.clone(), i32::MIN)..=(chart, scope, i32::MAX);
        if self.tops.range(of_scope).take(2).count() == cells {
            self.scope_changes += 1;
        }
    }

    /// The cells that `filter` asks for and that have entries, by chart, period and scope, in the order of their names.
    pub fn cells(&self, filter: &Filter) -> Vec<ChartCell> {
        let cells = self.sorted(self.places(filter)).into_iter();
        cells.map(|(chart, scope, day)| self.cell(*chart, scope, Some(*day), filter.limit)).collect()
    }

    /// The places that `filter` asks for, in the order in which [`cells`](Self::cells) are.
    pub fn sorted_places(&self, filter: &Filter) -> Vec<CellKey> {
        self.sorted(self.places(filter)).into_iter().cloned().collect()
    }

    /// The newest list of each chart, worldwide where the chart has such lists, down to `limit` entries; by name of chart.
    pub fn heads(&self, limit: usize) -> Vec<ChartCell> {
        let charts = (0..self.definitions.charts.len() as u32).chain([TRENDING]);
        let head = |chart| {
            let day = self.newest(chart, Some(&Scope::Global)).or_else(|| self.newest(chart, None))?;
            self.places_of(chart, None, Some(day)).next()
        };
        let heads = self.sorted(charts.filter_map(head).collect()).into_iter();
        heads.map(|(chart, scope, day)| self.cell(*chart, scope, Some(*day), Some(limit))).collect()
    }

    fn sorted<'a>(&self, mut places: Vec<&'a CellKey>) -> Vec<&'a CellKey> {
        places.sort_by_cached_key(|(chart, scope, start_day)| {
            (self.definitions.name(*chart), self.period(*chart, Some(*start_day)).0, scope.name())
        });
        places
    }

    /// Where the cells that `filter` asks for are; costs about as much as there are.
    pub fn places<'a>(&'a self, filter: &'a Filter) -> Vec<&'a CellKey> {
        let charts: Vec<u32> = match &filter.chart {
            Some(name) => self.definitions.index_of(name).into_iter().collect(),
            None => (0..self.definitions.charts.len() as u32).chain([TRENDING]).collect(),
        };
        let of_chart = |chart: u32| {
            let start_day = match &filter.period {
                None => Some(None),
                Some(period) => self.start_day(chart, period).ok().map(Some),
            };
            start_day.map(|start_day| self.places_of(chart, filter.scope.as_ref(), start_day)).into_iter().flatten()
        };
        charts.into_iter().flat_map(of_chart).collect()
    }

    pub(super) fn places_of<'a>(
        &'a self,
        chart: u32,
        scope: Option<&'a Scope>,
        start_day: Option<i32>,
    ) -> impl Iterator<Item = &'a CellKey> {
        // The global scope is the least, so that is where a chart begins.
        let first = (chart, scope.cloned().unwrap_or(Scope::Global), start_day.unwrap_or(i32::MIN));
        let last_day = match (scope, start_day) {
            (Some(_), Some(start_day)) => start_day,
            _ => i32::MAX,
        };
        self.tops
            .range(first..)
            .map(|(place, _)| place)
            .take_while(move |(c, s, day)| *c == chart && scope.is_none_or(|scope| s == scope) && *day <= last_day)
            .filter(move |(_, _, day)| start_day.is_none_or(|start_day| *day == start_day))
    }

    /// The newest period of `chart` that has entries for `scope`, or for any, as the first day that a [`Cell`] has. Of those that
    /// the clock has reached, if there are any: a device whose clock is ahead must not be all that a reader sees.
    pub fn newest(&self, chart: u32, scope: Option<&Scope>) -> Option<i32> {
        // A chart with global lists has every period there: what counts anywhere counts globally.
        let scope = scope.or_else(|| self.has_global(chart).then_some(&Scope::Global));
        let until = |last: i32| match scope {
            None => self.places_of(chart, None, None).map(|(_, _, day)| *day).filter(|day| *day <= last).max(),
            Some(scope) => {
                let periods = (chart, scope.clone(), i32::MIN)..=(chart, scope.clone(), last);
                self.tops.range(periods).next_back().map(|((_, _, start_day), _)| *start_day)
            }
        };
        until(self.current(chart).unwrap_or(i32::MAX)).or_else(|| until(i32::MAX))
    }

    /// The first `limit` entries of one cell; without entries if nothing has been counted for it.
    ///
    /// Without `start_day` it is the cell of a period that is not known yet, because there is no clock.
    pub fn cell(&self, chart: u32, scope: &Scope, start_day: Option<i32>, limit: Option<usize>) -> ChartCell {
        let (period, start_us, end_us) = self.period(chart, start_day);
        let top = start_day.and_then(|start_day| self.tops.get(&(chart, scope.clone(), start_day)));
        let mut counts: Vec<(&str, i64)> =
            top.into_iter().flat_map(|top| top.iter()).map(|(item, plays)| (&**item, *plays)).collect();
        // Stable: equal counts stay in the order of their ids.
        counts.sort_by_key(|(_, plays)| Reverse(*plays));
        counts.truncate(limit.unwrap_or(usize::MAX));
        let item_kind = self.item_kind(chart);
        let entries = (1..).zip(counts).map(|(rank, (item, plays))| {
            Entry::new(item_kind, rank, item, self.titles.get(item).map(|about| &**about), plays)
        });
        ChartCell {
            chart: self.definitions.name(chart).to_owned(),
            period,
            start_us,
            end_us,
            scope: scope.name(),
            as_of: self.as_of,
            entries: entries.collect(),
            available: None,
        }
    }
}
