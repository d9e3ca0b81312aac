//! Counting the plays of an epoch for one grouping, in arrays.

use std::collections::HashMap;
use std::hash::Hash;
use std::ops::Range;

use foldhash::fast::RandomState;

use crate::calendar::LocalDays;
use crate::label::Label;
use crate::plan::{Grouping, Key, Time};
use crate::play::DAY_US;

/// Slots of all arrays of a grouping, of 4 bytes each. Keys beyond that, as of a history by the minute, count in hash maps.
const SLOTS_MAX: usize = 16 << 20;

/// A play as a grouping sees it; scopes that it does not ask for are 0.
pub struct Row {
    /// The bucket, from [`Buckets`].
    pub bucket: i64,
    pub country: u32,
    pub device: u32,
    pub item: u32,
}

/// The counts of a grouping since they were last drained.
#[derive(Default)]
pub struct Tallies {
    buckets: Numbers<i64>,
    scopes: Numbers<(u32, u32)>,
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
    /// The counts, and which of them are not zero.
    Dense(Vec<u32>, Vec<u32>),
    Sparse(HashMap<u32, u32, RandomState>),
}

impl Tallies {
    /// Counts a play. `key` makes the key of a bucket and scopes that are new.
    #[inline]
    pub fn add(&mut self, row: &Row, key: impl FnOnce() -> Key) {
        let bucket = self.buckets.number(row.bucket, row.bucket as usize) as usize;
        let scope = (row.country, row.device);
        let scope = self.scopes.number(scope, (row.country ^ row.device.rotate_left(5)) as usize) as usize;
        let index = match self.by_bucket.get(bucket).and_then(|by_scope| by_scope.get(scope)) {
            Some(index) if *index != NONE => *index,
            _ => self.begin(bucket, scope, key),
        };
        self.items = self.items.max(row.item as usize + 1);
        match &mut self.counts[index as usize].by_item {
            ByItem::Sparse(counts) => *counts.entry(row.item).or_default() += 1,
            ByItem::Dense(counts, touched) => {
                let item = row.item as usize;
                if item >= counts.len() {
                    self.slots -= counts.len();
                    counts.resize((item + 1).next_power_of_two(), 0);
                    self.slots += counts.len();
                }
                if counts[item] == 0 {
                    touched.push(row.item);
                }
                counts[item] += 1;
            }
        }
    }

    fn begin(&mut self, bucket: usize, scope: usize, key: impl FnOnce() -> Key) -> u32 {
        let index = self.counts.len() as u32;
        let fits = self.slots + self.items.next_power_of_two() <= SLOTS_MAX;
        let by_item = if fits { ByItem::Dense(Vec::new(), Vec::new()) } else { ByItem::Sparse(HashMap::default()) };
        self.counts.push(Counts { key: key(), by_item });
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
                ByItem::Dense(counts, touched) => {
                    given += touched.len();
                    for item in touched.drain(..) {
                        tally(key, item, std::mem::take(&mut counts[item as usize]));
                    }
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

/// Places for the keys that were asked for last.
const RECENT: usize = 256;

/// Keys numbered in the order in which they are first seen. Those that were asked for last are found without a hash map.
struct Numbers<K> {
    numbers: HashMap<K, u32, RandomState>,
    recent: [(K, u32); RECENT],
}

impl<K: Copy + Default + Eq + Hash> Default for Numbers<K> {
    fn default() -> Self {
        Self { numbers: HashMap::default(), recent: [(K::default(), NONE); RECENT] }
    }
}

impl<K: Copy + Default + Eq + Hash> Numbers<K> {
    /// The number of a key. Of two keys that differ in the last bits of `place` neither displaces the other.
    #[inline]
    fn number(&mut self, key: K, place: usize) -> u32 {
        let recent = &mut self.recent[place % RECENT];
        if recent.0 != key || recent.1 == NONE {
            let next = self.numbers.len() as u32;
            *recent = (key, *self.numbers.entry(key).or_insert(next));
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

/// The key of a row, its scopes as text.
pub fn key(grouping: usize, row: &Row, country: Option<&Label>, device: Option<&Label>) -> Key {
    Key {
        grouping: grouping as u32,
        bucket: row.bucket,
        country: country.cloned().unwrap_or_default(),
        device: device.cloned().unwrap_or_default(),
    }
}
