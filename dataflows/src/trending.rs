//! The sliding window: panes of one slide, each of which enters once and leaves once.
//!
//! A pane that enters adds its counts, one that leaves retracts them, and [`crate::rank`] does the rest. What is late goes
//! to its pane, and to the window if the pane is in it. What is early waits for the window to come.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use differential_dataflow::consolidation::consolidate;
use differential_dataflow::{AsCollection, VecCollection};
use foldhash::fast::RandomState;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Operator;

use crate::definition::Trending;
use crate::exchange::Scatter;
use crate::item::ItemKey;
use crate::plan::Key;
use crate::stash::{Ready, Stash};
use crate::{Epoch, Tally, Tick};

/// The tallies of the panes that are in the window at each epoch's clock, with the pane taken out of their keys.
///
/// `tallies` are keyed by pane; `ticks` say the clock of each epoch and come to every worker.
pub fn window<'scope>(
    tallies: VecCollection<'scope, Epoch, Tally, i64>,
    ticks: StreamVec<'scope, Epoch, Tick>,
    trending: &Trending,
) -> VecCollection<'scope, Epoch, Tally, i64> {
    let mut window = Window::new(trending);
    let by_item = Scatter(|((_, item), _, _): &(Tally, Epoch, i64)| item.route());
    let stream = tallies.inner.binary_frontier(ticks, by_item, Pipeline, "Window", |_capability, _info| {
        let mut stash = Stash::new();
        move |(tallies, tallies_frontier), (ticks, ticks_frontier), output| {
            tallies.for_each_stamp(|capability, data| {
                if let Some(capability) = capability.retain_least(output.output_index()) {
                    stash.extend(
                        *capability.time(),
                        capability,
                        data.map(|data| data.drain(..).map(News::Tally).collect()),
                    );
                }
            });
            ticks.for_each_stamp(|capability, data| {
                if let Some(capability) = capability.retain_least(output.output_index()) {
                    stash.extend(
                        *capability.time(),
                        capability,
                        data.map(|data| data.drain(..).map(|tick| News::Clock(tick.clock_us)).collect()),
                    );
                }
            });
            while let Some(Ready { time, containers, complete }) = stash.next(&[tallies_frontier, ticks_frontier]) {
                for news in containers.into_iter().flatten() {
                    match news {
                        News::Clock(clock_us) => window.clock_us = clock_us,
                        News::Tally(((key, item), _, count)) => window.new.push((key, item, count)),
                    }
                }
                let Some(capability) = complete else { break };
                let mut session = output.session(&capability);
                window.close_epoch(|tally, diff| session.give((tally, time, diff)));
            }
        }
    });
    stream.as_collection()
}

enum News {
    Clock(Option<i64>),
    Tally((Tally, Epoch, i64)),
}

/// One worker's panes.
struct Window {
    slide_us: i64,
    panes_in_window: i64,
    clock_us: Option<i64>,
    /// The panes that are in the window, `[start, end)`; none before there is a clock.
    in_window: Range<i64>,
    panes: BTreeMap<i64, Pane>,
    /// Tallies of the open epoch.
    new: Vec<(Key, ItemKey, i64)>,
    keys: Vec<Key>,
    key_numbers: HashMap<Key, u32, RandomState>,
}

impl Window {
    fn new(trending: &Trending) -> Self {
        Self {
            slide_us: trending.slide_us,
            panes_in_window: trending.window_us / trending.slide_us,
            clock_us: None,
            in_window: 0..0,
            panes: BTreeMap::new(),
            new: Vec::new(),
            keys: Vec::new(),
            key_numbers: HashMap::default(),
        }
    }

    /// Moves the window to the clock, then takes in the epoch's tallies, and says what changed in the window.
    fn close_epoch(&mut self, mut change: impl FnMut(Tally, i64)) {
        if let Some(clock_us) = self.clock_us {
            let end = clock_us.div_euclid(self.slide_us) + 1;
            self.slide(end - self.panes_in_window..end, &mut change);
        }
        for (mut key, item, count) in std::mem::take(&mut self.new) {
            let pane = std::mem::take(&mut key.bucket);
            if self.clock_us.is_some() && pane < self.in_window.start {
                continue;
            }
            if self.in_window.contains(&pane) {
                change((key.clone(), item), count);
            }
            let key = self.key_number(key);
            self.panes.entry(pane).or_default().push(key, item, count);
        }
    }

    fn slide(&mut self, to: Range<i64>, change: &mut impl FnMut(Tally, i64)) {
        let from = std::mem::replace(&mut self.in_window, to.clone());
        if from == to {
            return;
        }
        for (index, pane) in &mut self.panes {
            let diff = i64::from(to.contains(index)) - i64::from(from.contains(index));
            if diff != 0 {
                pane.consolidate();
                for ((key, item), count) in &pane.tallies {
                    change((self.keys[*key as usize].clone(), *item), diff * count);
                }
            }
        }
        self.panes = self.panes.split_off(&to.start);
    }

    fn key_number(&mut self, key: Key) -> u32 {
        *self.key_numbers.entry(key).or_insert_with_key(|key| {
            self.keys.push(key.clone());
            self.keys.len() as u32 - 1
        })
    }
}

/// The tallies of one slide, consolidated as often as they have doubled.
#[derive(Default)]
struct Pane {
    tallies: Vec<((u32, ItemKey), i64)>,
    consolidated: usize,
}

impl Pane {
    fn push(&mut self, key: u32, item: ItemKey, count: i64) {
        self.tallies.push(((key, item), count));
        if self.tallies.len() > 2 * self.consolidated.max(512) {
            self.consolidate();
        }
    }

    fn consolidate(&mut self) {
        consolidate(&mut self.tallies);
        self.consolidated = self.tallies.len();
    }
}
