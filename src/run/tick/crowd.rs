//! Where the crowd of the plays is in event time, and which play may move the clock.
//!
//! The rule stands at the top of `tick.rs`. In its words: the *home* is the bucket that the crowd has reached, the *lead* is how far
//! ahead of it a play moves the clock without company, and plays beyond the lead are *astray*.

use crate::report::times::{Bucket, EventTimes, TIMES_KEPT};

/// How many buckets ahead of the crowd a play may be without company: half a window, so that a single play never empties it.
const LEAD: i64 = 5;
/// The share of the plays around the crowd that is company for others, where that is more than [`TIMES_KEPT`]: one in ten.
const CROWD_SHARE: u64 = 10;
/// After so many reports in a row that bring only plays astray the crowd is thought to have gone on.
const STRAYS_MAX: u32 = 10;

pub struct Crowd {
    times: EventTimes,
    /// Where the crowd's bucket starts, in µs since 1970; `None` before the first play of an empty lake.
    home_us: Option<i64>,
    /// Where the clock's bucket started when it was last moved without plays.
    drained_us: Option<i64>,
    /// Reports in a row that have brought only plays astray.
    strays: u32,
}

impl Crowd {
    /// No plays are known, and the crowd has reached `clock_us`.
    pub fn new(window_us: i64, clock_us: Option<i64>) -> Self {
        let mut times = EventTimes::new(window_us);
        clock_us.iter().for_each(|clock_us| times.guard(*clock_us));
        Self { home_us: clock_us.map(|clock_us| times.start_of(clock_us)), times, drained_us: None, strays: 0 }
    }

    /// Takes in plays of the lake, in any order.
    pub fn remember(&mut self, stored: &EventTimes) {
        self.times.merge(stored);
    }

    /// Takes in plays. Returns whether there were any that are not astray.
    pub fn take(&mut self, read: &EventTimes) -> bool {
        if read.plays == 0 {
            return false;
        }
        let reach_us = self.reach_us();
        let (near, astray) = read.buckets().iter().fold((0, 0), |(near, astray), bucket| {
            if reach_us.is_some_and(|reach_us| bucket.start_us > reach_us) {
                (near, astray + bucket.plays)
            } else {
                (near + bucket.plays, astray)
            }
        });
        match (near, astray) {
            (0, 0) => {}
            (0, _) => self.strays += 1,
            _ => self.strays = 0,
        }
        self.times.merge(read);
        read.plays > astray
    }

    /// The clock has been moved without plays.
    pub fn drained(&mut self, clock_us: i64) {
        self.drained_us = Some(self.times.start_of(clock_us));
    }

    /// The latest event time that may move the clock, in µs since 1970.
    pub fn latest_us(&self) -> Option<i64> {
        let reach_us = self.reach_us()?;
        let within = self.times.buckets().iter().rev().find(|bucket| bucket.start_us <= reach_us);
        within.map(|bucket| bucket.latest_us[0])
    }

    /// Where the last bucket starts in which a play is not astray.
    fn reach_us(&self) -> Option<i64> {
        self.home_us.max(self.drained_us).map(|start_us| self.times.after(start_us, LEAD))
    }

    /// Moves the home to where the crowd has gone, when all that is known of it has been taken in.
    pub fn follow(&mut self) {
        let home_us = self.home_us.or_else(|| Some(self.times.buckets().first()?.start_us));
        let Some(mut home_us) = home_us else { return };
        while let Some(next_us) = self.next_home_us(home_us) {
            (home_us, self.strays) = (next_us, 0);
        }
        self.home_us = Some(home_us);
        self.times.guard(home_us);
        self.times.forget_before(self.times.after(home_us, -LEAD));
    }

    /// The next bucket that has enough company: half as many plays as the crowd has around `home_us`, but no more than
    /// [`TIMES_KEPT`] are needed in a small crowd, and a tenth of a great one. After [`STRAYS_MAX`] it is the first with a play astray.
    fn next_home_us(&self, home_us: i64) -> Option<i64> {
        let around = self.company(self.times.after(home_us, -LEAD), home_us);
        let (behind_us, needed) = match self.strays {
            STRAYS_MAX.. => (self.reach_us().unwrap_or(home_us), 1),
            _ => (home_us, around.div_ceil(2).min(TIMES_KEPT as u64).max(around / CROWD_SHARE).max(1)),
        };
        let buckets = self.times.buckets();
        let ahead = &buckets[buckets.partition_point(|bucket| bucket.start_us <= behind_us)..];
        let (mut company, mut end) = (0, 0);
        for (begin, bucket) in ahead.iter().enumerate() {
            let last_us = self.times.after(bucket.start_us, LEAD);
            while let Some(next) = ahead.get(end).filter(|next| next.start_us <= last_us) {
                company += next.company();
                end += 1;
            }
            if company >= needed {
                return Some(bucket.start_us);
            }
            company -= ahead[begin].company();
        }
        None
    }

    /// How many plays there are in the buckets from one to another, both included.
    fn company(&self, from_us: i64, to_us: i64) -> u64 {
        let within = self.times.buckets().iter().filter(|bucket| (from_us..=to_us).contains(&bucket.start_us));
        within.map(Bucket::company).sum()
    }
}

/// The clock that these plays give, in µs since 1970, wherever it was before; `None` without any.
pub fn clock_of_plays(times: &EventTimes) -> Option<i64> {
    let mut crowd = Crowd { times: times.clone(), home_us: None, drained_us: None, strays: 0 };
    crowd.follow();
    crowd.latest_us()
}
