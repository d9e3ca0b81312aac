//! Dates of days, and the names of days and moments.
//!
//! The arithmetic of the proleptic Gregorian calendar is our own because it must hold for every
//! moment that an `i64` of µs can represent: a producer may send any timestamp, and date libraries
//! end at the year 9999.

use jiff::Timestamp;
use jiff::civil::Weekday;

use crate::play::DAY_US;

/// A text that names no period or no instant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is not {expected}")]
pub struct Unreadable {
    /// The text.
    pub found: String,
    /// The expected form, with an example; the end of the message.
    pub expected: &'static str,
}

/// The UTC day of a moment in µs since 1970, as days since 1970.
///
/// ```
/// use reprise_dataflows::time::utc_day;
///
/// assert_eq!(utc_day(86_400_000_000), 1);
/// // The last µs of 1969.
/// assert_eq!(utc_day(-1), -1);
/// ```
pub fn utc_day(timestamp_us: i64) -> i32 {
    // An i64 of µs spans 106,751,992 days on either side of 1970.
    timestamp_us.div_euclid(DAY_US) as i32
}

/// The date of a day since 1970, in ISO 8601.
///
/// ```
/// assert_eq!(reprise_dataflows::time::day_name(20_777), "2026-11-20");
/// ```
pub fn day_name(day: i32) -> String {
    let (year, month, day_of_month) = civil(day);
    format!("{}-{month:02}-{day_of_month:02}", year_name(year))
}

/// A moment in µs since 1970, in RFC 3339 and UTC, without the trailing zeros of its fraction.
///
/// Years beyond 9999 and before 0 have names too, which RFC 3339 does not have.
///
/// ```
/// use reprise_dataflows::time::instant_name;
///
/// assert_eq!(instant_name(1_795_185_700_000_000), "2026-11-20T14:41:40Z");
/// assert_eq!(instant_name(1_795_185_700_250_000), "2026-11-20T14:41:40.25Z");
/// assert_eq!(instant_name(i64::MAX), "294247-01-10T04:00:54.775807Z");
/// ```
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

/// Reads a moment, in µs since 1970: RFC 3339 with any offset, or a date, or a date and time, in
/// UTC. Seconds may be left out; digits beyond the µs are cut off.
///
/// # Errors
/// If `text` is none of these.
///
/// ```
/// use reprise_dataflows::time::parse_instant;
///
/// let noon_us = parse_instant("2026-11-20T12:00:00Z")?;
/// assert_eq!(parse_instant("2026-11-20 12:00")?, noon_us);
/// assert_eq!(parse_instant("2026-11-20T13:00+01:00")?, noon_us);
/// assert_eq!(parse_instant("2026-11-20")?, noon_us - 12 * 3_600_000_000);
///
/// let error = parse_instant("yesterday").unwrap_err();
/// assert!(error.to_string().starts_with("`yesterday` is not a time such as `2026-11-20`"));
/// # Ok::<(), reprise_dataflows::time::Unreadable>(())
/// ```
pub fn parse_instant(text: &str) -> Result<i64, Unreadable> {
    // jiff's parser of civil times ignores offsets and zones. A text that is completed to an
    // instant cannot have one that is ignored.
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

/// The length of `2026-11-20T14:00`.
const MINUTES_END: usize = 16;

/// Whether `text` begins with a date, hours and minutes, without seconds after them.
fn without_seconds(text: &str) -> bool {
    let bytes = text.as_bytes();
    let is_time = bytes.get(13) == Some(&b':') && matches!(bytes.get(10), Some(b'T' | b't' | b' '));
    is_time
        && text.is_char_boundary(MINUTES_END)
        && matches!(bytes.get(MINUTES_END), None | Some(b'Z' | b'z' | b'+' | b'-'))
}

/// The weekday of a day since 1970.
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

/// A year in ISO 8601, with at least four digits.
pub(super) fn year_name(year: i32) -> String {
    let sign = if year < 0 { "-" } else { "" };
    format!("{sign}{:04}", year.unsigned_abs())
}

/// Year, month and day of the month of a day since 1970: Howard Hinnant's algorithm
/// `civil_from_days`. It counts in eras of 400 years, which begin in March: the leap day is the
/// last day of a year.
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

/// The inverse of [`civil`]. A day beyond the end of its month counts into the next month.
pub(super) fn day_of(year: i32, month: i32, day_of_month: i32) -> i32 {
    let year = year - i32::from(month <= 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let month_from_march = (month + 9) % 12;
    let of_year = (153 * month_from_march + 2) / 5 + day_of_month - 1;
    era * 146_097 + 365 * year_of_era + year_of_era / 4 - year_of_era / 100 + of_year - 719_468
}
