//! Parses the timestamps of events, in µs since 1970.
//!
//! Three notations are accepted:
//! - a date and a time, `yyyy-MM-dd HH:mm:ss`, with `T` or a space between, a fraction of any length after a point (cut
//!   off after the µs), and a zone as in RFC 3339 (`Z`, `+05:30`); without a zone it is UTC;
//! - an integer, or a text of digits: an epoch in s, ms or µs, told apart by magnitude.
//!
//! The magnitude of an epoch gives its unit: below 10¹¹ it is seconds, below 10¹⁴ ms, below 10¹⁷
//! µs; larger numbers (such as ns) are rejected. So each unit reaches the year 5138, and all but
//! seconds begin at 1973-03-03; events are never older than the year 2000.
//!
//! Rejected are a leap second (`:60`), which has no number in µs since 1970, `24:00:00`, the year
//! 0000, and moments that jiff cannot represent (the last hours of the year 9999), so that later
//! code can use jiff.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

const EPOCH_S_END: u64 = 100_000_000_000;
const EPOCH_MS_END: u64 = EPOCH_S_END * 1000;
const EPOCH_US_END: u64 = EPOCH_MS_END * 1000;

/// Reads any of the textual notations.
pub fn from_text(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    if let Some((date_time, rest)) = bytes.split_first_chunk::<19>() {
        return from_date_time(date_time, rest);
    }
    // Longer ones are out of range, unless they have leading zeros.
    from_epoch(i64::try_from(digits(bytes)?).ok()?)
}

/// Reads an epoch in s, ms or µs.
pub fn from_epoch(epoch: i64) -> Option<i64> {
    match epoch.unsigned_abs() {
        0..EPOCH_S_END => Some(epoch * 1_000_000),
        EPOCH_S_END..EPOCH_MS_END => Some(epoch * 1000),
        EPOCH_MS_END..EPOCH_US_END => Some(epoch),
        _ => None,
    }
}

/// Reads `yyyy-MM-dd HH:mm:ss`, an optional fraction and an optional zone.
fn from_date_time(date_time: &[u8; 19], rest: &[u8]) -> Option<i64> {
    let [year @ .., b'-', m1, m2, b'-', d1, d2, b' ' | b'T' | b't', h1, h2, b':', i1, i2, b':', s1, s2] = date_time
    else {
        return None;
    };
    let year = i16::try_from(digits(year)?).ok()?;
    let (month, day) = (pair(*m1, *m2)?, pair(*d1, *d2)?);
    let (hour, minute, second) = (pair(*h1, *h2)?, pair(*i1, *i2)?, pair(*s1, *s2)?);
    let (fraction_ns, zone) = fraction(rest)?;
    if year == 0 {
        return None;
    }
    let civil = DateTime::new(year, month, day, hour, minute, second, fraction_ns).ok()?;
    Some(offset(zone)?.to_timestamp(civil).ok()?.as_microsecond())
}

/// Reads a fraction such as `.123` at the front, if there is one: returns its ns, in whole µs, and
/// the rest.
fn fraction(text: &[u8]) -> Option<(i32, &[u8])> {
    let [b'.', fraction @ ..] = text else { return Some((0, text)) };
    let length = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if length == 0 {
        return None;
    }
    let (fraction, rest) = fraction.split_at(length);
    let digit = |place: usize| fraction.get(place).map_or(0, |byte| i32::from(byte - b'0'));
    let us = (0..6).fold(0, |us, place| us * 10 + digit(place));
    Some((us * 1000, rest))
}

/// Reads a zone of RFC 3339; an empty text is UTC.
fn offset(text: &[u8]) -> Option<Offset> {
    let (sign, [h1, h2, m1, m2]) = match text {
        [] | [b'Z' | b'z'] => return Some(Offset::UTC),
        [b'+', h1, h2, b':', m1, m2] => (1, [*h1, *h2, *m1, *m2]),
        [b'-', h1, h2, b':', m1, m2] => (-1, [*h1, *h2, *m1, *m2]),
        _ => return None,
    };
    let (hours, minutes) = (i32::from(pair(h1, h2)?), i32::from(pair(m1, m2)?));
    if hours > 23 || minutes > 59 {
        return None;
    }
    Offset::from_seconds(sign * (hours * 60 + minutes) * 60).ok()
}

/// Two decimal digits.
fn pair(tens: u8, ones: u8) -> Option<i8> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens < 10 && ones < 10).then(|| (tens * 10 + ones) as i8)
}

/// From 1 to 18 decimal digits, which fit an `i64`, and nothing else.
fn digits(text: &[u8]) -> Option<u64> {
    if !(1..=18).contains(&text.len()) {
        return None;
    }
    text.iter().try_fold(0, |number, byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit < 10).then(|| number * 10 + u64::from(digit))
    })
}

/// Shows µs since 1970 as a date and time, or as a number if it is out of the calendar's range.
pub struct Display(pub i64);

impl fmt::Display for Display {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Timestamp::from_microsecond(self.0) {
            Ok(moment) => moment.fmt(formatter),
            Err(_) => write!(formatter, "{} µs", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::source::event::json::properties::moment;

    #[test]
    fn texts_name_moments() {
        let whole = 1_795_185_700_000_000;
        let same = [
            "2026-11-20 14:41:40",
            "2026-11-20 14:41:40Z",
            "2026-11-20T14:41:40",
            "2026-11-20t14:41:40z",
            "2026-11-20T14:41:40-00:00",
            "2026-11-20T20:11:40+05:30",
            "2026-11-19T14:42:40-23:59",
            "1795185700",
            "1795185700000",
            "1795185700000000",
        ];
        for text in same {
            assert_eq!(from_text(text), Some(whole), "{text}");
        }
        assert_eq!(from_text("2026-11-20 14:41:40.5"), Some(whole + 500_000));
        assert_eq!(from_text("2026-11-20T15:41:40.1234569999+01:00"), Some(whole + 123_456));
        assert_eq!(from_text("2024-02-29 00:00:00"), Some(1_709_164_800_000_000));
        assert_eq!(from_text("9999-12-30T22:00:00.999999Z"), Some(Timestamp::MAX.as_microsecond()));
    }

    #[test]
    fn other_texts_name_none() {
        let none = "
            2026-02-30 10:00:00|2025-02-29 10:00:00|2026-13-01 10:00:00|2026-00-01 10:00:00|2026-01-00 10:00:00
            2026-11-20 24:00:00|2026-11-20 23:60:00|2026-12-31 23:59:60|2016-12-31T23:59:60Z|0000-01-01 00:00:00
            99999-01-01 00:00:00|+002026-11-20T14:41:40Z|-026-11-20 14:41:40|9999-12-31 00:00:00
            2026-11-20|2026-11-20 14:41|2026-11-20 14:41:4|2026-11-20  14:41:40|2026-11-20_14:41:40|2026/11/20 14:41:40
            20261120T144140Z|2026-W47-5T14:41:40Z|2026-11-20 14:41:40 |2026-11-20 14:41:40.|2026-11-20 14:41:40.Z
            2026-11-20 14:41:40,5|2026-11-20 14:41:40UTC|2026-11-20 14:41:40 Z|2026-11-20T14:41:40+01|2026-11-20T14:41:40+0100
            2026-11-20T14:41:40+24:00|2026-11-20T14:41:40+01:60|2026-11-20T14:41:40+1:00|2026-11-20T14:41:40+01:00[Europe/Paris]
            ２０２６-11-20 14:41:40|-1795185700|+1795185700|1795185700.5|0x1795185700|now|100000000000000000|1795185700000000000
        ";
        for text in none.lines().flat_map(|line| line.trim_start().split('|')) {
            assert_eq!(from_text(text), None, "{text}");
        }
        assert_eq!(from_text(&"9".repeat(1000)), None);
    }

    #[test]
    fn units_of_epochs_do_not_overlap() {
        // Both ends of the range of each unit, a moment between, and the last second before the
        // bound.
        for second in [946_684_800, 1_795_185_700, 4_102_444_800, 99_999_999_999] {
            for unit in [1, 1000, 1_000_000] {
                assert_eq!(from_epoch(second * unit), Some(second * 1_000_000));
            }
        }
        assert_eq!(from_epoch(100_000_000_000), Some(100_000_000_000_000));
        assert_eq!(from_epoch(100_000_000_000_000), Some(100_000_000_000_000));
        assert_eq!(from_epoch(-1), Some(-1_000_000));
        for beyond in [100_000_000_000_000_000, i64::MAX, i64::MIN] {
            assert_eq!(from_epoch(beyond), None);
        }
    }

    /// jiff reads every accepted text as the same moment. (jiff takes `:60` for `:59`, and at most
    /// nine digits of a fraction.)
    fn assert_no_laxer_than_jiff(text: &str) {
        let Some(us) = from_text(text) else { return };
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return;
        }
        let zoned = text.parse::<Timestamp>();
        let moment = zoned.unwrap_or_else(|_| Offset::UTC.to_timestamp(text.parse::<DateTime>().unwrap()).unwrap());
        assert_eq!(us, moment.as_microsecond(), "{text}");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(5000) })]

        #[test]
        fn what_jiff_prints_is_read_back((notation, us) in moment()) {
            let read = notation.as_str().map_or_else(|| from_epoch(notation.as_i64().unwrap()), from_text);
            prop_assert_eq!(read, Some(us));
        }

        #[test]
        fn damaged_texts_are_read_as_jiff_reads_them(
            (notation, _) in moment(), place in any::<prop::sample::Index>(), new in prop::char::range('!', ':'),
        ) {
            let Some(text) = notation.as_str() else { return Ok(()) };
            let place = place.index(text.len());
            let text: String = text.char_indices().map(|(index, old)| if index == place { new } else { old }).collect();
            assert_no_laxer_than_jiff(&text);
        }

        /// Includes seconds, minutes and days that do not exist.
        #[test]
        fn calendars_agree_with_jiff(
            year in 1..10_000, month in 0..14, day in 0..33, hour in 0..26, minute in 0..62, second in 0..62, zone in 0..4_usize,
        ) {
            let zone = ["", "Z", "+14:00", "-09:30"][zone];
            let text = format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}{zone}");
            assert_no_laxer_than_jiff(&text);
            let valid = text.parse::<Timestamp>().is_ok() || zone.is_empty() && text.parse::<DateTime>().is_ok();
            let beyond = text.starts_with("9999-12-3");
            prop_assert!(from_text(&text).is_some() == (valid && second != 60) || beyond);
        }
    }
}
