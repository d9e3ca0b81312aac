//! Whether the clock and the trending window are where the plays are: a clock that is ahead of the wall clock, and plays that are
//! too old for the window when they are read.

use std::collections::VecDeque;
use std::time::{SystemTime, UNIX_EPOCH};

use tracing::warn;

use crate::state::{Status, WindowMisses};

/// For how many seconds plays are looked back at.
const LOOK_BACK: usize = 300;
/// A clock that is ahead by less is that of a machine whose time is being adjusted.
const AHEAD_MIN_MS: i64 = 1000;
/// Fewer plays say nothing about where most of them are.
const PLAYS_MIN: u64 = 10;

/// Looked at once a second.
#[derive(Default)]
pub struct WindowWatch {
    is_ahead: bool,
    are_missed: bool,
    /// One for each second.
    past: VecDeque<Counts>,
    /// When all had been read for the first time: what came before is history.
    begin: Option<Counts>,
}

/// Plays since the start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub plays: u64,
    /// Those that were too old for the window.
    pub missed: u64,
    /// How far these were behind the clock, added up, in µs.
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
    /// Notes in `status` what there is to say, and warns when it begins.
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
                "give trending a longer window in the file of --charts, or find out what delays the plays"
            };
            warn!(
                plays,
                missed,
                "most plays come too late for trending: {missed} of the last {plays} were older than its window when they were \
                 read, by {} behind the clock on average; {advice}",
                span(i64::try_from(missed_by_us / missed.max(1) / 1_000_000).unwrap_or(i64::MAX))
            );
        }
        self.are_missed = are_missed;
    }
}

/// A time in seconds, in words.
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

    /// What was missed while history was read is told, and warned of is what is missed afterwards.
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
