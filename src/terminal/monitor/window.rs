//! Warns if the clock and the trending window do not fit the plays: if the clock is ahead of the
//! wall clock, or most plays are too old for the window when they are read.

use std::collections::VecDeque;
use std::time::{SystemTime, UNIX_EPOCH};

use tracing::warn;

use crate::state::{Status, WindowMisses};

/// The number of past seconds whose plays are judged.
const LOOK_BACK: usize = 300;
/// A clock that is ahead by less does not count: the time of a machine may be in adjustment.
const AHEAD_MIN_MS: i64 = 1000;
/// With fewer plays, most of them being too old means nothing.
const PLAYS_MIN: u64 = 10;

/// Watches the window. It looks at the status once a second.
#[derive(Default)]
pub struct WindowWatch {
    is_ahead: bool,
    are_missed: bool,
    /// The counts at each of the past seconds, the oldest first.
    past: VecDeque<Counts>,
    /// The counts when the run had caught up for the first time. Plays before that are history.
    begin: Option<Counts>,
}

/// The numbers of plays since the start of the run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// All plays.
    pub plays: u64,
    /// The plays that were too old for the window when they were read.
    pub missed: u64,
    /// The sum of how far these were behind the clock, in µs.
    pub missed_by_us: u64,
}

impl Counts {
    fn since(&self, before: &Self) -> Self {
        let plays = self.plays - before.plays;
        Self {
            plays,
            missed: (self.missed - before.missed).min(plays),
            missed_by_us: self.missed_by_us - before.missed_by_us,
        }
    }

    fn is_mostly_missed(&self) -> bool {
        self.plays >= PLAYS_MIN && self.missed > self.plays / 2
    }
}

impl WindowWatch {
    /// Notes in `status` how far the clock is ahead and how many plays missed the window, and warns
    /// when either becomes a problem.
    pub fn look(&mut self, status: &mut Status, now: Counts) {
        status.clock_ahead_ms = status.clock_us.map(|clock_us| clock_us / 1000 - wall_ms());
        status.clock_ahead_ms = status.clock_ahead_ms.filter(|ahead_ms| *ahead_ms >= AHEAD_MIN_MS);
        if let Some(ahead_ms) = status.clock_ahead_ms
            && !self.is_ahead
        {
            warn!(
                ahead_s = ahead_ms / 1000,
                "the clock of the charts is {} ahead of this machine's: trending stays empty until plays come near it. If this \
                 machine's time is right, start once with --reset-clock",
                span(ahead_ms / 1000)
            );
        }
        self.is_ahead = status.clock_ahead_ms.is_some();
        self.past.push_back(now);
        if self.past.len() > LOOK_BACK + 1 {
            self.past.pop_front();
        }
        let oldest = self.past.front().copied().unwrap_or_default();
        let seen = now.since(&oldest);
        status.window_misses = (seen.plays > 0).then_some(WindowMisses { plays: seen.plays, missed: seen.missed });
        if status.caught_up {
            let begin = *self.begin.get_or_insert(now);
            self.warn_of_misses(if begin.plays > oldest.plays { now.since(&begin) } else { seen });
        }
    }

    fn warn_of_misses(&mut self, seen: Counts) {
        let are_missed = seen.is_mostly_missed();
        if are_missed && !self.are_missed {
            let Counts { plays, missed, missed_by_us } = seen;
            let advice = if self.is_ahead {
                "the clock is ahead of this machine's: start once with --reset-clock"
            } else {
                "set a longer trending window in the --charts file, or find out what delays the plays"
            };
            warn!(
                plays,
                missed,
                "most plays arrive too late for the trending window: {missed} of the last {plays} were older than it when they were \
                 read, by {} behind the clock on average; {advice}",
                span(i64::try_from(missed_by_us / missed.max(1) / 1_000_000).unwrap_or(i64::MAX))
            );
        }
        self.are_missed = are_missed;
    }
}

/// A duration as text, with a unit that fits.
fn span(seconds: i64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

fn wall_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE_US: u64 = 60_000_000;

    fn counts(plays: u64, missed: u64) -> Counts {
        Counts { plays, missed, missed_by_us: missed * 20 * MINUTE_US }
    }

    /// The status counts plays that were missed while history was read; only those that are missed
    /// afterwards cause a warning.
    #[test]
    fn plays_that_miss_the_window() {
        let (mut watch, mut status) = (WindowWatch::default(), Status::default());
        watch.look(&mut status, counts(0, 0));
        assert_eq!(status.window_misses, None);
        watch.look(&mut status, counts(1000, 900));
        assert_eq!(status.window_misses, Some(WindowMisses { plays: 1000, missed: 900 }));
        status.caught_up = true;
        watch.look(&mut status, counts(1000, 900));
        watch.look(&mut status, counts(1009, 909));
        assert!(!watch.are_missed, "too few to tell");
        watch.look(&mut status, counts(1010, 909));
        assert!(watch.are_missed);
        watch.look(&mut status, counts(1018, 909));
        assert!(!watch.are_missed, "half of them are not most");
        for _ in 0..=LOOK_BACK {
            watch.look(&mut status, counts(1018, 909));
        }
        assert_eq!(status.window_misses, None, "five minutes without a play");
    }

    #[test]
    fn a_clock_ahead() {
        let (mut watch, mut status) = (WindowWatch::default(), Status::default());
        let mut ahead_ms = |ms: i64| {
            status.clock_us = Some((wall_ms() + ms) * 1000);
            watch.look(&mut status, counts(0, 0));
            status.clock_ahead_ms
        };
        assert!(ahead_ms(3_600_000).is_some_and(|ahead_ms| (3_500_000..=3_600_000).contains(&ahead_ms)));
        assert_eq!((ahead_ms(0), ahead_ms(-3_600_000), ahead_ms(500)), (None, None, None));
    }
}
