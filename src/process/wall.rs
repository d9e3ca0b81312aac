//! The wall clock of this machine.

use std::time::{SystemTime, UNIX_EPOCH};

/// The current time in µs since 1970.
pub fn wall_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64)
}

/// The current time in ms since 1970.
pub fn wall_ms() -> i64 {
    wall_us() / 1000
}
