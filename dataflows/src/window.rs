//! The sliding window: panes of one slide each, which enter the window once and leave it once.
//!
//! ```text
//!              known_from        start                     end
//!                  │               │                         │
//!  … forgotten     │  kept, for    │  in the window: their   │   wait until the window
//!                  │  queries      │  tallies are emitted    │   reaches them
//!  ────────────────┴───────────────┴─────────────────────────┴───────────────────────► panes
//! ```
//!
//! A pane that enters adds its counts, one that leaves retracts them; [`rank`](mod@crate::rank)
//! needs to know nothing of windows. A late play is added to its pane, and to the window if the
//! pane is in it. A play that is ahead of the clock waits in its pane until the window reaches it.
//! Panes that have left are kept for
//! [`Trending::history_us`](crate::rules::definition::Trending::history_us), so that queries can
//! ask for a window of the past.

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

/// Turns tallies by pane into the tallies of the window at the clock of each epoch, and answers the
/// `queries` about a window of the past.
///
/// The bucket of a key in `tallies` is a pane; emitted keys have bucket 0. `ticks` bring
/// the clock of each epoch. Ticks and queries have to reach every worker.
///
/// ```
/// use differential_dataflow::AsCollection;
/// use reprise_dataflows::keys::item::ItemKey;
/// use reprise_dataflows::names::catalogue::Names;
/// use reprise_dataflows::rules::definition::{Definitions, ItemKind};
/// use reprise_dataflows::rules::plan::Key;
/// use reprise_dataflows::window::window;
/// use reprise_dataflows::{Stage, Tick};
/// use timely::dataflow::operators::capture::{Capture, Extract};
/// use timely::dataflow::operators::{Input, vec::ToStream};
///
/// // The built-in window has ten panes of a minute each.
/// let definitions = Definitions::builtin();
/// let changes = timely::execute_directly(move |worker| {
///     let (mut ticks, changes) = worker.dataflow(|scope| {
///         // Four plays in minute 5.
///         let tally = (Key { bucket: 5, ..Key::default() }, ItemKey::new(ItemKind::TRACK, "S1"));
///         let tallies = [(tally, 0, 4)].to_stream(scope).as_collection();
///         let (ticks, tick_stream) = scope.new_input();
///         let (queries, names) = (None.to_stream(scope), Names::default());
///         let (tallies, _answers) = window(tallies, tick_stream, queries, &definitions, &names);
///         (ticks, tallies.inner.capture())
///     });
///     // The clock is in that minute in epoch 0, and an hour later in epoch 1.
///     for (epoch, minute) in (0..).zip([5, 65]) {
///         let clock_us = Some(minute * 60_000_000);
///         ticks.send(Tick { epoch, clock_us, stage: Stage::Live, cut: None });
///         ticks.advance_to(epoch + 1);
///     }
///     changes
/// });
/// let mut updates = Vec::new();
/// for (_, changes) in changes.extract() {
///     let changes = changes.into_iter();
///     updates.extend(changes.map(|((key, _), epoch, diff)| (key.bucket, epoch, diff)));
/// }
/// assert_eq!(updates, [(0, 0, 4), (0, 1, -4)]);
/// ```
pub fn window<'scope>(
    tallies: VecCollection<'scope, Epoch, Tally, i64>,
    ticks: StreamVec<'scope, Epoch, Tick>,
    queries: StreamVec<'scope, Epoch, Query>,
    definitions: &Definitions,
    names: &Names,
) -> (VecCollection<'scope, Epoch, Tally, i64>, StreamVec<'scope, Epoch, Answer>) {
    let by_item = Scatter(|((_, item), _, _): &(Tally, Epoch, i64)| item.route());
    let inputs = ticks.map(|tick| WindowInput::Clock(tick.clock_us)).concat(queries.map(WindowInput::Query));
    let (tallies, answers) =
        by_epoch("Window", tallies.inner, by_item, inputs, Window::new(definitions, names.clone()));
    (tallies.as_collection(), answers)
}

/// A message for the window that holds for an epoch.
#[derive(Clone)]
enum WindowInput {
    Clock(Option<i64>),
    Query(Query),
}

impl EpochFold<Epoch> for Window {
    type Update = (Tally, Epoch, i64);
    type Query = WindowInput;
    type Outputs = ((Tally, Epoch, i64), Answer);

    fn update(&mut self, tallies: Vec<Self::Update>) {
        self.take(tallies);
    }

    fn query(&mut self, inputs: Vec<WindowInput>) {
        for input in inputs {
            match input {
                WindowInput::Clock(clock_us) => self.clock_us = clock_us,
                WindowInput::Query(query) => self.queries.push(query),
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
    /// The queries of the open epoch.
    queries: Vec<Query>,
    item: ItemKind,
    slide_us: i64,
    panes_in_window: i64,
    /// The number of panes before the window that are kept.
    panes_kept: i64,
    clock_us: Option<i64>,
    /// The panes in the window, `[start, end)`; empty before the first clock.
    in_window: Range<i64>,
    /// The panes before the window, in it, and after it.
    panes: BTreeMap<i64, Pane>,
    /// The first pane of which every play is kept; `None` before the first clock.
    known_from: Option<i64>,
    /// Tallies of the open epoch: pane, key, item and count.
    new: Vec<(i64, u32, u32, i64)>,
    keys: Interner<Key>,
    items: Interner<ItemKey>,
    /// A buffer for numbers of items; empty between calls.
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

    /// Stores tallies of the open epoch, keys and items as numbers to save memory: the tallies of a
    /// history are many, and all of them wait for the end of the epoch.
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

    /// Whether a pane is too old for any window that a query can ask for.
    fn is_forgotten(&self, pane: i64) -> bool {
        self.known_from.is_some_and(|known_from| pane < known_from)
    }

    /// Moves the window to the clock, then adds the tallies of the epoch, and passes every change
    /// of the content of the window to `change`.
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

    /// Moves the window to the panes `to`, and drops panes that no query can ask for.
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

    /// Ranks this worker's items in a window of the past.
    fn answer(&self, kind: &QueryKind) -> Vec<Finding> {
        let names = &self.names;
        let QueryKind::Window { end_us, scope, limit } = kind else { return Vec::new() };
        let end = end_us.div_euclid(self.slide_us);
        let cell = Cell { chart: TRENDING, start_day: 0, scope: scope.clone() };
        let matches: Vec<bool> = self.keys.all().iter().map(|key| self.plan.cells(key).contains(&cell)).collect();
        let mut plays = HashMap::<u32, i64, RandomState>::default();
        let counts = self.panes.range(end - self.panes_in_window..end).flat_map(|(_, pane)| pane.counts());
        for (item, _, count) in counts.filter(|(_, key, _)| matches[*key as usize]) {
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
