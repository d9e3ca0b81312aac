//! Dates of days, and the names of days and moments.
//!
//! The arithmetic of the proleptic Gregorian calendar is our own because it must hold for every moment that an `i64` of
//! µs can say: the year of a play is bounded by its producer's clock alone, and a date library ends at the year 9999.

use jiff::Timestamp;
use jiff::civil::Weekday;

use crate::play::DAY_US;

/// A text that is not the period, day or instant that it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is not {expected}")]
pub struct Unreadable {
    pub found: String,
    /// What it should be, with an example.
    pub expected: &'static str,
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

/// The moment, in µs since 1970, that a user means by RFC 3339 with any offset, or by a day, or a day and time, in UTC.
/// What is finer than a µs is cut off.
pub fn parse_instant(text: &str) -> Result<i64, Unreadable> {
    // jiff's parser of civil times drops offsets and zones; completing the text to an instant lets none pass unread.
    let seconds = without_seconds(text).then(|| format!("{}:00{}", &text[..MINUTES_END], &text[MINUTES_END..]));
    let text_with_seconds = seconds.as_deref().unwrap_or(text);
    ["", "Z", "T00:00:00Z"]
        .iter()
        .find_map(|completion| format!("{text_with_seconds}{completion}").parse::<Timestamp>().ok())
        .map(|instant| instant.as_nanosecond().div_euclid(1000) as i64)
        .ok_or_else(|| Unreadable {
            found: text.to_owned(),
            expected: "a time such as `2026-11-20`, `2026-11-20 14:00:00` (UTC) or `2026-11-20T14:00:00+01:00`",
        })
}

/// Where the minutes end in `2026-11-20T14:00`.
const MINUTES_END: usize = 16;

/// Whether `text` begins with a date, hours and minutes that no seconds follow.
fn without_seconds(text: &str) -> bool {
    let bytes = text.as_bytes();
    let is_time = bytes.get(13) == Some(&b':') && matches!(bytes.get(10), Some(b'T' | b't' | b' '));
    is_time
        && text.is_char_boundary(MINUTES_END)
        && matches!(bytes.get(MINUTES_END), None | Some(b'Z' | b'z' | b'+' | b'-'))
}

pub(super) fn weekday(day: i32) -> Weekday {
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

/// Years have four digits or more.
pub(super) fn year_name(year: i32) -> String {
    let sign = if year < 0 { "-" } else { "" };
    format!("{sign}{:04}", year.unsigned_abs())
}

/// Year, month and day of the month. The year is counted from March, so that the leap day comes last, in eras of 400
/// years; this is Howard Hinnant's `civil_from_days`.
pub(super) fn civil(day: i32) -> (i32, i32, i32) {
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
pub(super) fn day_of(year: i32, month: i32, day_of_month: i32) -> i32 {
    let year = year - i32::from(month <= 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let month_from_march = (month + 9) % 12;
    let of_year = (153 * month_from_march + 2) / 5 + day_of_month - 1;
    era * 146_097 + 365 * year_of_era + year_of_era / 4 - year_of_era / 100 + of_year - 719_468
}
