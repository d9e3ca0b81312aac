//! The counts of one grouping in an epoch, in arrays.

use std::collections::HashMap;
use std::hash::Hash;
use std::ops::Range;

use foldhash::fast::RandomState;

use crate::keys::interner::Interner;
use crate::play::DAY_US;
use crate::rules::plan::{Grouping, Key, Time};
use crate::time::LocalDays;

/// The most slots of all arrays of a grouping, of 4 bytes each. Keys beyond that, such as those of
/// a history by the minute, count in hash maps.
const SLOTS_MAX: usize = 16 << 20;

/// The index of the counts of a key in [`Tallies`], valid until they are drained.
#[derive(Clone, Copy)]
pub struct TallySlot(u32);

/// The counts of a grouping since the last drain.
#[derive(Default)]
pub struct Tallies {
    buckets: Recent<i64>,
    scopes: Recent<(u32, u32)>,
    /// By the number of the bucket, then of the scope: the index into `counts`, or `NONE`.
    by_bucket: Vec<Vec<u32>>,
    counts: Vec<Counts>,
    /// The slots of all arrays.
    slots: usize,
    /// The number of items that are numbered.
    items: usize,
    /// The number of `counts` that are drained, and of those among them that were empty.
    drained: usize,
    idle: usize,
}

const NONE: u32 = u32::MAX;

struct Counts {
    key: Key,
    by_item: ByItem,
}

enum ByItem {
    Dense(Dense),
    Sparse(HashMap<u32, u32, RandomState>),
}

/// Counts by the number of the item.
#[derive(Default)]
struct Dense {
    counts: Vec<u32>,
    /// The items whose count is not zero, unless `many` is set.
    touched: Vec<u32>,
    many: bool,
}

/// Counts begin in a hash map. They move to an array once one in this many items has a count, or as
/// many plays come together: a minute of a small country would hardly use its array.
const SPARSE: usize = 64;
/// Once one in this many counts is not zero, a drain scans the array, and additions no longer note
/// the item: they then need not wait for the count before.
const MANY: usize = 16;

impl Tallies {
    /// Sets the number of items that are numbered.
    pub fn expect_items(&mut self, items: usize) {
        self.items = items;
    }

    /// The slot of a bucket and a scope, the numbers of the labels of the grouping. `key` makes the
    /// key of a new slot.
    #[inline]
    pub fn slot(&mut self, bucket: i64, scope: (u32, u32), key: impl FnOnce() -> Key) -> TallySlot {
        let bucket = self.buckets.number(bucket, bucket as usize) as usize;
        let scope = self.scopes.number(scope, (scope.0 ^ scope.1.rotate_left(5)) as usize) as usize;
        match self.by_bucket.get(bucket).and_then(|by_scope| by_scope.get(scope)) {
            Some(index) if *index != NONE => TallySlot(*index),
            _ => TallySlot(self.begin(bucket, scope, key)),
        }
    }

    /// Counts a play of `item`.
    #[inline]
    pub fn add(&mut self, slot: TallySlot, item: u32) {
        match &mut self.counts[slot.0 as usize].by_item {
            ByItem::Sparse(counts) => {
                *counts.entry(item).or_default() += 1;
                if counts.len() * SPARSE > self.items {
                    self.densify(slot);
                }
            }
            ByItem::Dense(dense) => {
                if item as usize >= dense.counts.len() {
                    self.slots += dense.grow(item);
                }
                dense.add(item);
            }
        }
    }

    /// Counts a play of each of `items`.
    pub fn add_all(&mut self, slot: TallySlot, items: &[u32]) {
        if items.len() * SPARSE > self.items {
            self.densify(slot);
        }
        match &mut self.counts[slot.0 as usize].by_item {
            ByItem::Sparse(counts) => {
                items.iter().for_each(|item| *counts.entry(*item).or_default() += 1);
                if counts.len() * SPARSE > self.items {
                    self.densify(slot);
                }
            }
            ByItem::Dense(dense) => {
                self.slots += items.iter().max().map_or(0, |item| dense.grow(*item));
                match dense.many {
                    true => items.iter().for_each(|item| dense.counts[*item as usize] += 1),
                    false => items.iter().for_each(|item| dense.add(*item)),
                }
            }
        }
    }

    /// Moves the counts from a hash map to an array, unless that exceeds [`SLOTS_MAX`].
    fn densify(&mut self, slot: TallySlot) {
        let by_item = &mut self.counts[slot.0 as usize].by_item;
        if let ByItem::Sparse(sparse) = by_item
            && self.slots + self.items.next_power_of_two() <= SLOTS_MAX
        {
            let mut touched: Vec<u32> = sparse.keys().copied().collect();
            touched.sort_unstable();
            let mut dense = Dense::default();
            self.slots += touched.last().map_or(0, |item| dense.grow(*item));
            touched.iter().for_each(|item| dense.counts[*item as usize] = sparse[item]);
            dense.touched = touched;
            *by_item = ByItem::Dense(dense);
        }
    }

    fn begin(&mut self, bucket: usize, scope: usize, key: impl FnOnce() -> Key) -> u32 {
        let index = self.counts.len() as u32;
        self.counts.push(Counts { key: key(), by_item: ByItem::Sparse(HashMap::default()) });
        if bucket >= self.by_bucket.len() {
            self.by_bucket.resize_with(bucket + 1, Vec::new);
        }
        let by_scope = &mut self.by_bucket[bucket];
        if scope >= by_scope.len() {
            by_scope.resize(scope + 1, NONE);
        }
        by_scope[scope] = index;
        index
    }

    /// Removes the counts of some keys, until at least `updates_min` are removed. Calls `tally`
    /// with the key, item and count of each, key by key. Returns whether all are removed; until
    /// then nothing may be added.
    pub fn drain_some(&mut self, updates_min: usize, mut tally: impl FnMut(&Key, u32, u32)) -> bool {
        let mut given = 0;
        while given < updates_min
            && let Some(Counts { key, by_item }) = self.counts.get_mut(self.drained)
        {
            let before = given;
            match by_item {
                ByItem::Dense(dense) => {
                    dense.drain(|item, count| {
                        given += 1;
                        tally(key, item, count);
                    });
                }
                ByItem::Sparse(counts) => {
                    given += counts.len();
                    let mut counts: Vec<(u32, u32)> = counts.drain().collect();
                    counts.sort_unstable();
                    counts.into_iter().for_each(|(item, count)| tally(key, item, count));
                }
            }
            self.idle += usize::from(given == before);
            self.drained += 1;
        }
        let done = self.drained == self.counts.len();
        if done {
            // The next epoch is unlikely to need keys that this one did not need: the days and
            // minutes of a history do not come back.
            if 2 * self.idle > self.counts.len() || self.slots > SLOTS_MAX {
                *self = Self::default();
            }
            (self.drained, self.idle) = (0, 0);
        }
        done
    }
}

impl Dense {
    /// Counts an item that has a slot.
    #[inline]
    fn add(&mut self, item: u32) {
        let count = &mut self.counts[item as usize];
        *count += 1;
        if !self.many && *count == 1 {
            self.touched.push(item);
            self.many = self.touched.len() * MANY > self.counts.len();
        }
    }

    /// Makes a slot for an item. Returns by how many slots the array has grown.
    fn grow(&mut self, item: u32) -> usize {
        let before = self.counts.len();
        if item as usize >= before {
            self.counts.resize((item as usize + 1).next_power_of_two(), 0);
        }
        self.counts.len() - before
    }

    /// Calls `give` with the item and count of each that is not zero, and sets it to zero.
    fn drain(&mut self, mut give: impl FnMut(u32, u32)) {
        if !std::mem::take(&mut self.many) {
            return self.touched.drain(..).for_each(|item| give(item, std::mem::take(&mut self.counts[item as usize])));
        }
        self.touched.clear();
        for (item, count) in (0..).zip(&mut self.counts).filter(|(_, count)| **count > 0) {
            give(item, std::mem::take(count));
        }
    }
}

/// The size of the cache of [`Recent`].
const RECENT: usize = 256;

/// Numbered keys, with a direct-mapped cache of recent ones before the hash table.
struct Recent<K> {
    numbers: Interner<K>,
    recent: [(K, u32); RECENT],
}

impl<K: Copy + Default + Eq + Hash> Default for Recent<K> {
    fn default() -> Self {
        Self { numbers: Interner::default(), recent: [(K::default(), NONE); RECENT] }
    }
}

impl<K: Copy + Default + Eq + Hash> Recent<K> {
    /// The number of a key. Its entry in the cache is at `slot`, modulo [`RECENT`].
    #[inline]
    fn number(&mut self, key: K, slot: usize) -> u32 {
        let recent = &mut self.recent[slot % RECENT];
        if recent.0 != key || recent.1 == NONE {
            *recent = (key, self.numbers.number(&key));
        }
        recent.1
    }
}

/// The buckets of event times. Keeps the range of the last bucket: events come roughly in order.
pub struct Buckets<'a> {
    grouping: &'a Grouping,
    /// For a time zone other than UTC, whose days may have any length.
    local: Option<LocalDays>,
    range_us: Range<i64>,
    day: i64,
    bucket: i64,
}

impl<'a> Buckets<'a> {
    /// The buckets of `grouping`.
    pub fn new(grouping: &'a Grouping) -> Self {
        let local = match &grouping.time {
            Time::Days(calendar) if calendar.zone.is_some() => Some(LocalDays::new(calendar.clone())),
            _ => None,
        };
        Self { grouping, local, range_us: 0..0, day: i64::MIN, bucket: 0 }
    }

    /// The bucket that holds `timestamp_us`.
    #[inline]
    pub fn of(&mut self, timestamp_us: i64) -> i64 {
        if let Some(local) = &mut self.local {
            let day = local.day(timestamp_us);
            if i64::from(day) != self.day {
                (self.day, self.bucket) = (day.into(), self.grouping.representative(day).into());
            }
        } else if !self.range_us.contains(&timestamp_us) {
            let (length_us, is_day) = match self.grouping.time {
                Time::Panes(slide_us) => (slide_us, false),
                Time::Days(_) => (DAY_US, true),
            };
            let index = timestamp_us.div_euclid(length_us);
            self.range_us = index * length_us..(index + 1) * length_us;
            self.bucket = if is_day { self.grouping.representative(index as i32).into() } else { index };
        }
        self.bucket
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::count::grouped::Grouped;

    proptest! {
        /// A drain gives the number of additions of each item, whether they come one by one or in
        /// groups, and whether they are counted in arrays or hash maps.
        #[test]
        fn drained_counts_are_those_added(
            epochs in prop::collection::vec(prop::collection::vec((0u32..3, any::<bool>(), any::<bool>(), 0u32..400), 0..300), 1..4),
            fits: bool,
        ) {
            let (mut tallies, mut grouped) = (Tallies::default(), Grouped::default());
            for rows in epochs {
                // With too many items to expect, all counts are in hash maps.
                tallies.expect_items(if fits { 400 } else { 2 * SLOTS_MAX });
                let mut expected = BTreeMap::<(i64, u32), u32>::new();
                let key = |group: u32| Key { bucket: group.into(), ..Key::default() };
                let items: Vec<u32> = rows.iter().map(|(.., item)| *item).collect();
                let (group, together, counts) = (|row: usize| rows[row].0, |row: usize| rows[row].1, |row: usize| rows[row].2);
                grouped.group(&items, group, 3, |row| together(row) && counts(row));
                for (group, items) in grouped.iter() {
                    let slot = tallies.slot(group.into(), (group, 0), || key(group));
                    tallies.add_all(slot, items);
                }
                for row in (0..rows.len()).filter(|row| counts(*row)) {
                    *expected.entry((group(row).into(), items[row])).or_default() += 1;
                    if !together(row) {
                        let slot = tallies.slot(group(row).into(), (group(row), 0), || key(group(row)));
                        tallies.add(slot, items[row]);
                    }
                }
                let mut drained = BTreeMap::new();
                while !tallies.drain_some(50, |key, item, count| {
                    assert!(drained.insert((key.bucket, item), count).is_none());
                }) {}
                prop_assert_eq!(drained, expected);
            }
        }
    }
}
