//! The panes that have left the trending window, kept for a while so that a window of the past can be asked for.
//!
//! They are many more than those in the window, so items and keys are numbers here, and counts take 12 bytes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use foldhash::fast::RandomState;

use crate::catalogue::Names;
use crate::definition::ItemKind;
use crate::item::ItemKey;
use crate::query::{Found, named};

/// Counts of a pane from which on it is worth looking for those that add up.
const SETTLED_MIN: usize = 512;

/// One worker's panes of the past.
pub struct Past {
    /// How many panes before the window are kept.
    panes_kept: i64,
    panes: BTreeMap<i64, Left>,
    items: Vec<ItemKey>,
    item_numbers: HashMap<ItemKey, u32, RandomState>,
    /// The first pane of which all plays are there.
    known_from: Option<i64>,
}

/// A pane: item, key and count. Of the same item and key there may be several, until they are settled.
#[derive(Default)]
struct Left {
    counts: Vec<(u32, u32, u32)>,
    settled: usize,
}

impl Past {
    pub fn new(panes_kept: i64) -> Self {
        let (panes, items, item_numbers, known_from) = Default::default();
        Self { panes_kept, panes, items, item_numbers, known_from }
    }

    /// The window begins at `start` now: what lies too far before it is forgotten.
    pub fn slide(&mut self, start: i64) {
        let first = start - self.panes_kept;
        let known_from = self.known_from.get_or_insert(start);
        *known_from = (*known_from).max(first);
        self.panes = self.panes.split_off(known_from);
    }

    /// Adds a count of a pane that is not in the window any more, unless nobody can ask for it.
    pub fn add(&mut self, pane: i64, key: u32, item: ItemKey, count: i64) {
        if self.panes_kept == 0 || self.known_from.is_none_or(|known_from| pane < known_from) {
            return;
        }
        let item = *self.item_numbers.entry(item).or_insert_with(|| {
            self.items.push(item);
            self.items.len() as u32 - 1
        });
        self.panes.entry(pane).or_default().add(item, key, count);
    }

    /// Everything of a pane has been added that is there now.
    pub fn settle(&mut self, pane: i64) {
        if let Some(left) = self.panes.get_mut(&pane) {
            left.settle();
        }
    }

    /// The plays of each item in `window`, of the keys that `asked_for` has by their numbers.
    pub fn plays(&self, window: Range<i64>, asked_for: &[bool]) -> HashMap<ItemKey, i64, RandomState> {
        let mut plays = HashMap::default();
        let counts = self.panes.range(window).flat_map(|(_, left)| &left.counts);
        for (item, _, count) in counts.filter(|(_, key, _)| asked_for[*key as usize]) {
            *plays.entry(self.items[*item as usize]).or_default() += i64::from(*count);
        }
        plays
    }

    /// The first pane of which all plays are there, since the clock has begun.
    pub fn known_from(&self) -> Option<i64> {
        self.known_from
    }
}

impl Left {
    fn add(&mut self, item: u32, key: u32, count: i64) {
        let mut rest = count;
        while rest > 0 {
            let part = u32::try_from(rest).unwrap_or(u32::MAX);
            self.counts.push((item, key, part));
            rest -= i64::from(part);
        }
        if self.counts.len() > 2 * self.settled.max(SETTLED_MIN) {
            self.settle();
        }
    }

    fn settle(&mut self) {
        self.counts.sort_unstable();
        self.counts.dedup_by(|(item, key, count), (before_item, before_key, before)| {
            let sum = (item == before_item && key == before_key).then(|| before.checked_add(*count)).flatten();
            sum.map(|sum| *before = sum).is_some()
        });
        self.counts.shrink_to_fit();
        self.settled = self.counts.len();
    }
}

/// The `limit` items with the most `plays`, by name.
pub fn most_played(
    plays: HashMap<ItemKey, i64, RandomState>,
    limit: usize,
    kind: ItemKind,
    names: &Names,
) -> impl Iterator<Item = Found> {
    let mut plays: Vec<(ItemKey, i64)> = plays.into_iter().filter(|(_, plays)| *plays > 0).collect();
    plays.sort_by_cached_key(|(item, plays)| (Reverse(*plays), names.text(item)));
    plays.truncate(limit);
    plays.into_iter().map(move |(item, plays)| named(kind, &item, plays, names))
}
