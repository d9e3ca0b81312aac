//! The number of files that a cut will need: one for each hour of plays and each day of dead
//! letters.

use std::collections::HashSet;
use std::ops::Range;

use reprise_dataflows::play::{DAY_US, HOUR_US};

/// The approximate memory of a file of a commit besides its rows: its row index, its description
/// for the log, and its log lines.
pub const FILE_BYTES: u64 = 2048;

/// The hours and days of the records since the last cut.
#[derive(Default)]
pub struct Spread {
    /// The hours of the plays, counted since 1970.
    hours: HashSet<i64>,
    /// The days of the dead letters, counted since 1970.
    days: HashSet<i64>,
    /// The hour of the last play, in µs since 1970.
    hour_us: Range<i64>,
}

impl Spread {
    /// Adds a play with the event time `at_us`, in µs since 1970.
    #[inline]
    pub fn add_play(&mut self, at_us: i64) {
        if !self.hour_us.contains(&at_us) {
            let hour = at_us.div_euclid(HOUR_US);
            self.hours.insert(hour);
            self.hour_us = hour * HOUR_US..(hour + 1) * HOUR_US;
        }
    }

    /// Adds a dead letter with Kafka's timestamp `at_ms`, in ms since 1970.
    pub fn add_dead_letter(&mut self, at_ms: Option<i64>) {
        self.days.insert(at_ms.unwrap_or(0).div_euclid(DAY_US / 1000));
    }

    /// The number of files.
    #[inline]
    pub fn files(&self) -> u64 {
        (self.hours.len() + self.days.len()) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_and_days_are_counted_once() {
        let mut spread = Spread::default();
        for at_us in [0, HOUR_US - 1, HOUR_US, 5, -1, HOUR_US + 1] {
            spread.add_play(at_us);
        }
        assert_eq!(spread.files(), 3);
        for at_ms in [None, Some(1), Some(DAY_US / 1000 - 1), Some(DAY_US / 1000)] {
            spread.add_dead_letter(at_ms);
        }
        assert_eq!(spread.files(), 5);
    }
}
