//! Decides when a run without a terminal logs: a line when something has changed, at most one in
//! ten seconds, none while it is idle; and a warning of dead letters at the first ones, then at
//! growing intervals.
//!
//! The decisions take the time as an argument, so that the tests need no clock.

use std::time::{Duration, Instant};

use crate::state::Status;

/// The least time between two lines that differ only in their counts.
const LINE_INTERVAL: Duration = Duration::from_secs(10);
/// The least time between the first two warnings; each later interval is twice as long as the one
/// before.
const WARNING_INTERVAL: Duration = Duration::from_secs(10);
/// The longest of these intervals.
const WARNING_INTERVAL_MAX: Duration = Duration::from_secs(3600);

/// What a line says, except rates and clocks, which change even in an idle run.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    /// Whether the run is ready and has caught up; a change of these is logged at once.
    stage: (bool, bool),
    counted: [u64; 5],
    lake_version: Option<u64>,
}

impl Seen {
    fn of(status: &Status, lake_rows: u64) -> Self {
        let dead_letters = status.dead_letters.values().sum();
        Self {
            stage: (status.ready, status.caught_up),
            counted: [status.accepted, dead_letters, status.holes, status.missing, lake_rows],
            lake_version: status.lake_version,
        }
    }
}

/// Remembers what was logged last.
#[derive(Default)]
pub struct Lines {
    line: Option<(Instant, Seen)>,
    warning: Option<Warning>,
}

struct Warning {
    dead_letters: u64,
    due: Instant,
    interval: Duration,
}

impl Lines {
    /// Whether to log a line `now`, of a run with this `status` that has read `lake_rows` rows of
    /// its lake. If `is_last`, it is the last line of a run, which does not wait for the interval.
    pub fn line_is_due(&mut self, now: Instant, status: &Status, lake_rows: u64, is_last: bool) -> bool {
        let seen = Seen::of(status, lake_rows);
        let is_due = self.line.as_ref().is_none_or(|(at, last)| {
            let waited = is_last || last.stage != seen.stage || now.duration_since(*at) >= LINE_INTERVAL;
            *last != seen && waited
        });
        if is_due {
            self.line = Some((now, seen));
        }
        is_due
    }

    /// Whether to warn `now` of the dead letters in `status`. The end of a run causes no additional
    /// warning.
    pub fn warning_is_due(&mut self, now: Instant, status: &Status) -> bool {
        let dead_letters = match status.no_plays {
            Some(_) => status.lake_dead_letters.max(status.dead_letters.values().sum()),
            None => status.dead_letters.values().sum(),
        };
        let interval = match &self.warning {
            _ if dead_letters == 0 => return false,
            None => WARNING_INTERVAL,
            Some(last) if dead_letters > last.dead_letters && now >= last.due => {
                (last.interval * 2).min(WARNING_INTERVAL_MAX)
            }
            Some(_) => return false,
        };
        self.warning = Some(Warning { dead_letters, due: now + interval, interval });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(accepted: u64, dead_letters: u64) -> Status {
        let dead_letters = [("not_json".to_owned(), dead_letters)].into();
        Status { accepted, dead_letters, ready: true, caught_up: true, ..Status::default() }
    }

    /// The seconds at which a line is logged, if `story` gives the status of the run at each
    /// second.
    fn lines(story: impl Fn(u64) -> Status) -> Vec<u64> {
        let (began, mut lines) = (Instant::now(), Lines::default());
        let due = |second: &u64| lines.line_is_due(began + Duration::from_secs(*second), &story(*second), 0, false);
        (0..100).filter(due).collect()
    }

    #[test]
    fn plays_that_come_are_a_line_in_ten_seconds() {
        assert_eq!(lines(|second| status(second * 1000, 0)), [0, 10, 20, 30, 40, 50, 60, 70, 80, 90]);
    }

    #[test]
    fn an_idle_run_says_nothing() {
        assert_eq!(lines(|_| status(7, 1)), [0]);
        let clock_goes_on = |second| Status { clock_us: Some(second as i64), plays_per_second: 0.1, ..status(7, 1) };
        assert_eq!(lines(clock_goes_on), [0]);
    }

    #[test]
    fn changes_after_a_pause_are_logged_at_once() {
        assert_eq!(lines(|second| status(u64::from(second >= 42), 0)), [0, 42]);
        // A commit after the pause.
        assert_eq!(lines(|second| Status { lake_version: Some(second / 55), ..status(7, 0) }), [0, 55]);
    }

    #[test]
    fn another_stage_does_not_wait() {
        let catches_up = |second| Status { caught_up: second >= 3, ..status(second, 0) };
        assert_eq!(lines(catches_up)[..3], [0, 3, 13]);
    }

    #[test]
    fn the_last_line_does_not_wait_either() {
        let (now, mut lines) = (Instant::now(), Lines::default());
        assert!(lines.line_is_due(now, &status(1, 0), 0, false));
        assert!(!lines.line_is_due(now, &status(2, 0), 0, false));
        assert!(lines.line_is_due(now, &status(2, 0), 0, true));
        assert!(!lines.line_is_due(now, &status(2, 0), 0, true));
    }

    #[test]
    fn warnings_come_at_growing_intervals() {
        let warnings = |story: fn(u64) -> u64| {
            let (began, mut lines) = (Instant::now(), Lines::default());
            let due =
                |second: &u64| lines.warning_is_due(began + Duration::from_secs(*second), &status(0, story(*second)));
            (0..200).filter(due).collect::<Vec<u64>>()
        };
        assert_eq!(warnings(|second| second), [1, 11, 31, 71, 151]);
        assert_eq!(warnings(|second| second.min(5)), [1, 11]);
        assert!(warnings(|_| 0).is_empty());
    }
}
