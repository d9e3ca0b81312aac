//! A steady rate: how many plays are due at a given time, however irregularly that is asked.

use std::time::{Duration, Instant};

/// The longest stall that is made up for. Catching up on more would be a burst above the requested
/// rate.
const DEBT_MAX: Duration = Duration::from_secs(1);

/// Releases plays at a rate, counted from the first call of [`Pace::due`].
pub struct Pace {
    /// Plays a second; `None` is as fast as possible.
    rate: Option<f64>,
    /// When the first play was due.
    origin: Option<Instant>,
    /// Plays released so far, with those that were skipped after a stall.
    given: u64,
}

impl Pace {
    /// A pace of `rate` plays a second; `None` is as fast as possible.
    pub fn new(rate: Option<f64>) -> Self {
        Self { rate, origin: None, given: 0 }
    }

    /// How many plays are due at `now` and not released yet. After a stall of more than a second,
    /// the plays of earlier seconds are skipped.
    pub fn due(&mut self, now: Instant) -> u64 {
        let Some(rate) = self.rate else { return u64::MAX };
        let origin = *self.origin.get_or_insert(now);
        let owed = ((now - origin).as_secs_f64() * rate) as u64 + 1;
        let due = owed.saturating_sub(self.given);
        let due_max = (rate * DEBT_MAX.as_secs_f64()) as u64 + 1;
        if due > due_max {
            self.given = owed - due_max;
        }
        due.min(due_max)
    }

    /// Records that `plays` of the due ones have been released.
    pub fn give(&mut self, plays: u64) {
        self.given += plays;
    }

    /// How long after `now` the next play is due.
    pub fn wait(&self, now: Instant) -> Duration {
        let (Some(rate), Some(origin)) = (self.rate, self.origin) else { return Duration::ZERO };
        Duration::from_secs_f64(self.given as f64 / rate).saturating_sub(now - origin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_kept_however_unevenly_the_clock_is_read() {
        let (start, mut pace, mut sent) = (Instant::now(), Pace::new(Some(10_000.0)), 0);
        for step in 0..1000u64 {
            // Steps of 1 to 7 ms.
            let now = start + Duration::from_millis(4 * step + step * 5 % 7);
            let due = pace.due(now);
            let part = due.min(55);
            pace.give(part);
            sent += part;
        }
        assert!((39_900..=40_100).contains(&sent), "{sent}");
    }

    #[test]
    fn after_a_stall_only_a_second_is_caught_up() {
        let (start, mut pace) = (Instant::now(), Pace::new(Some(100.0)));
        assert_eq!(pace.due(start), 1);
        let due = pace.due(start + Duration::from_secs(60));
        assert_eq!(due, 101);
        pace.give(due);
        assert_eq!(pace.due(start + Duration::from_secs(60)), 0);
        assert_eq!(pace.due(start + Duration::from_secs(61)), 100);
    }

    #[test]
    fn the_wait_ends_when_the_next_play_is_due() {
        let (start, mut pace) = (Instant::now(), Pace::new(Some(0.5)));
        assert_eq!(pace.due(start), 1);
        pace.give(1);
        assert_eq!(pace.wait(start), Duration::from_secs(2));
        assert_eq!(pace.due(start + pace.wait(start)), 1);
        assert_eq!(Pace::new(None).due(start), u64::MAX);
    }
}
