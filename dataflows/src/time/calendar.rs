//! The days of a time zone, and the day that weeks begin with.

use jiff::Timestamp;
use jiff::civil::Weekday;
use jiff::tz::{Offset, TimeZone};

use super::date::{civil, utc_day};
use crate::play::DAY_US;

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
