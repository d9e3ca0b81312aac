//! The tops of all cells, folded from the differences of epochs.

use super::cell::{AsOf, ChartCell, Entry};
use super::changes::{Changes, add};
use differential_dataflow::consolidation::consolidate;
use reprise_dataflows::names::catalogue::TrackInfo;
use reprise_dataflows::rank::digest::Inputs;
use reprise_dataflows::rules::definition::{Definitions, ItemKind, Scope, TRENDING};
use std::cmp::Reverse;
use std::collections::btree_map::{BTreeMap, Entry as Slot};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// The key of a cell: chart, scope, first day of the period. Within a chart and scope the newest
/// period sorts last.
pub type CellKey = (u32, Scope, i32);

/// The items in the top of a cell and their counts, in the order of the ids, which breaks ties.
pub(super) type Top = BTreeMap<Box<str>, i64>;

/// Every cell that has entries. A copy shares all unchanged tops and titles with its original, so
/// it costs little more than a list of their keys.
#[derive(Clone)]
pub struct Charts {
    /// The definitions of the charts.
    pub(super) definitions: Arc<Definitions>,
    /// The state that the counts hold for.
    pub(super) as_of: AsOf,
    /// The top of each cell; none is empty.
    pub(super) tops: BTreeMap<CellKey, Arc<Top>>,
    /// The title and artist of each track in a top, by its id.
    pub(super) titles: HashMap<Arc<str>, Arc<TrackInfo>>,
    /// All plays that were counted for each chart, in its tops or not.
    pub(super) inputs: BTreeMap<u32, Inputs>,
    /// How often a chart has gained its first cell of a scope, or lost its last one.
    pub(super) scope_changes: u64,
}

/// Selects cells; a field that is `None` does not restrict the selection.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// The chart's name.
    pub chart: Option<String>,
    /// The scope.
    pub scope: Option<Scope>,
    /// The period, in the form of [`ChartCell::period`].
    pub period: Option<String>,
    /// The most entries of each cell, from the top.
    pub limit: Option<usize>,
}

impl Charts {
    /// Charts without entries.
    pub fn new(definitions: Arc<Definitions>) -> Self {
        let (as_of, tops, titles, inputs, scope_changes) = Default::default();
        Self { definitions, as_of, tops, titles, inputs, scope_changes }
    }

    /// The definitions of the charts.
    pub fn definitions(&self) -> &Definitions {
        &self.definitions
    }

    /// The state that the counts hold for.
    pub fn as_of(&self) -> AsOf {
        self.as_of
    }

    /// Sets the state that the counts hold for after the last [`apply`](Self::apply).
    pub fn set_as_of(&mut self, as_of: AsOf) {
        self.as_of = as_of;
    }

    /// A counter that changes whenever the set of scopes with entries changes in any chart.
    pub fn scope_changes(&self) -> u64 {
        self.scope_changes
    }

    /// The number of cells with entries, and of tracks in them.
    pub fn sizes(&self) -> (usize, usize) {
        (self.tops.len(), self.titles.len())
    }

    /// The ids of all tracks that are in a top.
    pub fn track_ids(&self) -> Vec<String> {
        let tops = self.tops.iter().filter(|((chart, ..), _)| self.item_kind(*chart) == ItemKind::TRACK);
        let ids: BTreeSet<&str> = tops.flat_map(|(_, top)| top.keys().map(|id| &**id)).collect();
        ids.into_iter().map(str::to_owned).collect()
    }

    /// Folds in the changes of one or more whole epochs.
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
        self.titles.extend(come.into_iter().map(|((track_id, info), _)| (track_id.into(), Arc::new(info))));
        for (chart, change) in inputs {
            self.inputs.entry(chart).or_default().add(change);
        }
    }

    fn count(&mut self, place: CellKey, item: Box<str>, change: i64) {
        // The cell that was added or removed, and the number of cells that its chart and scope then
        // have if the set of scopes has changed: 1 for the first cell, 0 after the last.
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

    /// The cells that `filter` selects and that have entries, sorted by the names of chart, period
    /// and scope.
    pub fn cells(&self, filter: &Filter) -> Vec<ChartCell> {
        let cells = self.sorted(self.keys(filter)).into_iter();
        cells.map(|(chart, scope, day)| self.cell(*chart, scope, Some(*day), filter.limit)).collect()
    }

    /// The keys of the cells that `filter` selects, in the order of [`cells`](Self::cells).
    pub fn sorted_keys(&self, filter: &Filter) -> Vec<CellKey> {
        self.sorted(self.keys(filter)).into_iter().cloned().collect()
    }

    /// The newest cell of each chart, global if the chart has global cells, with at most `limit`
    /// entries; sorted by the chart's name.
    pub fn heads(&self, limit: usize) -> Vec<ChartCell> {
        let charts = (0..self.definitions.charts.len() as u32).chain([TRENDING]);
        let head = |chart| {
            let day = self.newest(chart, Some(&Scope::Global)).or_else(|| self.newest(chart, None))?;
            self.keys_of(chart, None, Some(day)).next()
        };
        let heads = self.sorted(charts.filter_map(head).collect()).into_iter();
        heads.map(|(chart, scope, day)| self.cell(*chart, scope, Some(*day), Some(limit))).collect()
    }

    fn sorted<'a>(&self, mut keys: Vec<&'a CellKey>) -> Vec<&'a CellKey> {
        keys.sort_by_cached_key(|(chart, scope, start_day)| {
            (self.definitions.name(*chart), self.period(*chart, Some(*start_day)).0, scope.name())
        });
        keys
    }

    /// The keys of the cells that `filter` selects, in no particular order. The cost is
    /// proportional to the number of cells of the selected charts and scope.
    pub fn keys<'a>(&'a self, filter: &'a Filter) -> Vec<&'a CellKey> {
        let charts: Vec<u32> = match &filter.chart {
            Some(name) => self.definitions.index_of(name).into_iter().collect(),
            None => (0..self.definitions.charts.len() as u32).chain([TRENDING]).collect(),
        };
        let of_chart = |chart: u32| {
            let start_day = match &filter.period {
                None => Some(None),
                Some(period) => self.start_day(chart, period).ok().map(Some),
            };
            start_day.map(|start_day| self.keys_of(chart, filter.scope.as_ref(), start_day)).into_iter().flatten()
        };
        charts.into_iter().flat_map(of_chart).collect()
    }

    /// The keys of the cells of `chart`, restricted to `scope` and to the period that begins on
    /// `start_day` if these are given.
    pub(super) fn keys_of<'a>(
        &'a self,
        chart: u32,
        scope: Option<&'a Scope>,
        start_day: Option<i32>,
    ) -> impl Iterator<Item = &'a CellKey> {
        // The global scope is the least, so a chart's keys begin there.
        let first = (chart, scope.cloned().unwrap_or(Scope::Global), start_day.unwrap_or(i32::MIN));
        let last_day = match (scope, start_day) {
            (Some(_), Some(start_day)) => start_day,
            _ => i32::MAX,
        };
        self.tops
            .range(first..)
            .map(|(key, _)| key)
            .take_while(move |(c, s, day)| *c == chart && scope.is_none_or(|scope| s == scope) && *day <= last_day)
            .filter(move |(_, _, day)| start_day.is_none_or(|start_day| *day == start_day))
    }

    /// The first day of the newest period of `chart` that has entries for `scope`, or for any
    /// scope. Periods that the clock has not reached are taken only if there is no other, so that
    /// plays of a device whose clock is ahead do not hide the rest.
    pub fn newest(&self, chart: u32, scope: Option<&Scope>) -> Option<i32> {
        // The global scope has every period, because every play that counts counts there.
        let scope = scope.or_else(|| self.has_global(chart).then_some(&Scope::Global));
        let until = |last: i32| match scope {
            None => self.keys_of(chart, None, None).map(|(_, _, day)| *day).filter(|day| *day <= last).max(),
            Some(scope) => {
                let periods = (chart, scope.clone(), i32::MIN)..=(chart, scope.clone(), last);
                self.tops.range(periods).next_back().map(|((_, _, start_day), _)| *start_day)
            }
        };
        until(self.current(chart).unwrap_or(i32::MAX)).or_else(|| until(i32::MAX))
    }

    /// One cell with its first `limit` entries; without entries if nothing has been counted for it.
    ///
    /// `start_day` is `None` if there is no clock, so that the current period is unknown.
    pub fn cell(&self, chart: u32, scope: &Scope, start_day: Option<i32>, limit: Option<usize>) -> ChartCell {
        let (period, start_us, end_us) = self.period(chart, start_day);
        let top = start_day.and_then(|start_day| self.tops.get(&(chart, scope.clone(), start_day)));
        let mut counts: Vec<(&str, i64)> =
            top.into_iter().flat_map(|top| top.iter()).map(|(item, plays)| (&**item, *plays)).collect();
        // The sort is stable: equal counts stay in the order of their ids.
        counts.sort_by_key(|(_, plays)| Reverse(*plays));
        counts.truncate(limit.unwrap_or(usize::MAX));
        let item_kind = self.item_kind(chart);
        let entries = (1..).zip(counts).map(|(rank, (item, plays))| {
            Entry::new(item_kind, rank, item, self.titles.get(item).map(|info| &**info), plays)
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
