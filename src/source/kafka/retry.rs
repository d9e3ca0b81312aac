//! Retries requests to a broker that may fail for a moment.

use std::time::{Duration, Instant};

use anyhow::Result;

const RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// Makes a request until it succeeds or `timeout` has passed.
///
/// # Errors
/// The last error of `request`.
pub fn retry_for<T>(timeout: Duration, request: impl Fn() -> Result<T>) -> Result<T> {
    let started = Instant::now();
    loop {
        match request() {
            Err(_) if started.elapsed() < timeout => std::thread::sleep(RETRY_INTERVAL),
            answer => return answer,
        }
    }
}
