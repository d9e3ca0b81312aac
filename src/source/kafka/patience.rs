//! Asks a broker that may not answer for a moment.

use std::time::{Duration, Instant};

use anyhow::Result;

const AGAIN: Duration = Duration::from_millis(100);

/// Asks until there is an answer, for as long as `patience` lasts; then the last error is the answer.
pub fn patiently<T>(patience: Duration, ask: impl Fn() -> Result<T>) -> Result<T> {
    let began = Instant::now();
    loop {
        match ask() {
            Err(_) if began.elapsed() < patience => std::thread::sleep(AGAIN),
            answer => return answer,
        }
    }
}
