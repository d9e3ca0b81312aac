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
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::vec::Map;
use timely::dataflow::operators::{Concat, OkErr, Operator};

use crate::catalogue::Names;
use crate::definition::{Cell, Definitions, ItemKind, TRENDING};
use crate::exchange::Scatter;
use crate::item::ItemKey;
use crate::numbers::Numbers;
use crate::pane::Pane;
use crate::plan::{Key, Plan};
use crate::query::{Answer, Found, Query, Question, named};
use crate::rank::Said;
use crate::stash::{Ready, Stash};
use crate::{Epoch, Tally, Tick};

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
    let (mut window, names) = (Window::new(definitions), names.clone());
    let by_item = Scatter(|((_, item), _, _): &(Tally, Epoch, i64)| item.route());
    let ticks = ticks.map(|tick| News::Clock(tick.clock_us)).concat(queries.map(News::Query));
    let stream: Said<'scope, Epoch, Tally, Answer> =
        tallies.inner.binary_frontier(ticks, by_item, Pipeline, "Window", |_capability, _info| {
            let mut stash = Stash::new();
            let mut asked = Vec::new();
            move |(tallies, tallies_frontier), (ticks, ticks_frontier), output| {
                tallies.for_each_stamp(|capability, data| {
                    if let Some(capability) = capability.retain_least(output.output_index()) {
                        stash.extend(
                            *capability.time(),
                            capability,
                            data.map(|data| vec![News::Tallies(std::mem::take(data))]),
                        );
                    }
                });
                ticks.for_each_stamp(|capability, data| {
                    if let Some(capability) = capability.retain_least(output.output_index()) {
                        stash.extend(*capability.time(), capability, data.map(std::mem::take));
                    }
                });
                while let Some(Ready { time, containers, complete }) = stash.next(&[tallies_frontier, ticks_frontier]) {
                    for news in containers.into_iter().flatten() {
                        match news {
                            News::Clock(clock_us) => window.clock_us = clock_us,
                            News::Tallies(tallies) => window.take(tallies),
                            News::Query(query) => asked.push(query),
                        }
                    }
                    let Some(capability) = complete else { break };
                    let mut session = output.session(&capability);
                    window.close_epoch(|tally, diff| session.give(Ok((tally, time, diff))));
                    for Query { id, question } in asked.drain(..) {
                        let found = window.answer(&question, &names).into_iter();
                        found.for_each(|found| session.give(Err(Answer { id, found })));
                    }
                }
            }
        });
    let (tallies, answers) = stream.ok_err(|said| said);
    (tallies.as_collection(), answers)
}

#[derive(Clone)]
enum News {
    Clock(Option<i64>),
    Tallies(Vec<(Tally, Epoch, i64)>),
    Query(Query),
}

/// One worker's panes.
struct Window {
    plan: Plan,
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
    keys: Numbers<Key>,
    items: Numbers<ItemKey>,
    /// Numbers of items; empty between calls.
    found: Vec<u32>,
}

impl Window {
    fn new(definitions: &Definitions) -> Self {
        let trending = &definitions.trending;
        Self {
            plan: Plan::new(definitions),
            item: trending.item,
            slide_us: trending.slide_us,
            panes_in_window: trending.window_us / trending.slide_us,
            panes_kept: trending.history_us / trending.slide_us,
            clock_us: None,
            in_window: 0..0,
            panes: BTreeMap::new(),
            known_from: None,
            new: Vec::new(),
            keys: Numbers::default(),
            items: Numbers::default(),
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
    fn answer(&self, question: &Question, names: &Names) -> Vec<Found> {
        let Question::Window { end_us, scope, limit } = question else { return Vec::new() };
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
        let known_from = self.known_from.map(|pane| Found::KnownFrom(pane * self.slide_us));
        let found = plays.into_iter().map(|(item, plays)| named(self.item, &item, plays, names));
        known_from.into_iter().chain(found).collect()
    }
}
