//! How far the plays of a cut are spread over time: each hour becomes a file, and each day of dead letters too.

use std::collections::HashSet;
use std::ops::Range;

use reprise_dataflows::play::{DAY_US, HOUR_US};

/// What a file of a commit takes in memory beside its rows, about: where its rows are, how it is described to the log, and its lines
/// there.
pub const FILE_BYTES: u64 = 2048;

/// The files that a cut will need.
#[derive(Default)]
pub struct Spread {
    /// Of plays, by hour since 1970.
    hours: HashSet<i64>,
    /// Of dead letters, by day since 1970.
    days: HashSet<i64>,
    /// The hour of the last play, in µs since 1970.
    hour_us: Range<i64>,
}

impl Spread {
    /// Takes in a play of the event time `at_us`, in µs since 1970.
    #[inline]
    pub fn add_play(&mut self, at_us: i64) {
        if !self.hour_us.contains(&at_us) {
            let hour = at_us.div_euclid(HOUR_US);
            self.hours.insert(hour);
            self.hour_us = hour * HOUR_US..(hour + 1) * HOUR_US;
        }
    }

    /// Takes in a dead letter that Kafka has got at `at_ms`, in ms since 1970.
    pub fn add_dead_letter(&mut self, at_ms: Option<i64>) {
        self.days.insert(at_ms.unwrap_or(0).div_euclid(DAY_US / 1000));
    }

    /// How many files it takes.
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
