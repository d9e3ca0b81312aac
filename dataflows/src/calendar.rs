//! Days, chart weeks, months and time zones: in which period of a chart a moment falls, and how people write both.
//!
//! Days are counted from 1970-01-01, and moments in µs from its first instant. Time zones are `jiff`'s, from the
//! database built into the program, so that a chart never depends on the machine that makes it.

mod date;
#[cfg(test)]
mod tests;

use jiff::Timestamp;
use jiff::civil::Weekday;
use jiff::tz::{Offset, TimeZone};
use serde::{Deserialize, Serialize};

use crate::play::DAY_US;
use date::{civil, day_of, iso_week, iso_year_start, weekday, year_name};

pub use date::{Unreadable, day_name, instant_name, parse_instant, utc_day};

/// The stretch of time that one list of a chart covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Period {
    Day,
    Week,
    Month,
    Year,
    All,
}

impl Period {
    /// First day of the period that holds `day`; 0 for all time.
    pub fn start(self, day: i32, week_starts: Weekday) -> i32 {
        match self {
            Self::Day => day,
            Self::Week => day - i32::from(weekday(day).since(week_starts)),
            Self::Month => {
                let (year, month, _) = civil(day);
                day_of(year, month, 1)
            }
            Self::Year => day_of(civil(day).0, 1, 1),
            Self::All => 0,
        }
    }

    /// First day after the period that begins on `start_day`; `None` for all time, which has no end.
    pub fn end(self, start_day: i32, week_starts: Weekday) -> Option<i32> {
        let start_day = self.start(start_day, week_starts);
        let (year, month, _) = civil(start_day);
        match self {
            Self::Day => Some(start_day + 1),
            Self::Week => Some(start_day + 7),
            Self::Month if month == 12 => Some(day_of(year + 1, 1, 1)),
            Self::Month => Some(day_of(year, month + 1, 1)),
            Self::Year => Some(day_of(year + 1, 1, 1)),
            Self::All => None,
        }
    }

    /// The period that begins on `start_day`, as people write it: `2026-11-20`, `2026-W47`, `2026-11`, `2026`, `all`.
    ///
    /// A week has the ISO number of the ISO week that holds its fourth day. For weeks that start on Monday that is
    /// their own; for others it is the ISO week that they share most days with.
    pub fn name(self, start_day: i32, week_starts: Weekday) -> String {
        let start_day = self.start(start_day, week_starts);
        let (year, month, _) = civil(start_day);
        match self {
            Self::Day => day_name(start_day),
            Self::Week => {
                let (year, week) = iso_week(start_day + 3);
                format!("{}-W{week:02}", year_name(year))
            }
            Self::Month => format!("{}-{month:02}", year_name(year)),
            Self::Year => year_name(year),
            Self::All => "all".to_owned(),
        }
    }

    /// First day of the period that [`Period::name`] writes as `text`. Any other spelling of it is refused.
    pub fn parse(self, text: &str, week_starts: Weekday) -> Result<i32, Unreadable> {
        self.first_day(text, week_starts)
            .filter(|&day| self.name(day, week_starts) == text)
            .ok_or_else(|| Unreadable { found: text.to_owned(), expected: self.expected() })
    }

    /// What `text` means if it is a name at all. Numbers out of range give the name of another period.
    fn first_day(self, text: &str, week_starts: Weekday) -> Option<i32> {
        if self == Self::All {
            return Some(0);
        }
        let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
        let mut parts = digits.split('-');
        let year = sign * bounded(parts.next()?)?;
        let mut part = || parts.next();
        match self {
            Self::Day => Some(day_of(year, bounded(part()?)?, bounded(part()?)?)),
            Self::Week => {
                let week = bounded(part()?.strip_prefix('W')?)?;
                let fourth_day_in_week = i32::from(week_starts.since(Weekday::Friday));
                Some(iso_year_start(year) + 7 * (week - 1) + fourth_day_in_week - 3)
            }
            Self::Month => Some(day_of(year, bounded(part()?)?, 1)),
            Self::Year => Some(day_of(year, 1, 1)),
            Self::All => Some(0),
        }
    }

    fn expected(self) -> &'static str {
        match self {
            Self::Day => "a day such as `2026-11-20`",
            Self::Week => "a week such as `2026-W47`",
            Self::Month => "a month such as `2026-11`",
            Self::Year => "a year such as `2026`",
            Self::All => "`all`, the only period of this chart",
        }
    }
}

/// The zone whose midnight ends a chart's days, and the day that begins its weeks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calendar {
    /// `None` is UTC.
    pub zone: Option<TimeZone>,
    pub week_starts: Weekday,
}

impl Default for Calendar {
    fn default() -> Self {
        Self { zone: None, week_starts: Weekday::Monday }
    }
}

impl Calendar {
    /// The date that a calendar on a wall in the zone shows at `timestamp_us`. For many timestamps see [`LocalDays`].
    pub fn local_day(&self, timestamp_us: i64) -> i32 {
        let offset = self.zone.as_ref().map_or(Offset::UTC, |zone| zone.to_offset(nearest(timestamp_us)));
        utc_day(timestamp_us.saturating_add(offset_us(offset)))
    }

    /// The instant, in µs since 1970, at which the local `day` begins: midnight, or where clocks skip midnight the
    /// moment at which they skip it. Where they go back over midnight (in St John's until 2011) it is the first
    /// midnight, though the evening that is repeated after it still has the date of the day before.
    pub fn midnight_us(&self, day: i32) -> i64 {
        let midnight_us = i64::from(day).saturating_mul(DAY_US);
        let Some(zone) = &self.zone else { return midnight_us };
        let (year, month, day_of_month) = civil(day);
        i16::try_from(year)
            .ok()
            .and_then(|year| jiff::civil::Date::new(year, month as i8, day_of_month as i8).ok())
            .and_then(|date| zone.to_timestamp(date.at(0, 0, 0, 0)).ok())
            .map_or_else(
                || midnight_us.saturating_sub(offset_us(zone.to_offset(nearest(midnight_us)))),
                Timestamp::as_microsecond,
            )
    }
}

/// [`Calendar::local_day`] for many timestamps.
///
/// It remembers the zone's offset between two changes of the clocks, so nearly every timestamp costs two comparisons,
/// in whatever order they come.
#[derive(Clone, Debug)]
pub struct LocalDays {
    calendar: Calendar,
    offset_us: i64,
    /// The offset holds from here…
    from_us: i64,
    /// …to before here.
    until_us: i64,
}

impl LocalDays {
    pub fn new(calendar: Calendar) -> Self {
        let until_us = if calendar.zone.is_none() { i64::MAX } else { i64::MIN };
        Self { calendar, offset_us: 0, from_us: i64::MIN, until_us }
    }

    /// The same as [`Calendar::local_day`].
    #[inline]
    pub fn day(&mut self, timestamp_us: i64) -> i32 {
        if timestamp_us < self.from_us || timestamp_us >= self.until_us {
            self.look_up(timestamp_us);
        }
        utc_day(timestamp_us.saturating_add(self.offset_us))
    }

    #[cold]
    fn look_up(&mut self, timestamp_us: i64) {
        let Some(zone) = &self.calendar.zone else { return };
        let now = nearest(timestamp_us);
        let just_after = nearest(timestamp_us.saturating_add(1));
        self.offset_us = offset_us(zone.to_offset(now));
        self.from_us = zone.preceding(just_after).next().map_or(i64::MIN, |change| change.timestamp().as_microsecond());
        self.until_us = zone.following(now).next().map_or(i64::MAX, |change| change.timestamp().as_microsecond());
    }
}

/// The zone of an IANA name such as `Europe/Lisbon`, from the database in the program; `None` if there is no such zone.
pub fn zone(name: &str) -> Option<TimeZone> {
    jiff::tz::TimeZoneDatabase::bundled().get(name).ok().filter(|zone| !zone.is_unknown())
}

/// The nearest moment that jiff can say: before and after its years the first and last offset of a zone go on.
fn nearest(timestamp_us: i64) -> Timestamp {
    let (min, max) = (Timestamp::MIN, Timestamp::MAX);
    let fallback = if timestamp_us < 0 { min } else { max };
    Timestamp::from_microsecond(timestamp_us).unwrap_or(fallback)
}

fn offset_us(offset: Offset) -> i64 {
    i64::from(offset.seconds()) * 1_000_000
}

/// A number of one to six digits, so that no date made from it overflows.
fn bounded(digits: &str) -> Option<i32> {
    let plausible = digits.len() <= 6 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if plausible { digits.parse().ok() } else { None }
}
