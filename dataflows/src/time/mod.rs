//! Days, chart weeks, months and time zones: in which period of a chart a moment falls, and how people write both.
//!
//! Days are counted from 1970-01-01, and moments in µs from its first instant. Time zones are `jiff`'s, from the
//! database built into the program, so that a chart never depends on the machine that makes it.

mod calendar;
mod date;
mod period;
#[cfg(test)]
mod tests;

pub use calendar::{Calendar, LocalDays, zone};
pub use date::{Unreadable, day_name, instant_name, parse_instant, utc_day};
pub use period::Period;
