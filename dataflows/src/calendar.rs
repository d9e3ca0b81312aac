//! Days, chart weeks, months and time zones: in which period of a chart a moment falls.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Period {
    Day,
    Week,
    Month,
    Year,
    All,
}

/// The zone whose midnight ends a chart's days, and the day that begins its weeks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calendar {
    /// `None` is UTC.
    pub zone: Option<jiff::tz::TimeZone>,
    pub week_starts: jiff::civil::Weekday,
}
