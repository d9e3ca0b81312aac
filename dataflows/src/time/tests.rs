//! The calendar against `jiff`, which does not share its arithmetic.

use jiff::civil::{Date, date};
use jiff::tz::TimeZoneDatabase;
use jiff::{Span, ToSpan};
use proptest::prelude::*;

use jiff::Timestamp;
use jiff::civil::Weekday;
use jiff::tz::TimeZone;

use super::*;
use crate::play::DAY_US;

const PERIODS: [Period; 5] = [Period::Day, Period::Week, Period::Month, Period::Year, Period::All];

fn weekdays() -> impl Strategy<Value = Weekday> {
    (1..=7i8).prop_map(|number| Weekday::from_monday_one_offset(number).unwrap())
}

/// The days for which jiff has a date, without a month at its first and a year at its last.
fn jiff_days() -> impl Strategy<Value = i32> {
    let reach = |limit: Date| (limit - date(1970, 1, 1)).get_days();
    reach(Date::MIN) + 31..reach(Date::MAX) - 366
}

/// The days of a timestamp in µs, without about two years at either limit.
fn all_days() -> impl Strategy<Value = i32> {
    -106_751_000..106_751_000i32
}

fn calendars() -> impl Strategy<Value = Calendar> {
    let names: Vec<String> = TimeZoneDatabase::bundled().available().map(|name| name.as_str().to_owned()).collect();
    prop::sample::select(names).prop_map(|name| Calendar { zone: Some(zone(&name).unwrap()), ..Calendar::default() })
}

/// The first year of RFC 3339, in µs since 1970.
fn year_0_us() -> i64 {
    i64::from(from_date(date(0, 1, 1))) * DAY_US
}

fn to_date(day: i32) -> Date {
    date(1970, 1, 1) + Span::new().days(day)
}

fn from_date(date_of_day: Date) -> i32 {
    (date_of_day - date(1970, 1, 1)).get_days()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn periods_begin_and_end_where_jiff_says(day in jiff_days(), week_starts in weekdays()) {
        let date = to_date(day);
        let week = date - i32::from(date.weekday().since(week_starts)).days();
        let bounds = [
            (Period::Day, date, date.tomorrow().unwrap()),
            (Period::Week, week, week + 7.days()),
            (Period::Month, date.first_of_month(), date.last_of_month().tomorrow().unwrap()),
            (Period::Year, date.first_of_year(), date.last_of_year().tomorrow().unwrap()),
        ];
        for (period, start, end) in bounds {
            prop_assert_eq!(period.start(day, week_starts), from_date(start));
            prop_assert_eq!(period.end(from_date(start), week_starts), Some(from_date(end)));
        }
        prop_assert_eq!((Period::All.start(day, week_starts), Period::All.end(0, week_starts)), (0, None));
    }

    #[test]
    fn names_are_those_of_iso_8601(
        day in from_date(date(0, 1, 8))..from_date(date(9999, 12, 1)),
        week_starts in weekdays(),
    ) {
        let date = to_date(day);
        prop_assert_eq!(Period::Day.name(day, week_starts), date.to_string());
        prop_assert_eq!(Period::Month.name(day, week_starts), date.strftime("%Y-%m").to_string());
        prop_assert_eq!(Period::Year.name(day, week_starts), date.strftime("%Y").to_string());
        let fourth_day = to_date(Period::Week.start(day, week_starts) + 3);
        prop_assert_eq!(Period::Week.name(day, week_starts), fourth_day.strftime("%G-W%V").to_string());
    }

    #[test]
    fn a_period_is_read_back_from_its_name(day in all_days(), week_starts in weekdays()) {
        for period in PERIODS {
            let start = period.start(day, week_starts);
            prop_assert_eq!(period.parse(&period.name(start, week_starts), week_starts), Ok(start));
            if let Some(end) = period.end(start, week_starts) {
                prop_assert!(start <= day && day < end);
                prop_assert_eq!(period.start(end - 1, week_starts), start);
                prop_assert_eq!(period.start(end, week_starts), end);
            }
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[-W0-9]{0,12}", week_starts in weekdays()) {
        for period in PERIODS {
            if let Ok(start) = period.parse(&text, week_starts) {
                prop_assert_eq!(period.name(start, week_starts), text.clone());
            }
        }
    }

    /// Half of the timestamps lie around a change of the clocks, where a wrong offset would show.
    #[test]
    fn the_local_day_is_the_date_on_the_wall(
        calendar in calendars(),
        seeds in prop::collection::vec((-2_000_000_000..32_000_000_000i64, -90_000..90_000i64, any::<bool>()), 1..50),
    ) {
        let zone = calendar.zone.clone().unwrap();
        let mut local_days = LocalDays::new(calendar.clone());
        for (seed_s, near_s, near_change) in seeds {
            let seed = Timestamp::from_second(seed_s).unwrap();
            let change = zone.following(seed).next().filter(|_| near_change);
            let instant = change.map_or(seed, |change| change.timestamp() + near_s.seconds());
            for timestamp_us in [instant.as_microsecond() - 1, instant.as_microsecond()] {
                let wall = Timestamp::from_microsecond(timestamp_us).unwrap().to_zoned(zone.clone()).date();
                prop_assert_eq!(to_date(calendar.local_day(timestamp_us)), wall);
                prop_assert_eq!(to_date(local_days.day(timestamp_us)), wall);
            }
        }
    }

    /// Beyond the years that jiff knows, too.
    #[test]
    fn remembered_offsets_change_nothing(
        calendar in prop_oneof![Just(Calendar::default()), calendars()],
        timestamps_us in prop::collection::vec(any::<i64>(), 1..50),
    ) {
        let mut local_days = LocalDays::new(calendar.clone());
        for timestamp_us in timestamps_us.into_iter().chain([i64::MIN, i64::MAX, 0]) {
            prop_assert_eq!(local_days.day(timestamp_us), calendar.local_day(timestamp_us));
        }
    }

    /// A day that a zone skipped, as Apia did in 2011, begins with the day after it.
    #[test]
    fn a_day_begins_at_its_first_instant(calendar in calendars(), day in 0..40_000) {
        let midnight_us = calendar.midnight_us(day);
        prop_assert!(calendar.local_day(midnight_us) >= day);
        prop_assert!(calendar.local_day(midnight_us - 1) < day);
    }

    #[test]
    fn instants_are_written_as_jiff_writes_them(
        timestamp_us in year_0_us()..Timestamp::MAX.as_microsecond(),
        unit_us in prop::sample::select(vec![1, 1000, 1_000_000]),
    ) {
        let timestamp_us = timestamp_us / unit_us * unit_us;
        let name = instant_name(timestamp_us);
        prop_assert_eq!(&name, &Timestamp::from_microsecond(timestamp_us).unwrap().to_string());
        prop_assert_eq!(parse_instant(&name), Ok(timestamp_us));
    }
}

#[test]
fn periods_that_are_easily_wrong() {
    let name = |period: Period, date, week_starts| period.name(period.start(from_date(date), week_starts), week_starts);
    let cases = [
        (Period::Week, date(2026, 11, 20), Weekday::Monday, "2026-W47"),
        (Period::Week, date(2027, 1, 3), Weekday::Monday, "2026-W53"),
        (Period::Week, date(2024, 12, 30), Weekday::Monday, "2025-W01"),
        // The week from Sunday, November 15 shares six days with W47.
        (Period::Week, date(2026, 11, 15), Weekday::Sunday, "2026-W47"),
        // The chart week from Friday to Thursday shares four days, Monday to Thursday, with W48.
        (Period::Week, date(2026, 11, 20), Weekday::Friday, "2026-W48"),
        (Period::Month, date(2024, 2, 29), Weekday::Monday, "2024-02"),
        (Period::Year, date(2026, 12, 31), Weekday::Monday, "2026"),
        (Period::All, date(2026, 11, 20), Weekday::Monday, "all"),
    ];
    for (period, date, week_starts, expected) in cases {
        assert_eq!(name(period, date, week_starts), expected, "{period:?} {date} {week_starts:?}");
    }
}

#[test]
fn invalid_periods_are_refused() {
    let cases = [
        (Period::Day, "2026-02-29", "`2026-02-29` is not a day such as `2026-11-20`"),
        (Period::Day, "2026-2-1", "`2026-2-1` is not a day such as `2026-11-20`"),
        (Period::Day, "2026-11", "`2026-11` is not a day such as `2026-11-20`"),
        (Period::Day, "9999999-01-01", "`9999999-01-01` is not a day such as `2026-11-20`"),
        (Period::Week, "2025-W53", "`2025-W53` is not a week such as `2026-W47`"),
        (Period::Week, "2026-W00", "`2026-W00` is not a week such as `2026-W47`"),
        (Period::Week, "2026-47", "`2026-47` is not a week such as `2026-W47`"),
        (Period::Month, "2026-13", "`2026-13` is not a month such as `2026-11`"),
        (Period::Month, "2026-00", "`2026-00` is not a month such as `2026-11`"),
        (Period::Year, "26", "`26` is not a year such as `2026`"),
        (Period::Year, "+2026", "`+2026` is not a year such as `2026`"),
        (Period::Year, "", "`` is not a year such as `2026`"),
        (Period::All, "ever", "`ever` is not `all`, the only period of this chart"),
    ];
    for (period, text, message) in cases {
        assert_eq!(period.parse(text, Weekday::Monday).unwrap_err().to_string(), message);
    }
}

#[test]
fn days_without_a_midnight() {
    let in_zone = |name| Calendar { zone: zone(name), ..Calendar::default() };
    let begins = |name, date| instant_name(in_zone(name).midnight_us(from_date(date)));
    assert_eq!(begins("Europe/Lisbon", date(2026, 7, 1)), "2026-06-30T23:00:00Z");
    // Clocks in Beirut go from 00:00 to 01:00.
    assert_eq!(begins("Asia/Beirut", date(2026, 3, 29)), "2026-03-28T22:00:00Z");
    assert_eq!(begins("Asia/Beirut", date(2026, 3, 30)), "2026-03-29T21:00:00Z");
    // Apia had no December 30 in 2011.
    assert_eq!(begins("Pacific/Apia", date(2011, 12, 30)), "2011-12-30T10:00:00Z");
    assert_eq!(begins("Pacific/Apia", date(2011, 12, 31)), "2011-12-30T10:00:00Z");
}

#[test]
fn zones_come_by_their_iana_names_alone() {
    assert_eq!(zone("UTC"), Some(TimeZone::UTC));
    assert!(zone("Europe/Lisbon").is_some());
    for name in ["", "Etc/Unknown", "Europe", "Mars/Olympus", "../etc/passwd", "+01:00", "local"] {
        assert_eq!(zone(name), None, "{name}");
    }
}

#[test]
fn instants_that_users_write() {
    const DAY: i64 = 1_795_132_800_000_000;
    const HOUR: i64 = 3_600_000_000;
    let cases = [
        ("2026-11-20", DAY),
        ("2026-11-20 14:00:00", DAY + 14 * HOUR),
        ("2026-11-20T14:00:00", DAY + 14 * HOUR),
        ("2026-11-20T14:00:00Z", DAY + 14 * HOUR),
        ("2026-11-20T14:00:00+01:00", DAY + 13 * HOUR),
        ("2026-11-20T14:00Z", DAY + 14 * HOUR),
        ("2026-11-20T14:00", DAY + 14 * HOUR),
        ("2026-11-20 14:00", DAY + 14 * HOUR),
        ("2026-11-20t14:00z", DAY + 14 * HOUR),
        ("2026-11-20T14:00+01:00", DAY + 13 * HOUR),
        ("2026-11-20T14:00-0130", DAY + 15 * HOUR + HOUR / 2),
        ("2026-11-20T00:00:00.25Z", DAY + 250_000),
        ("2026-11-20T00:00:00.0000019Z", DAY + 1),
        ("1969-12-31T23:59:59.9999999Z", -1),
    ];
    for (text, instant_us) in cases {
        assert_eq!(parse_instant(text), Ok(instant_us), "{text}");
    }
    let refused = [
        "",
        "now",
        "2026",
        "2026-11",
        "2026-11-31",
        "2026-11-20T25:00:00Z",
        "2026-11-20+01:00",
        "2026-11-20Z",
        "2026-11-20 14:00:00[Europe/Lisbon]",
        "9999-12-30T23:00:00-05:00",
        " 2026-11-20",
        "2026-11-20T14:0",
        "2026-11-20T14:00.5Z",
        "2026-11-20T14:é0",
        "2026-11-20T14:00:",
        "1795132800",
    ];
    for text in refused {
        assert!(parse_instant(text).is_err(), "{text}");
    }
    assert_eq!(
        parse_instant("yesterday").unwrap_err().to_string(),
        "`yesterday` is not a time such as `2026-11-20`, `2026-11-20 14:00:00` (UTC) or `2026-11-20T14:00:00+01:00`",
    );
}

/// The last µs of an `i64` has a name, a day and a week.
#[test]
fn the_ends_of_time_have_names() {
    assert_eq!(instant_name(i64::MAX), "294247-01-10T04:00:54.775807Z");
    assert_eq!(instant_name(i64::MIN), "-290308-12-21T19:59:05.224192Z");
    let tonga = Calendar { zone: zone("Pacific/Tongatapu"), ..Calendar::default() };
    for timestamp_us in [i64::MIN, i64::MAX] {
        let day = tonga.local_day(timestamp_us);
        for period in [Period::Day, Period::Week, Period::Month, Period::Year] {
            let start = period.start(day, Weekday::Sunday);
            assert!(tonga.midnight_us(start) <= timestamp_us);
            assert!(period.end(start, Weekday::Sunday).is_some_and(|end| day < end));
        }
    }
}
