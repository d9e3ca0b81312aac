//! Days, chart weeks, months and time zones: in which period of a chart a moment falls, and how people write both.
//!
//! Days are counted from 1970-01-01 in the proleptic Gregorian calendar, and moments in µs from its first instant. The
//! arithmetic is our own because it must hold for every moment that an `i64` of µs can say: the year of a play is bounded
//! by the clock of its producer alone, and a date library ends at the year 9999. Time zones are `jiff`'s, from the
//! database built into the program, so that a chart never depends on the machine that makes it.

use jiff::Timestamp;
use jiff::civil::Weekday;
use jiff::tz::{Offset, TimeZone};
use serde::{Deserialize, Serialize};

use crate::play::DAY_US;

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

/// A text that is not the period, day or instant that it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is not {expected}")]
pub struct Unreadable {
    pub found: String,
    /// What it should be, with an example.
    pub expected: &'static str,
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
    /// A week has the ISO number of the ISO week that holds its fourth day. For weeks that start on Monday that is their
    /// own; for others it is the ISO week that they share most days with.
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

    /// The instant, in µs since 1970, at which the local `day` begins: midnight, or where clocks skip midnight the moment
    /// at which they skip it.
    pub fn midnight_us(&self, day: i32) -> i64 {
        let midnight_us = i64::from(day) * DAY_US;
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
/// It remembers the zone's offset between two changes of the clocks, so nearly every timestamp costs two comparisons, in
/// whatever order they come.
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

/// The UTC day of a moment.
pub fn utc_day(timestamp_us: i64) -> i32 {
    // An i64 of µs spans 106,751,992 days to either side.
    timestamp_us.div_euclid(DAY_US) as i32
}

/// A day as people write it: `2026-11-20`.
pub fn day_name(day: i32) -> String {
    let (year, month, day_of_month) = civil(day);
    format!("{}-{month:02}-{day_of_month:02}", year_name(year))
}

/// A moment in RFC 3339, in UTC: `2026-11-20T14:41:40Z`, with as many digits of a fraction as it needs.
pub fn instant_name(timestamp_us: i64) -> String {
    let of_day_us = timestamp_us.rem_euclid(DAY_US);
    let (seconds, fraction_us) = (of_day_us / 1_000_000, of_day_us % 1_000_000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let mut name = format!("{}T{hour:02}:{minute:02}:{second:02}", day_name(utc_day(timestamp_us)));
    if fraction_us > 0 {
        name.push_str(format!(".{fraction_us:06}").trim_end_matches('0'));
    }
    name.push('Z');
    name
}

/// The moment, in µs since 1970, that a user means by RFC 3339 with any offset, or by a day or a day and time in UTC.
/// What is finer than a µs is cut off.
pub fn parse_instant(text: &str) -> Result<i64, Unreadable> {
    // jiff reads `[Zone]` annotations, and for a civil time drops them: a wrong answer instead of none.
    let instant = (!text.contains('['))
        .then(|| {
            let civil = || text.parse::<jiff::civil::DateTime>().and_then(|civil| TimeZone::UTC.to_timestamp(civil));
            text.parse::<Timestamp>().or_else(|_| civil()).ok()
        })
        .flatten();
    instant.map(|instant| instant.as_nanosecond().div_euclid(1000) as i64).ok_or_else(|| Unreadable {
        found: text.to_owned(),
        expected: "a time such as `2026-11-20`, `2026-11-20 14:00:00` (UTC) or `2026-11-20T14:00:00+01:00`",
    })
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

fn weekday(day: i32) -> Weekday {
    const FROM_1970: [Weekday; 7] = [
        Weekday::Thursday,
        Weekday::Friday,
        Weekday::Saturday,
        Weekday::Sunday,
        Weekday::Monday,
        Weekday::Tuesday,
        Weekday::Wednesday,
    ];
    FROM_1970[day.rem_euclid(7) as usize]
}

/// The ISO year and week of a day: a week belongs to the year that holds its Thursday.
fn iso_week(day: i32) -> (i32, i32) {
    let thursday = Period::Week.start(day, Weekday::Monday) + 3;
    let (year, _, _) = civil(thursday);
    (year, (thursday - day_of(year, 1, 1)) / 7 + 1)
}

/// The Monday of the first ISO week of a year: the week of January 4.
fn iso_year_start(year: i32) -> i32 {
    Period::Week.start(day_of(year, 1, 4), Weekday::Monday)
}

/// Years have four digits or more.
fn year_name(year: i32) -> String {
    let sign = if year < 0 { "-" } else { "" };
    format!("{sign}{:04}", year.unsigned_abs())
}

/// A number of one to six digits, so that no date made from it overflows.
fn bounded(digits: &str) -> Option<i32> {
    let plausible = digits.len() <= 6 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if plausible { digits.parse().ok() } else { None }
}

/// Year, month and day of the month. The year is counted from March, so that the leap day comes last, in eras of 400
/// years; this is Howard Hinnant's `civil_from_days`.
fn civil(day: i32) -> (i32, i32, i32) {
    let from_march_0000 = day + 719_468;
    let (era, of_era) = (from_march_0000.div_euclid(146_097), from_march_0000.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day_of_month = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + i32::from(month <= 2), month, day_of_month)
}

/// The inverse of [`civil`]. A day of the month that is too great runs on into the next.
fn day_of(year: i32, month: i32, day_of_month: i32) -> i32 {
    let year = year - i32::from(month <= 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let month_from_march = (month + 9) % 12;
    let of_year = (153 * month_from_march + 2) / 5 + day_of_month - 1;
    era * 146_097 + 365 * year_of_era + year_of_era / 4 - year_of_era / 100 + of_year - 719_468
}
