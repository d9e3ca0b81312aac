//! The restart budget of a cluster: when it is started again after a process has died, and when it
//! is given up.

use std::time::Duration;

/// The wait before the first restart.
const WAIT_MIN: Duration = Duration::from_millis(250);
/// A cluster that stays up this long resets the restart budget: it did not die of the same cause
/// again.
const RESET_AFTER: Duration = Duration::from_secs(60);

/// The restarts of a cluster: each waits twice as long as the one before, up to a limit.
#[derive(Clone, Debug)]
pub struct Restarts {
    /// The most restarts in a row.
    pub max: u32,
    /// The longest wait before a restart.
    pub wait_max: Duration,
    /// Restarts since the cluster last stayed up for a minute.
    pub in_a_row: u32,
}

impl Restarts {
    /// A full budget of `max` restarts.
    pub fn new(max: u32, wait_max: Duration) -> Self {
        Self { max, wait_max, in_a_row: 0 }
    }

    /// How long to wait before the next start, if the last one `lived` this long. `None` if the
    /// budget is used up.
    pub fn after(&mut self, lived: Duration) -> Option<Duration> {
        if lived >= RESET_AFTER {
            self.in_a_row = 0;
        }
        if self.in_a_row >= self.max {
            return None;
        }
        let wait = WAIT_MIN.saturating_mul(1u32.checked_shl(self.in_a_row).unwrap_or(u32::MAX));
        self.in_a_row += 1;
        Some(wait.min(self.wait_max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_waits_twice_as_long_until_it_is_given_up() {
        let mut restarts = Restarts::new(6, Duration::from_secs(3));
        let mut waits = || restarts.after(Duration::from_secs(59)).map(|wait| wait.as_millis());
        let found: Vec<_> = (0..7).map(|_| waits()).collect();
        assert_eq!(found, [Some(250), Some(500), Some(1000), Some(2000), Some(3000), Some(3000), None]);
        assert_eq!(restarts.after(RESET_AFTER), Some(WAIT_MIN), "it has lived, so all is forgotten");
        assert_eq!(Restarts::new(0, RESET_AFTER).after(RESET_AFTER), None);
        let mut patient = Restarts::new(u32::MAX, RESET_AFTER);
        assert!((0..100).all(|_| patient.after(Duration::ZERO).is_some_and(|wait| wait <= RESET_AFTER)));
    }
}
