//! Counting the plays of an epoch for one grouping, in arrays.

use std::collections::HashMap;
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
    /// By bucket, the index into `counts` by scope; `NONE` where there is none yet.
    by_bucket: HashMap<i64, Vec<u32>, RandomState>,
    scopes: HashMap<(u32, u32), u32, RandomState>,
    counts: Vec<Counts>,
    last: Option<((i64, u32, u32), u32)>,
    /// Slots of all arrays.
    slots: usize,
    /// Item numbers in use.
    items: usize,
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
    pub fn add(&mut self, row: &Row, key: impl FnOnce() -> Key) {
        let place = (row.bucket, row.country, row.device);
        let index = match self.last {
            Some((last, index)) if last == place => index,
            _ => self.index(place, key),
        };
        self.last = Some((place, index));
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

    fn index(&mut self, (bucket, country, device): (i64, u32, u32), key: impl FnOnce() -> Key) -> u32 {
        let next = self.scopes.len() as u32;
        let scope = *self.scopes.entry((country, device)).or_insert(next) as usize;
        let by_scope = self.by_bucket.entry(bucket).or_default();
        if scope >= by_scope.len() {
            by_scope.resize(scope + 1, NONE);
        }
        if by_scope[scope] == NONE {
            by_scope[scope] = self.counts.len() as u32;
            let fits = self.slots + self.items.next_power_of_two() <= SLOTS_MAX;
            let by_item = if fits { ByItem::Dense(Vec::new(), Vec::new()) } else { ByItem::Sparse(HashMap::default()) };
            self.counts.push(Counts { key: key(), by_item });
        }
        by_scope[scope]
    }

    /// Gives every count that is not zero, by key, and starts again.
    pub fn drain(&mut self, mut tally: impl FnMut(&Key, u32, u32)) {
        let mut idle = 0;
        for Counts { key, by_item } in &mut self.counts {
            match by_item {
                ByItem::Dense(counts, touched) => {
                    idle += usize::from(touched.is_empty());
                    for item in touched.drain(..) {
                        tally(key, item, std::mem::take(&mut counts[item as usize]));
                    }
                }
                ByItem::Sparse(counts) => {
                    idle += usize::from(counts.is_empty());
                    let mut counts: Vec<(u32, u32)> = counts.drain().collect();
                    counts.sort_unstable();
                    counts.into_iter().for_each(|(item, count)| tally(key, item, count));
                }
            }
        }
        // What the epoch did not need, the next is unlikely to: a history's days and minutes do not come back.
        if 2 * idle > self.counts.len() || self.slots > SLOTS_MAX {
            *self = Self::default();
        }
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
