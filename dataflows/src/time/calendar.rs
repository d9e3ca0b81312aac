//! The days of a time zone, and the day that weeks begin with.

use jiff::Timestamp;
use jiff::civil::Weekday;
use jiff::tz::{Offset, TimeZone};

use super::date::{civil, utc_day};
use crate::play::DAY_US;

/// The time zone whose midnight ends the days of a chart, and the weekday that begins its weeks.
///
/// ```
/// use reprise_dataflows::time::{Calendar, day_name, parse_instant, utc_day, zone};
///
/// // Half past midnight in Lisbon, which has summer time.
/// let evening_us = parse_instant("2026-06-30T23:30Z")?;
/// let lisbon = Calendar { zone: zone("Europe/Lisbon"), ..Calendar::default() };
/// assert_eq!(day_name(utc_day(evening_us)), "2026-06-30");
/// assert_eq!(day_name(lisbon.local_day(evening_us)), "2026-07-01");
/// # Ok::<(), reprise_dataflows::time::Unreadable>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calendar {
    /// `None` is UTC.
    pub zone: Option<TimeZone>,
    /// The first day of a week.
    pub week_starts: Weekday,
}

impl Default for Calendar {
    fn default() -> Self {
        Self { zone: None, week_starts: Weekday::Monday }
    }
}

impl Calendar {
    /// The local date at `timestamp_us`, in days since 1970. For many timestamps use [`LocalDays`].
    pub fn local_day(&self, timestamp_us: i64) -> i32 {
        let offset = self.zone.as_ref().map_or(Offset::UTC, |zone| zone.to_offset(nearest(timestamp_us)));
        utc_day(timestamp_us.saturating_add(offset_us(offset)))
    }

    /// The instant at which the local `day` begins, in µs since 1970: midnight, or the moment of
    /// the change if the clocks skip midnight.
    ///
    /// If clocks go back over midnight (in St John's until 2011), the day begins at the first of
    /// the two midnights, although the repeated evening after it has the date of the day before.
    ///
    /// ```
    /// use reprise_dataflows::time::{Calendar, Period, instant_name, zone};
    ///
    /// // Clocks in Beirut skip from 00:00 to 01:00 on 2026-03-29: that day has 23 hours.
    /// let beirut = Calendar { zone: zone("Asia/Beirut"), ..Calendar::default() };
    /// let day = Period::Day.parse("2026-03-29", beirut.week_starts)?;
    /// assert_eq!(instant_name(beirut.midnight_us(day)), "2026-03-28T22:00:00Z");
    /// assert_eq!(instant_name(beirut.midnight_us(day + 1)), "2026-03-29T21:00:00Z");
    /// # Ok::<(), reprise_dataflows::time::Unreadable>(())
    /// ```
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
/// Keeps the offset of the zone between two changes of the clocks: a timestamp between the two
/// costs two comparisons.
///
/// ```
/// use reprise_dataflows::time::{Calendar, LocalDays, zone};
///
/// const HOUR_US: i64 = 3_600_000_000;
/// let tokyo = Calendar { zone: zone("Asia/Tokyo"), ..Calendar::default() };
/// let mut days = LocalDays::new(tokyo);
/// // Midnight in Tokyo is 15:00 UTC.
/// assert_eq!([14, 15, 38, 39].map(|hour| days.day(hour * HOUR_US)), [0, 1, 1, 2]);
/// ```
#[derive(Clone, Debug)]
pub struct LocalDays {
    calendar: Calendar,
    offset_us: i64,
    /// `offset_us` holds in `from_us..until_us`.
    from_us: i64,
    until_us: i64,
}

impl LocalDays {
    /// The days of `calendar`. In UTC no offset is ever looked up.
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

/// The time zone with an IANA name, from the database in the program; `None` if there is no such
/// zone.
///
/// ```
/// use reprise_dataflows::time::zone;
///
/// assert!(zone("Europe/Lisbon").is_some());
/// // An offset has no name, and the zone of this machine must not decide what a chart counts.
/// assert!(zone("+01:00").is_none() && zone("local").is_none());
/// ```
pub fn zone(name: &str) -> Option<TimeZone> {
    jiff::tz::TimeZoneDatabase::bundled().get(name).ok().filter(|zone| !zone.is_unknown())
}

/// The nearest moment that jiff can represent: the first and the last offset of a zone hold before
/// and after the years that jiff knows.
fn nearest(timestamp_us: i64) -> Timestamp {
    let (min, max) = (Timestamp::MIN, Timestamp::MAX);
    let fallback = if timestamp_us < 0 { min } else { max };
    Timestamp::from_microsecond(timestamp_us).unwrap_or(fallback)
}

fn offset_us(offset: Offset) -> i64 {
    i64::from(offset.seconds()) * 1_000_000
}
