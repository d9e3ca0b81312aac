//! The sliding window: panes of one slide, each of which enters once and leaves once.
//!
//! A pane that enters adds its counts, one that leaves retracts them, and [`crate::rank`] does the rest. What is late goes
//! to its pane, and to the window if the pane is in it. What is early waits for the window to come. Panes that have left are kept
//! for a while, so that a window of the past can be asked for.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use differential_dataflow::{AsCollection, VecCollection};
use foldhash::fast::RandomState;
use timely::dataflow::StreamVec;
use timely::dataflow::operators::Concat;
use timely::dataflow::operators::vec::Map;

use crate::count::pane::Pane;
use crate::keys::interner::Interner;
use crate::keys::item::ItemKey;
use crate::names::catalogue::Names;
use crate::operators::exchange::Scatter;
use crate::operators::{Closing, EpochFold, Outputs, by_epoch};
use crate::query::{Answer, Finding, Query, QueryKind, named};
use crate::rules::definition::{Cell, Definitions, ItemKind, TRENDING};
use crate::rules::plan::Tally;
use crate::rules::plan::{Key, Plan};
use crate::tick::{Epoch, Tick};

/// The tallies of the panes that are in the window at each epoch's clock, with the pane taken out of their keys; and answers to
/// the `queries` about a window of the past.
///
/// `tallies` are keyed by pane; `ticks` say the clock of each epoch. Ticks and queries come to every worker.
pub fn window<'scope>(
    tallies: VecCollection<'scope, Epoch, Tally, i64>,
    ticks: StreamVec<'scope, Epoch, Tick>,
    queries: StreamVec<'scope, Epoch, Query>,
    definitions: &Definitions,
    names: &Names,
) -> (VecCollection<'scope, Epoch, Tally, i64>, StreamVec<'scope, Epoch, Answer>) {
    let by_item = Scatter(|((_, item), _, _): &(Tally, Epoch, i64)| item.route());
    let told = ticks.map(|tick| Told::Clock(tick.clock_us)).concat(queries.map(Told::Query));
    let (tallies, answers) = by_epoch("Window", tallies.inner, by_item, told, Window::new(definitions, names.clone()));
    (tallies.as_collection(), answers)
}

/// What the window is told for an epoch.
#[derive(Clone)]
enum Told {
    Clock(Option<i64>),
    Query(Query),
}

impl EpochFold<Epoch> for Window {
    type Update = (Tally, Epoch, i64);
    type Query = Told;
    type Outputs = ((Tally, Epoch, i64), Answer);

    fn update(&mut self, tallies: Vec<Self::Update>) {
        self.take(tallies);
    }

    fn query(&mut self, told: Vec<Told>) {
        for told in told {
            match told {
                Told::Clock(clock_us) => self.clock_us = clock_us,
                Told::Query(query) => self.queries.push(query),
            }
        }
    }

    fn close(&mut self, time: &Epoch, (tallies, answers): <Self::Outputs as Outputs<Epoch>>::Emit<'_>) -> Closing {
        self.close_epoch(|tally, diff| tallies((tally, *time, diff)));
        for Query { id, kind } in std::mem::take(&mut self.queries) {
            self.answer(&kind).into_iter().for_each(|found| answers(Answer { id, found }));
        }
        Closing::Done
    }
}

/// One worker's panes.
struct Window {
    plan: Plan,
    names: Names,
    /// Those of the open epoch.
    queries: Vec<Query>,
    item: ItemKind,
    slide_us: i64,
    panes_in_window: i64,
    /// How many panes before the window are kept.
    panes_kept: i64,
    clock_us: Option<i64>,
    /// The panes that are in the window, `[start, end)`; none before there is a clock.
    in_window: Range<i64>,
    /// Those before the window, in it, and to come.
    panes: BTreeMap<i64, Pane>,
    /// The first pane of which all plays are there, since the clock has begun.
    known_from: Option<i64>,
    /// Tallies of the open epoch: pane, key, item and count.
    new: Vec<(i64, u32, u32, i64)>,
    keys: Interner<Key>,
    items: Interner<ItemKey>,
    /// Interner of items; empty between calls.
    found: Vec<u32>,
}

impl Window {
    fn new(definitions: &Definitions, names: Names) -> Self {
        let trending = &definitions.trending;
        Self {
            plan: Plan::new(definitions),
            names,
            queries: Vec::new(),
            item: trending.item,
            slide_us: trending.slide_us,
            panes_in_window: trending.window_us / trending.slide_us,
            panes_kept: trending.history_us / trending.slide_us,
            clock_us: None,
            in_window: 0..0,
            panes: BTreeMap::new(),
            known_from: None,
            new: Vec::new(),
            keys: Interner::default(),
            items: Interner::default(),
            found: Vec::new(),
        }
    }

    /// Notes tallies of the open epoch, by numbers: of a history they are many, and all wait for its end.
    fn take(&mut self, mut tallies: Vec<(Tally, Epoch, i64)>) {
        tallies.retain(|((key, _), ..)| !self.is_forgotten(key.bucket));
        let mut items = std::mem::take(&mut self.found);
        self.items.number_all(tallies.iter().map(|((_, item), ..)| item), &mut items, |_| ());
        for (((mut key, _), _, count), item) in tallies.into_iter().zip(items.drain(..)) {
            let pane = std::mem::take(&mut key.bucket);
            self.new.push((pane, self.keys.number(&key), item, count));
        }
        self.found = items;
    }

    /// Whether a pane is too old for any window that can be asked for.
    fn is_forgotten(&self, pane: i64) -> bool {
        self.known_from.is_some_and(|known_from| pane < known_from)
    }

    /// Moves the window to the clock, then takes in the epoch's tallies, and says what changed in the window.
    fn close_epoch(&mut self, mut change: impl FnMut(Tally, i64)) {
        if let Some(clock_us) = self.clock_us {
            let end = clock_us.div_euclid(self.slide_us) + 1;
            self.slide(end - self.panes_in_window..end, &mut change);
        }
        for (pane, key, item, count) in std::mem::take(&mut self.new) {
            if self.is_forgotten(pane) {
                continue;
            }
            self.panes.entry(pane).or_default().add(item, key, count);
            if self.in_window.contains(&pane) {
                change((self.keys.get(key).clone(), *self.items.get(item)), count);
            }
        }
    }

    fn slide(&mut self, to: Range<i64>, change: &mut impl FnMut(Tally, i64)) {
        let from = std::mem::replace(&mut self.in_window, to.clone());
        if from == to {
            return;
        }
        for (index, pane) in &mut self.panes {
            let diff = i64::from(to.contains(index)) - i64::from(from.contains(index));
            if diff != 0 || pane.is_loose() {
                pane.settle();
            }
            if diff != 0 {
                for (item, key, count) in pane.counts() {
                    change((self.keys.get(key).clone(), *self.items.get(item)), diff * count);
                }
            }
        }
        let known_from = self.known_from.get_or_insert(to.start);
        *known_from = (*known_from).max(to.start - self.panes_kept);
        self.panes = self.panes.split_off(known_from);
    }

    /// What this worker's items have in a window of the past.
    fn answer(&self, kind: &QueryKind) -> Vec<Finding> {
        let names = &self.names;
        let QueryKind::Window { end_us, scope, limit } = kind else { return Vec::new() };
        let end = end_us.div_euclid(self.slide_us);
        let cell = Cell { chart: TRENDING, start_day: 0, scope: scope.clone() };
        let asked_for: Vec<bool> = self.keys.all().iter().map(|key| self.plan.cells(key).contains(&cell)).collect();
        let mut plays = HashMap::<u32, i64, RandomState>::default();
        let counts = self.panes.range(end - self.panes_in_window..end).flat_map(|(_, pane)| pane.counts());
        for (item, _, count) in counts.filter(|(_, key, _)| asked_for[*key as usize]) {
            *plays.entry(item).or_default() += count;
        }
        let plays = plays.into_iter().filter(|(_, plays)| *plays > 0);
        let mut plays: Vec<(ItemKey, i64)> = plays.map(|(item, plays)| (*self.items.get(item), plays)).collect();
        plays.sort_by_cached_key(|(item, plays)| (Reverse(*plays), names.text(item)));
        plays.truncate(*limit);
        let known_from = self.known_from.map(|pane| Finding::KnownFrom(pane * self.slide_us));
        let found = plays.into_iter().map(|(item, plays)| named(self.item, &item, plays, names));
        known_from.into_iter().chain(found).collect()
    }
}
