//! A summary of the event times that a source has read, from which the clock is decided.
//!
//! The summary has a bounded size: it keeps only the latest buckets, and of each the number of
//! plays and its latest event times. Adding a play costs a comparison or two while plays come in
//! order.

use serde::{Deserialize, Serialize};

/// The maximum number of buckets: 17 hours with the default window, 100 windows with any other.
const BUCKETS_MAX: usize = 1024;
/// The number of event times that a bucket keeps. It is also the number of different times that
/// makes plays a crowd: more than one listener has in a minute.
pub const TIMES_KEPT: usize = 5;
/// The buckets on either side of the clock's bucket that are always kept, so that plays far ahead
/// do not displace the crowd.
const GUARDED: i64 = 6;
/// The number of buckets in a trending window.
pub const BUCKETS_IN_WINDOW: i64 = 10;

/// The plays whose event times lie in one bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    /// The start of the bucket, in µs since 1970.
    pub start_us: i64,
    /// The plays in the bucket, repeated ones included.
    pub plays: u64,
    /// The latest different event times in µs since 1970, the latest one first; `i64::MIN` in
    /// unused places. A play that was sent several times has one time.
    pub latest_us: [i64; TIMES_KEPT],
}

impl Bucket {
    fn new(start_us: i64) -> Self {
        Self { start_us, plays: 0, latest_us: [i64::MIN; TIMES_KEPT] }
    }

    fn note(&mut self, event_us: i64) {
        let Some(place) = self.latest_us.iter().position(|known| *known <= event_us) else { return };
        if self.latest_us[place] != event_us {
            self.latest_us.copy_within(place..TIMES_KEPT - 1, place + 1);
            self.latest_us[place] = event_us;
        }
    }

    /// The weight of the bucket in moving the clock: one for each different event time, and all
    /// plays once there are [`TIMES_KEPT`] different times.
    pub fn support(&self) -> u64 {
        let times = self.latest_us.iter().filter(|time| **time > i64::MIN).count();
        if times < TIMES_KEPT { times as u64 } else { self.plays }
    }
}

/// The event times of a set of plays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventTimes {
    /// The width of a bucket, in µs.
    width_us: i64,
    /// In the order of their starts.
    buckets: Vec<Bucket>,
    /// The index of the bucket of the last play, to which the next one probably belongs.
    last: usize,
    /// The clock of the open epoch, and the start of its trending window, in µs since 1970.
    clock_us: i64,
    window_start_us: i64,
    /// The first and the last start of the buckets that are always kept, in µs since 1970.
    guarded_us: (i64, i64),
    /// The plays that were added, old ones included.
    pub plays: u64,
    /// The plays that were too old for the trending window when they were added. They are in no
    /// bucket.
    pub missed: u64,
    /// The sum of how far the `missed` plays were behind the clock, in µs.
    pub missed_by_us: u64,
}

/// No plays, for reports without any.
impl Default for EventTimes {
    fn default() -> Self {
        Self::new(60_000_000 * BUCKETS_IN_WINDOW)
    }
}

impl EventTimes {
    /// No plays yet, for a trending window of `window_us`.
    pub fn new(window_us: i64) -> Self {
        Self {
            width_us: (window_us / BUCKETS_IN_WINDOW).max(1),
            buckets: Vec::new(),
            last: 0,
            clock_us: i64::MIN,
            window_start_us: i64::MIN,
            guarded_us: (i64::MAX, i64::MIN),
            plays: 0,
            missed: 0,
            missed_by_us: 0,
        }
    }

    /// Sets the clock and the start of its trending window, in µs since 1970, with which plays
    /// added later are compared.
    pub fn at(&mut self, clock_us: i64, window_start_us: i64) {
        (self.clock_us, self.window_start_us) = (clock_us, window_start_us);
        self.guard(clock_us);
    }

    /// Always keeps the buckets around `event_us` from here on, however many others there are.
    pub fn guard(&mut self, event_us: i64) {
        let start_us = self.start_of(event_us);
        self.guarded_us = (self.after(start_us, -GUARDED), self.after(start_us, GUARDED));
    }

    /// Adds a play with this event time, in µs since 1970.
    #[inline]
    pub fn add(&mut self, event_us: i64) {
        self.plays += 1;
        if event_us < self.window_start_us {
            self.missed += 1;
            self.missed_by_us = self.missed_by_us.saturating_add(self.clock_us.abs_diff(event_us));
            return;
        }
        match self.buckets.get_mut(self.last) {
            Some(bucket) if (0..self.width_us).contains(&event_us.wrapping_sub(bucket.start_us)) => {
                bucket.plays += 1;
                bucket.note(event_us);
            }
            _ => self.add_elsewhere(event_us),
        }
    }

    #[cold]
    fn add_elsewhere(&mut self, event_us: i64) {
        if let Some(place) = self.bucket(self.start_of(event_us)) {
            self.buckets[place].plays += 1;
            self.buckets[place].note(event_us);
            self.last = place;
        }
    }

    /// Adds the plays of another summary with buckets of the same width.
    pub fn merge(&mut self, other: &Self) {
        self.plays += other.plays;
        self.missed += other.missed;
        self.missed_by_us = self.missed_by_us.saturating_add(other.missed_by_us);
        for bucket in &other.buckets {
            if let Some(place) = self.bucket(bucket.start_us) {
                self.buckets[place].plays += bucket.plays;
                let times = bucket.latest_us.iter().filter(|time| **time > i64::MIN);
                times.for_each(|time| self.buckets[place].note(*time));
            }
        }
    }

    /// Removes and returns what was added since the last call.
    pub fn take(&mut self) -> Self {
        let rest = Self { buckets: Vec::new(), plays: 0, missed: 0, missed_by_us: 0, ..*self };
        std::mem::replace(self, rest)
    }

    /// The start of the bucket that `event_us` lies in.
    pub fn start_of(&self, event_us: i64) -> i64 {
        event_us.div_euclid(self.width_us).saturating_mul(self.width_us)
    }

    /// The start of the bucket that is `buckets` after the one that starts at `start_us`.
    pub fn after(&self, start_us: i64, buckets: i64) -> i64 {
        start_us.saturating_add(self.width_us.saturating_mul(buckets))
    }

    /// All buckets with plays, in the order of their starts.
    pub fn buckets(&self) -> &[Bucket] {
        &self.buckets
    }

    /// Whether the summary is full and a play at `event_us` would lie before all its buckets.
    pub fn is_full_before(&self, event_us: i64) -> bool {
        self.buckets.len() >= BUCKETS_MAX && self.buckets.first().is_some_and(|first| event_us < first.start_us)
    }

    /// Drops the buckets before the one that starts at `start_us`.
    pub fn forget_before(&mut self, start_us: i64) {
        self.buckets.retain(|bucket| bucket.start_us >= start_us);
        self.last = 0;
    }

    fn is_guarded(&self, start_us: i64) -> bool {
        (self.guarded_us.0..=self.guarded_us.1).contains(&start_us)
    }

    /// The index of the bucket that starts at `start_us`, which is inserted if it is missing.
    /// `None` if all places are taken by buckets that are later or always kept.
    fn bucket(&mut self, start_us: i64) -> Option<usize> {
        let place = self.buckets.partition_point(|bucket| bucket.start_us < start_us);
        if self.buckets.get(place).is_some_and(|bucket| bucket.start_us == start_us) {
            return Some(place);
        }
        if self.buckets.len() < BUCKETS_MAX {
            self.buckets.insert(place, Bucket::new(start_us));
            return Some(place);
        }
        let oldest = self.buckets.iter().position(|bucket| !self.is_guarded(bucket.start_us))?;
        if start_us < self.buckets[oldest].start_us && !self.is_guarded(start_us) {
            return None;
        }
        self.buckets.remove(oldest);
        let place = place - usize::from(oldest < place);
        self.buckets.insert(place, Bucket::new(start_us));
        // The insertion moved the buckets behind it.
        self.last = place;
        Some(place)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND_US: i64 = 1_000_000;

    fn of(times_s: &[i64]) -> EventTimes {
        let mut times = EventTimes::default();
        times_s.iter().for_each(|second| times.add(second * SECOND_US));
        times
    }

    /// A play that was sent many times does not support itself.
    #[test]
    fn equal_times_are_no_support() {
        assert_eq!(of(&[7; 40]).buckets()[0].support(), 1);
        assert_eq!(of(&[7, 7, 8]).buckets()[0].support(), 2);
        let twelve: Vec<i64> = (0..TIMES_KEPT as i64).flat_map(|second| [second, second]).collect();
        assert_eq!(of(&twelve[2..]).buckets()[0].support(), TIMES_KEPT as u64 - 1);
        assert_eq!(of(&twelve).buckets()[0].support(), 2 * TIMES_KEPT as u64);
    }

    /// Plays far ahead, in more buckets than are kept, do not displace the buckets around the
    /// clock.
    #[test]
    fn the_buckets_around_the_clock_stay() {
        let mut times = EventTimes::default();
        times.at(600 * SECOND_US, 0);
        let outliers = (0..3 * BUCKETS_MAX as i64).map(|bucket| (100 + bucket) * 60);
        for second in outliers {
            times.add(second * SECOND_US);
            times.add(600 * SECOND_US + second);
            times.add(second * SECOND_US + 1);
        }
        times.add(9 * 60 * SECOND_US);
        assert_eq!(times.buckets().len(), BUCKETS_MAX);
        let [first, second] = [0, 1].map(|place| times.buckets()[place]);
        assert_eq!((first.start_us, first.plays), (540 * SECOND_US, 1));
        assert_eq!((second.start_us, second.plays), (600 * SECOND_US, 3 * BUCKETS_MAX as u64));
        assert!(times.buckets()[2..].iter().all(|bucket| bucket.plays == 2));
    }

    #[test]
    fn plays_before_the_window_are_counted_apart() {
        let mut times = EventTimes::default();
        times.at(1200 * SECOND_US, 600 * SECOND_US);
        [599, 600, 1300, 0].iter().for_each(|second| times.add(second * SECOND_US));
        assert_eq!((times.plays, times.missed, times.missed_by_us), (4, 2, 1801 * SECOND_US as u64));
        assert_eq!(times.buckets().len(), 2);
        let taken = times.take();
        assert_eq!((taken.plays, times.plays, times.buckets().len()), (4, 0, 0));
        times.add(0);
        assert_eq!(times.missed, 1, "the window stays");
    }

    proptest! {
        /// The result does not depend on the order of plays or their distribution over workers, and
        /// the latest buckets are exact.
        #[test]
        fn a_summary_is_that_of_all_plays(times_s in prop::collection::vec(0i64..200_000, 1..3000), parts in 1usize..5) {
            let whole = of(&times_s);
            let mut merged = EventTimes::default();
            for part in times_s.rchunks(times_s.len().div_ceil(parts)).rev() {
                merged.merge(&of(part));
            }
            prop_assert_eq!(whole.buckets(), merged.buckets());
            prop_assert!(whole.buckets().len() <= BUCKETS_MAX);
            let mut starts: Vec<i64> = times_s.iter().map(|second| second / 60 * 60).collect();
            starts.sort_unstable();
            starts.dedup();
            let latest = starts.split_off(starts.len().saturating_sub(BUCKETS_MAX));
            let found: Vec<i64> = whole.buckets().iter().map(|bucket| bucket.start_us / SECOND_US).collect();
            prop_assert_eq!(&latest, &found);
            for bucket in whole.buckets() {
                let start_s = bucket.start_us / SECOND_US;
                let inside = times_s.iter().filter(|second| (start_s..start_s + 60).contains(*second));
                prop_assert_eq!(bucket.plays, inside.clone().count() as u64);
                prop_assert_eq!(Some(bucket.latest_us[0]), inside.max().map(|second| second * SECOND_US));
            }
        }
    }
}
