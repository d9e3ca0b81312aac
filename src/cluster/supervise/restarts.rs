//! When a cluster that has died is started again, and when not any more.

use std::time::Duration;

const WAIT_MIN: Duration = Duration::from_millis(250);
/// Who has lived for so long, has not died of what it died of before.
const CALM: Duration = Duration::from_secs(60);

/// The restarts of a cluster: each waits twice as long as the one before, up to a limit.
#[derive(Clone, Debug)]
pub struct Restarts {
    /// So many in a row, and no more.
    pub max: u32,
    pub wait_max: Duration,
    /// So many since it last lived for a while.
    pub in_a_row: u32,
}

impl Restarts {
    pub fn new(max: u32, wait_max: Duration) -> Self {
        Self { max, wait_max, in_a_row: 0 }
    }

    /// How long to wait before the next start of what has `lived` for so long. None if it has died too often.
    pub fn after(&mut self, lived: Duration) -> Option<Duration> {
        if lived >= CALM {
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
        assert_eq!(restarts.after(CALM), Some(WAIT_MIN), "it has lived, so all is forgotten");
        assert_eq!(Restarts::new(0, CALM).after(CALM), None);
        let mut patient = Restarts::new(u32::MAX, CALM);
        assert!((0..100).all(|_| patient.after(Duration::ZERO).is_some_and(|wait| wait <= CALM)));
    }
}
