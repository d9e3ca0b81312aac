//! The meaning of `charts.toml`, and the exact text of each error.

use proptest::prelude::*;

use super::*;

fn refusal(text: &str) -> String {
    match Definitions::parse(text) {
        Ok(definitions) => format!("accepted: {definitions:?}"),
        Err(error) => error.to_string(),
    }
}

/// A weekly chart with a fourth line.
fn weekly(line: &str) -> String {
    format!("[[chart]]\nname = 'weekly'\nperiod = 'week'\n{line}")
}

/// The chart of a file with one chart.
fn only_chart(text: &str) -> Chart {
    let definitions = Definitions::parse(text).unwrap();
    assert_eq!(definitions.charts.len(), 1);
    definitions.charts[0].clone()
}

#[test]
fn the_built_in_charts() {
    let definitions = Definitions::builtin();
    assert_eq!(definitions.trending, trending_default());
    let chart = |name: &str, period| Chart {
        name: name.to_owned(),
        period,
        calendar: Calendar::default(),
        scopes: vec![ScopeKind::Global, ScopeKind::COUNTRY],
        item: ItemKind::TRACK,
        measure: Measure::Plays,
        eligible: Eligible::Completed,
        top: 100,
    };
    assert_eq!(
        definitions.charts,
        [chart("weekly", Period::Week), chart("monthly", Period::Month), chart("all-time", Period::All)]
    );
}

#[test]
fn absent_options_have_their_defaults() {
    assert_eq!(Definitions::parse(""), Ok(Definitions::builtin()));
    assert_eq!(Definitions::parse("[trending]\n"), Ok(Definitions::builtin()));
    assert_eq!(
        Definitions::parse("\u{feff}# A file from Windows.\r\n[trending]\r\ntop = 50\r\n"),
        Ok(Definitions::builtin())
    );
    assert_eq!(only_chart(&weekly("")), Definitions::builtin().charts[0]);
    assert_eq!(Definitions::parse(&weekly("")).unwrap().trending, Definitions::builtin().trending);
    assert_eq!(Definitions::parse("chart = []").unwrap().charts, []);
}

#[test]
fn every_field_is_read() {
    let definitions = Definitions::parse(
        "[trending]\nwindow = '1h'\nslide = '90s'\nscopes = ['device']\nitem = 'artist'\nmeasure = 'plays'\n\
         eligible = 'all'\ntop = 1\n\
         [[chart]]\nname = 'fm-2'\nperiod = 'week'\nzone = 'europe/lisbon'\nweek_starts = 'friday'\n\
         scopes = ['device', 'global']\nitem = 'artist'\nmeasure = 'plays'\neligible = '1500ms'\ntop = 1_000\n",
    )
    .unwrap();
    let trending = Trending {
        window_us: 3_600_000_000,
        slide_us: 90_000_000,
        scopes: vec![ScopeKind::DEVICE],
        item: ItemKind::ARTIST,
        measure: Measure::Plays,
        eligible: Eligible::All,
        top: 1,
        history_us: 0,
    };
    let chart = Chart {
        name: "fm-2".to_owned(),
        period: Period::Week,
        calendar: Calendar { zone: crate::time::zone("Europe/Lisbon"), week_starts: Weekday::Friday },
        scopes: vec![ScopeKind::DEVICE, ScopeKind::Global],
        item: ItemKind::ARTIST,
        measure: Measure::Plays,
        eligible: Eligible::ListenedMs(1500),
        top: 1000,
    };
    assert_eq!(definitions, Definitions { trending, charts: vec![chart] });
}

#[test]
fn utc_is_no_zone_of_its_own() {
    assert_eq!(only_chart(&weekly("zone = 'UTC'")).calendar, Calendar::default());
}

#[test]
fn a_file_is_refused() {
    let cases = [
        ("[trending\n", "line 1: not TOML: unclosed table, expected `]`"),
        ("[[chart]]\nname = 'a'\nname = 'b'", "line 3: not TOML: duplicate key"),
        ("window = 1", "line 1: the file: `window` is unknown; possible are `trending` and `chart`"),
        ("\n[[charts]]", "line 2: the file: `charts` is unknown; possible are `trending` and `chart`"),
        ("trending = 3", "line 1: the file: `trending` is 3, but must be a table, `[trending]`"),
        (
            "[chart]",
            "line 1: the file: `chart` is [chart], but must be a list of tables, each under its own `[[chart]]`",
        ),
        ("chart = [1]", "line 1: the file: `chart` is 1, but must be a table under `[[chart]]`"),
        ("[dedup]\nhorizon = 3", "line 1: the file: this version does not have `dedup` yet"),
        ("[[deduplication]]", "line 1: the file: this version does not have `deduplication` yet"),
        // The first in the file, not in the alphabet.
        ("zebra = 1\naardvark = 2", "line 1: the file: `zebra` is unknown; possible are `trending` and `chart`"),
    ];
    for (text, message) in cases {
        assert_eq!(refusal(text), message, "{text}");
    }
    let charts =
        |count| (0..count).map(|index| format!("[[chart]]\nname = 'c{index}'\nperiod = 'day'\n")).collect::<String>();
    assert_eq!(Definitions::parse(&charts(64)).unwrap().charts.len(), 64);
    assert_eq!(refusal(&charts(65)), "line 1: the file: there are 65 charts, and at most 64 are possible");
    assert_eq!(refusal(&"#".repeat(65_537)), "the file has 65537 bytes, and at most 65536 are read");
    assert_eq!(Definitions::parse(&"#".repeat(65_536)), Ok(Definitions::builtin()));
}

#[test]
fn a_trending_window_is_refused() {
    let slide = "`slide` is '500ms', but must be a time from `1s` to the length of the window";
    let cases = [
        ("window = '25h'", "`window` is '25h', but must be a time from `1s` to `24h`"),
        ("window = 600", "`window` is 600, but must be a time from `1s` to `24h`"),
        ("window = '10 m'", "`window` is '10 m', but must be a time from `1s` to `24h`"),
        ("window = '10'", "`window` is '10', but must be a time from `1s` to `24h`"),
        ("window = 'm'", "`window` is 'm', but must be a time from `1s` to `24h`"),
        ("window = '-10m'", "`window` is '-10m', but must be a time from `1s` to `24h`"),
        ("window = '99999999999999h'", "`window` is '99999999999999h', but must be a time from `1s` to `24h`"),
        ("slide = '500ms'", slide),
        ("window = '150s'", "`window` is 150s, but must be a multiple of `slide`, which is 1m"),
        ("slide = '7m'", "`window` is 10m, but must be a multiple of `slide`, which is 7m"),
        ("slide = '20m'", "`window` is 10m, but must be a multiple of `slide`, which is 20m"),
        ("slide = '1s'\nwindow = '1h'", "`window` is 1h, but must be at most 1440 times `slide`, which is 1s"),
        ("movement = true", "this version does not have `movement` yet"),
        (
            "period = 'day'",
            "`period` is unknown; possible are `window`, `slide`, `scopes`, `item`, `measure`, `eligible` and `top`",
        ),
    ];
    for (line, message) in cases {
        let number = 1 + line.lines().count();
        assert_eq!(refusal(&format!("[trending]\n{line}")), format!("line {number}: [trending]: {message}"), "{line}");
    }
    assert!(
        Definitions::parse("[trending]\nwindow = '24h'")
            .is_ok_and(|definitions| definitions.trending.window_us == 86_400_000_000)
    );
}

#[test]
fn a_field_of_a_chart_is_refused() {
    let eligible = "but must be `completed`, `all`, or a minimum listening time such as `30s`";
    let cases = [
        (
            "zone = 'Mars/Olympus'",
            "`zone` is 'Mars/Olympus', but must be a time zone of the IANA database, such as `Europe/Lisbon`",
        ),
        ("zone = 1", "`zone` is 1, but must be a time zone of the IANA database, such as `Europe/Lisbon`"),
        (
            "week_starts = 'Sun'",
            "`week_starts` is 'Sun', but must be `monday`, `tuesday`, `wednesday`, `thursday`, `friday`, `saturday` or `sunday`",
        ),
        ("scopes = 'global'", "`scopes` is 'global', but must be a list of `global`, `country`, `device` or `city`"),
        ("scopes = []", "`scopes` is [], but must be a list of `global`, `country`, `device` or `city`"),
        ("scopes = ['global', 3]", "`scopes` is 3, but must be `global`, `country`, `device` or `city`"),
        ("scopes = ['global', \"global\"]", "`scopes` has \"global\" twice"),
        ("item = 'genre'", "`item` is 'genre', but must be `track`, `artist` or `album`"),
        ("measure = 'skips'", "`measure` is 'skips', but must be `plays`"),
        ("measure = 'listeners'", "this version does not have `listeners` for `measure` yet"),
        ("measure = 'minutes'", "this version does not have `minutes` for `measure` yet"),
        ("eligible = true", &format!("`eligible` is true, {eligible}")),
        ("eligible = '30'", &format!("`eligible` is '30', {eligible}")),
        ("eligible = '0s'", &format!("`eligible` is '0s', {eligible}")),
        ("eligible = '600h'", &format!("`eligible` is '600h', {eligible}")),
        ("eligible = 'é'", &format!("`eligible` is 'é', {eligible}")),
        ("top = 0", "`top` is 0, but must be a number from 1 to 1000"),
        ("top = 1001", "`top` is 1001, but must be a number from 1 to 1000"),
        ("top = '5'", "`top` is '5', but must be a number from 1 to 1000"),
        ("top = 2.5", "`top` is 2.5, but must be a number from 1 to 1000"),
        ("movement = true", "this version does not have `movement` yet"),
        ("cap = 3", "this version does not have `cap` yet"),
        ("[chart.caps]", "this version does not have `caps` yet"),
        ("per_user = 3", "this version does not have `per_user` yet"),
        ("deduplicate = false", "this version does not have `deduplicate` yet"),
        (
            "'two words' = 3",
            "`'two words'` is unknown; possible are `name`, `period`, `zone`, `week_starts`, `scopes`, `item`, `measure`, `eligible` and `top`",
        ),
    ];
    for (line, message) in cases {
        assert_eq!(refusal(&weekly(line)), format!("line 4: chart `weekly`: {message}"), "{line}");
    }
}

#[test]
fn a_name_or_period_is_refused() {
    let name = "but must be 1 to 64 of the lower-case letters a to z, digits and hyphens";
    let period = "but must be `day`, `week`, `month`, `year` or `all`";
    let cases = [
        ("name = ''", format!("line 2: chart 1: `name` is '', {name}")),
        ("name = 'Weekly'", format!("line 2: chart 1: `name` is 'Weekly', {name}")),
        ("name = 3", format!("line 2: chart 1: `name` is 3, {name}")),
        ("name = '''a\nb'''", format!("line 2: chart 1: `name` is '''a…, {name}")),
        (
            "name = '12345678901234567890123456789012345678901234567890123456789012345'",
            format!("line 2: chart 1: `name` is '123456789012345678901234567890123456789…, {name}"),
        ),
        (
            "name = 'trending'",
            "line 2: chart `trending`: `name` is 'trending', but must be another name, because the window of \
             `[trending]` has this one"
                .to_owned(),
        ),
        ("name = 'a'\nperiod = 'fortnight'", format!("line 3: chart `a`: `period` is 'fortnight', {period}")),
        ("name = 'a'\nperiod = 7", format!("line 3: chart `a`: `period` is 7, {period}")),
    ];
    for (lines, message) in cases {
        let period = if lines.contains("period") { "" } else { "\nperiod = 'day'" };
        assert_eq!(refusal(&format!("[[chart]]\n{lines}{period}")), message, "{lines}");
    }
    assert_eq!(
        refusal("[[chart]]\nperiod = 'day'"),
        "line 1: chart 1 lacks `name`, which must be 1 to 64 of the lower-case letters a to z, digits and hyphens"
    );
    assert_eq!(
        refusal(&(weekly("\n") + "[[chart]]\nname = 'b'")),
        "line 5: chart `b` lacks `period`, which must be `day`, `week`, `month`, `year` or `all`"
    );
    assert_eq!(refusal(&(weekly("") + &weekly(""))), "line 5: chart `weekly`: two charts have this `name`");
    assert_eq!(
        refusal("[[chart]]\nname = 'a'\nperiod = 'month'\nweek_starts = 'monday'"),
        "line 4: chart `a`: `week_starts` is only for the period `week`"
    );
}

proptest! {
    /// Any edit of a file is read or refused, with a message of one line.
    #[test]
    fn any_text_is_read_or_refused(
        cut in 0..DEFAULT_TOML.len(),
        length in 0..8usize,
        inserted in "[\\PC\n\"'=\\[\\]]{0,6}",
    ) {
        let mut text = DEFAULT_TOML.to_owned();
        text.replace_range(cut..(cut + length).min(DEFAULT_TOML.len()), &inserted);
        if let Err(error) = Definitions::parse(&text) {
            let message = error.to_string();
            prop_assert!(message.starts_with("line ") && !message.contains('\n'), "{}", message);
        }
    }

    #[test]
    fn a_duration_is_read_back_from_its_name(seconds in 1..86_400i64) {
        let window = duration_name(seconds * 1_000_000);
        let definitions = Definitions::parse(&format!("[trending]\nwindow = '{window}'\nslide = '{window}'")).unwrap();
        prop_assert_eq!(definitions.trending.window_us, seconds * 1_000_000);
    }
}

/// All files in `examples/` are valid, and the file with every option shows the defaults.
#[test]
fn examples_are_read() {
    let every_option = Definitions::parse(include_str!("../../../../examples/charts.toml")).unwrap();
    let names: Vec<&str> = every_option.charts.iter().map(|chart| chart.name.as_str()).collect();
    assert_eq!(names, ["weekly", "artists-tokyo", "release-week", "by-device"]);
    assert_eq!(every_option.charts[0], Definitions::builtin().charts[0]);
    let scopes = vec![ScopeKind::Global, ScopeKind::COUNTRY, ScopeKind::DEVICE];
    assert_eq!(every_option.trending, Trending { scopes, ..Definitions::builtin().trending });
    for rules in [
        include_str!("../../../../examples/month-completed.toml"),
        include_str!("../../../../examples/month-listened.toml"),
    ] {
        assert_eq!(Definitions::parse(rules).unwrap().charts[0].period, Period::Month);
    }
}
