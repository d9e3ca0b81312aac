//! Counting the plays of an epoch for one grouping, in arrays.

use std::collections::HashMap;
use std::hash::Hash;
use std::ops::Range;

use foldhash::fast::RandomState;

use crate::keys::interner::Interner;
use crate::play::DAY_US;
use crate::rules::plan::{Grouping, Key, Time};
use crate::time::LocalDays;

/// Slots of all arrays of a grouping, of 4 bytes each. Keys beyond that, as of a history by the minute, count in hash maps.
const SLOTS_MAX: usize = 16 << 20;

/// Where the plays of a bucket and its scopes are counted.
#[derive(Clone, Copy)]
pub struct TallySlot(u32);

/// The counts of a grouping since they were last drained.
#[derive(Default)]
pub struct Tallies {
    buckets: Recent<i64>,
    scopes: Recent<(u32, u32)>,
    /// By bucket number, the index into `counts` by scope number; `NONE` where there is none yet.
    by_bucket: Vec<Vec<u32>>,
    counts: Vec<Counts>,
    /// Slots of all arrays.
    slots: usize,
    /// Item numbers in use.
    items: usize,
    /// How many of `counts` have been drained, and how many of these held nothing.
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

/// Counts by item number.
#[derive(Default)]
struct Dense {
    counts: Vec<u32>,
    /// Which of them are not zero, unless `many` are.
    touched: Vec<u32>,
    many: bool,
}

/// Counts begin in a hash map, and move into an array once they, or the plays that come at once, are one in so many of the items:
/// of an array for a minute of a small country hardly any of it would be used.
const SPARSE: usize = 64;
/// One count in so many is enough to look at all rather than to note which: nothing waits then for what a count was before.
const MANY: usize = 16;

impl Tallies {
    /// Says how many items have a number by now.
    pub fn expect_items(&mut self, items: usize) {
        self.items = items;
    }

    /// Where the plays of a bucket and a scope (the numbers of a country and a device) are counted until they are drained. `key`
    /// makes the key of those that are new.
    #[inline]
    pub fn place(&mut self, bucket: i64, scope: (u32, u32), key: impl FnOnce() -> Key) -> TallySlot {
        let bucket = self.buckets.number(bucket, bucket as usize) as usize;
        let scope = self.scopes.number(scope, (scope.0 ^ scope.1.rotate_left(5)) as usize) as usize;
        match self.by_bucket.get(bucket).and_then(|by_scope| by_scope.get(scope)) {
            Some(index) if *index != NONE => TallySlot(*index),
            _ => TallySlot(self.begin(bucket, scope, key)),
        }
    }

    /// Counts a play of `item` at a place.
    #[inline]
    pub fn add(&mut self, place: TallySlot, item: u32) {
        match &mut self.counts[place.0 as usize].by_item {
            ByItem::Sparse(counts) => {
                *counts.entry(item).or_default() += 1;
                if counts.len() * SPARSE > self.items {
                    self.densify(place);
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

    /// Counts a play of each of `items` at a place.
    pub fn add_all(&mut self, place: TallySlot, items: &[u32]) {
        if items.len() * SPARSE > self.items {
            self.densify(place);
        }
        match &mut self.counts[place.0 as usize].by_item {
            ByItem::Sparse(counts) => {
                items.iter().for_each(|item| *counts.entry(*item).or_default() += 1);
                if counts.len() * SPARSE > self.items {
                    self.densify(place);
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

    /// Makes an array of a hash map, if there is room for it.
    fn densify(&mut self, place: TallySlot) {
        let by_item = &mut self.counts[place.0 as usize].by_item;
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

    /// Gives counts that are not zero, by key: all of a key, of as many keys as it takes for `updates_min` counts. Whether
    /// that was the last of them; then it starts again. Nothing must be added before.
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
            // What the epoch did not need, the next is unlikely to: a history's days and minutes do not come back.
            if 2 * self.idle > self.counts.len() || self.slots > SLOTS_MAX {
                *self = Self::default();
            }
            (self.drained, self.idle) = (0, 0);
        }
        done
    }
}

impl Dense {
    /// Counts an item that there is room for.
    #[inline]
    fn add(&mut self, item: u32) {
        let count = &mut self.counts[item as usize];
        *count += 1;
        if !self.many && *count == 1 {
            self.touched.push(item);
            self.many = self.touched.len() * MANY > self.counts.len();
        }
    }

    /// Makes room for an item. By how many slots it has grown.
    fn grow(&mut self, item: u32) -> usize {
        let before = self.counts.len();
        if item as usize >= before {
            self.counts.resize((item as usize + 1).next_power_of_two(), 0);
        }
        self.counts.len() - before
    }

    /// Gives counts that are not zero, and sets them to zero.
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

/// Places for the keys that were asked for last.
const RECENT: usize = 256;

/// Numbered keys, of which those that were asked for last are found without a look at the table.
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
    /// The number of a key. Of two keys that differ in the last bits of `place` neither displaces the other.
    #[inline]
    fn number(&mut self, key: K, place: usize) -> u32 {
        let recent = &mut self.recent[place % RECENT];
        if recent.0 != key || recent.1 == NONE {
            *recent = (key, self.numbers.number(&key));
        }
        recent.1
    }
}

/// The bucket of an event time, remembered as long as events stay within it.
pub struct Buckets<'a> {
    grouping: &'a Grouping,
    /// For a time zone other than UTC, whose days need not be ranges of time.
    local: Option<LocalDays>,
    range_us: Range<i64>,
    day: i64,
    bucket: i64,
}

impl<'a> Buckets<'a> {
    pub fn new(grouping: &'a Grouping) -> Self {
        let local = match &grouping.time {
            Time::Days(calendar) if calendar.zone.is_some() => Some(LocalDays::new(calendar.clone())),
            _ => None,
        };
        Self { grouping, local, range_us: 0..0, day: i64::MIN, bucket: 0 }
    }

    /// The bucket that `timestamp_us` falls in.
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
        /// However plays come, and however many items an epoch touches, what is drained is how often each was added.
        #[test]
        fn what_is_added_is_drained(
            epochs in prop::collection::vec(prop::collection::vec((0u32..3, any::<bool>(), any::<bool>(), 0u32..400), 0..300), 1..4),
            fits: bool,
        ) {
            let (mut tallies, mut grouped) = (Tallies::default(), Grouped::default());
            for rows in epochs {
                // Who expects too much counts in hash maps.
                tallies.expect_items(if fits { 400 } else { 2 * SLOTS_MAX });
                let mut expected = BTreeMap::<(i64, u32), u32>::new();
                let key = |group: u32| Key { bucket: group.into(), ..Key::default() };
                let items: Vec<u32> = rows.iter().map(|(.., item)| *item).collect();
                let (group, together, counts) = (|row: usize| rows[row].0, |row: usize| rows[row].1, |row: usize| rows[row].2);
                grouped.group(&items, group, 3, |row| together(row) && counts(row));
                for (group, items) in grouped.iter() {
                    let place = tallies.place(group.into(), (group, 0), || key(group));
                    tallies.add_all(place, items);
                }
                for row in (0..rows.len()).filter(|row| counts(*row)) {
                    *expected.entry((group(row).into(), items[row])).or_default() += 1;
                    if !together(row) {
                        let place = tallies.place(group(row).into(), (group(row), 0), || key(group(row)));
                        tallies.add(place, items[row]);
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
