//! Days, weeks, months and time zones: the period of a chart in which a moment falls, and the names
//! of both.
//!
//! Days are counted from 1970-01-01, and moments in µs from its first instant in UTC. Time zones
//! are `jiff`'s, from the database built into the program: a chart never depends on the machine
//! that makes it.
//!
//! ```
//! use jiff::civil::Weekday;
//! use reprise_dataflows::time::{Calendar, Period, day_name, parse_instant, zone};
//!
//! // The month of a play in Tokyo, where it is New Year already.
//! let tokyo = Calendar { zone: zone("Asia/Tokyo"), week_starts: Weekday::Monday };
//! let played_us = parse_instant("2026-12-31T16:30:00Z")?;
//! let day = tokyo.local_day(played_us);
//! assert_eq!(day_name(day), "2027-01-01");
//!
//! let start = Period::Month.start(day, tokyo.week_starts);
//! assert_eq!(Period::Month.name(start, tokyo.week_starts), "2027-01");
//! # Ok::<(), reprise_dataflows::time::Unreadable>(())
//! ```

mod calendar;
mod date;
mod period;
#[cfg(test)]
mod tests;

pub use calendar::{Calendar, LocalDays, zone};
pub use date::{Unreadable, day_name, instant_name, parse_instant, utc_day};
pub use period::Period;
