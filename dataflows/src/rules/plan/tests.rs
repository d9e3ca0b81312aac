//! Plans of some charts.

use super::*;

/// A day and its representative lie in the same periods.
#[test]
fn representatives_share_all_periods() {
    let plan = Plan::new(&Definitions::builtin());
    let grouping = &plan.groupings[1];
    let cells = |day| plan.cells(&Key { grouping: 1, bucket: day, ..Key::default() });
    for day in 20_000..21_000 {
        assert_eq!(cells(grouping.representative(day).into()), cells(day.into()), "day {day}");
    }
}

#[test]
fn default_charts_share_one_grouping() {
    let plan = Plan::new(&Definitions::builtin());
    assert_eq!(plan.groupings.len(), 2);
    assert_eq!(plan.columns(false), ["song_id", "title", "artist", "country", "completed"]);
    assert_eq!(plan.columns(true), ["song_id", "title", "artist", "country", "timestamp", "completed"]);
}

/// A chart needs the columns of its scopes and rules, and every chart those that identify the
/// track.
#[test]
fn charts_are_named_that_need_a_column() {
    let charts = "[[chart]]\nname = 'all'\nperiod = 'all'\nscopes = ['global']\neligible = 'all'\n\
                  [[chart]]\nname = 'devices'\nperiod = 'day'\nscopes = ['device']\neligible = 'all'\n\
                  [[chart]]\nname = 'heard'\nperiod = 'day'\nscopes = ['global']\neligible = '30s'";
    let plan = Plan::new(&Definitions::parse(charts).unwrap());
    for (column, names) in [
        ("song_id", &["trending", "all", "devices", "heard"][..]),
        ("device", &["devices"]),
        ("country", &["trending"]),
        ("completed", &["trending", "heard"]),
        ("duration_ms", &["heard"]),
        ("timestamp", &["trending"]),
        ("user_id", &[]),
        ("listened_ms", &[]),
    ] {
        assert_eq!(plan.charts_that_need(column), names, "{column}");
    }
}

/// Tallies of one plan translate to another plan if they count by enough, and count in the same
/// cells.
#[test]
fn tallies_translate_if_they_count_by_enough() {
    let plan = |charts: &str| Plan::new(&Definitions::parse(charts).unwrap());
    let chart = |text: &str| plan(&format!("[[chart]]\nname = 'a'\n{text}"));
    let rich = chart("period = 'week'\nscopes = ['global', 'country', 'device']");
    let poor = chart("period = 'week'\nscopes = ['global', 'device']");
    let labels = |texts: &[&str]| texts.iter().map(|text| Label::new(text)).collect::<Labels>();
    let key = |bucket| Key { grouping: 1, bucket, labels: labels(&["US", "mobile"]) };
    let translation = poor.translation(&rich.counted_by()).unwrap();
    let week = rich.groupings[1].representative(20_000).into();
    assert_eq!(translation.keys(&key(week)), [Key { labels: labels(&["mobile"]), ..key(week) }]);
    assert_eq!(
        poor.cells(&translation.keys(&key(week))[0]),
        poor.cells(&Key { labels: labels(&["mobile"]), ..key(20_000) })
    );
    assert!(translation.keys(&Key { grouping: 0, ..key(0) }).is_empty(), "the window is not in a checkpoint");

    assert!(!rich.translation(&poor.counted_by()).unwrap_err().periods.is_empty());
    for other in [
        "period = 'month'\nscopes = ['global']",
        "period = 'week'\nweek_starts = 'sunday'\nscopes = ['global']",
        "period = 'week'\nzone = 'Asia/Tokyo'\nscopes = ['global']",
        "period = 'week'\neligible = 'all'\nscopes = ['global']",
        "period = 'week'\nitem = 'artist'\nscopes = ['global']",
    ] {
        assert!(chart(other).translation(&rich.counted_by()).is_err(), "{other}");
    }
    let daily = chart("period = 'day'\nscopes = ['global']");
    assert!(chart("period = 'year'\nscopes = ['global']").translation(&daily.counted_by()).is_ok());
    let all = plan("").translation(&plan("").counted_by()).unwrap();
    assert_eq!(all.keys(&key(week)).len(), 1);
}
