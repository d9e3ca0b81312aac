//! Tracks where most plays are in event time (the crowd), and decides which plays may move the
//! clock.
//!
//! [`super`] states the rule and defines *home*, *lead* and *outlier*.

use crate::report::times::{Bucket, EventTimes, TIMES_KEPT};

/// The lead in buckets, half a window: an unsupported play never moves the clock so far that it
/// empties the window.
const LEAD: i64 = 5;
/// In a large crowd one in this many plays around the home must support a move. It applies where it
/// asks for more than [`TIMES_KEPT`].
const CROWD_SHARE: u64 = 10;
/// After this many consecutive reports with nothing but outliers, the home moves to them.
const OUTLIER_REPORTS_MAX: u32 = 10;

/// The plays in event time, and the bucket that the crowd has reached.
pub struct Crowd {
    times: EventTimes,
    /// The start of the home bucket, in µs since 1970; `None` before the first play of an empty
    /// lake.
    home_us: Option<i64>,
    /// The start of the clock's bucket when the clock last advanced without plays, in µs since
    /// 1970.
    advanced_us: Option<i64>,
    /// Consecutive reports with nothing but outliers.
    outlier_reports: u32,
}

impl Crowd {
    /// Begins without plays, with the home at `clock_us`.
    pub fn new(window_us: i64, clock_us: Option<i64>) -> Self {
        let mut times = EventTimes::new(window_us);
        clock_us.iter().for_each(|clock_us| times.guard(*clock_us));
        Self {
            home_us: clock_us.map(|clock_us| times.start_of(clock_us)),
            times,
            advanced_us: None,
            outlier_reports: 0,
        }
    }

    /// Adds plays of the lake, in any order.
    pub fn remember(&mut self, stored: &EventTimes) {
        self.times.merge(stored);
    }

    /// Adds plays that were read from Kafka. Returns whether any of them is not an outlier.
    pub fn take(&mut self, read: &EventTimes) -> bool {
        if read.plays == 0 {
            return false;
        }
        let reach_us = self.reach_us();
        let (near, outliers) = read.buckets().iter().fold((0, 0), |(near, outliers), bucket| {
            if reach_us.is_some_and(|reach_us| bucket.start_us > reach_us) {
                (near, outliers + bucket.plays)
            } else {
                (near + bucket.plays, outliers)
            }
        });
        match (near, outliers) {
            (0, 0) => {}
            (0, _) => self.outlier_reports += 1,
            _ => self.outlier_reports = 0,
        }
        self.times.merge(read);
        read.plays > outliers
    }

    /// Notes that the clock has advanced to `clock_us` without plays.
    pub fn advanced(&mut self, clock_us: i64) {
        self.advanced_us = Some(self.times.start_of(clock_us));
    }

    /// The latest event time that may move the clock, in µs since 1970.
    pub fn latest_us(&self) -> Option<i64> {
        let reach_us = self.reach_us()?;
        let within = self.times.buckets().iter().rev().find(|bucket| bucket.start_us <= reach_us);
        within.map(|bucket| bucket.latest_us[0])
    }

    /// The start of the last bucket whose plays are not outliers.
    fn reach_us(&self) -> Option<i64> {
        self.home_us.max(self.advanced_us).map(|start_us| self.times.after(start_us, LEAD))
    }

    /// Moves the home to where the crowd is now. Call it when all reports have been added.
    pub fn follow(&mut self) {
        let home_us = self.home_us.or_else(|| Some(self.times.buckets().first()?.start_us));
        let Some(mut home_us) = home_us else { return };
        while let Some(next_us) = self.next_home_us(home_us) {
            (home_us, self.outlier_reports) = (next_us, 0);
        }
        self.home_us = Some(home_us);
        self.times.guard(home_us);
        self.times.forget_before(self.times.after(home_us, -LEAD));
    }

    /// The next bucket with enough support: half as many plays as lie around `home_us`, but at most
    /// [`TIMES_KEPT`] in a small crowd, and at least one in [`CROWD_SHARE`] in a large one. After
    /// [`OUTLIER_REPORTS_MAX`] it is the first bucket with an outlier.
    fn next_home_us(&self, home_us: i64) -> Option<i64> {
        let around = self.support_of(self.times.after(home_us, -LEAD), home_us);
        let (behind_us, needed) = match self.outlier_reports {
            OUTLIER_REPORTS_MAX.. => (self.reach_us().unwrap_or(home_us), 1),
            _ => (home_us, around.div_ceil(2).min(TIMES_KEPT as u64).max(around / CROWD_SHARE).max(1)),
        };
        let buckets = self.times.buckets();
        let ahead = &buckets[buckets.partition_point(|bucket| bucket.start_us <= behind_us)..];
        let (mut support, mut end) = (0, 0);
        for (begin, bucket) in ahead.iter().enumerate() {
            let last_us = self.times.after(bucket.start_us, LEAD);
            while let Some(next) = ahead.get(end).filter(|next| next.start_us <= last_us) {
                support += next.support();
                end += 1;
            }
            if support >= needed {
                return Some(bucket.start_us);
            }
            support -= ahead[begin].support();
        }
        None
    }

    /// The support of the buckets from `from_us` to `to_us`, both included.
    fn support_of(&self, from_us: i64, to_us: i64) -> u64 {
        let within = self.times.buckets().iter().filter(|bucket| (from_us..=to_us).contains(&bucket.start_us));
        within.map(Bucket::support).sum()
    }
}

/// The clock that `times` alone give, in µs since 1970, regardless of any earlier clock. `None`
/// without plays.
pub fn clock_of_plays(times: &EventTimes) -> Option<i64> {
    let mut crowd = Crowd { times: times.clone(), home_us: None, advanced_us: None, outlier_reports: 0 };
    crowd.follow();
    crowd.latest_us()
}
