//! Valid plays that `generate` does not make: ties, changed titles, times in every format, times on
//! the boundaries of periods, plays in the future, unusual texts.

use jiff::{Timestamp, ToSpan};
use serde_json::json;

use crate::support::broker;
use crate::support::charts::{CHARTS, charts, default_charts};
use crate::support::fixture::folder;
use crate::support::lake::assert_holds;
use crate::support::plays::Play;
use crate::support::running::{replay, run_to_end};

/// Sends `values`, the JSON of `plays`, and compares the charts with the brute force: live,
/// replayed, and with other charts.
#[track_caller]
fn check(name: &str, plays: &[Play], values: &[Vec<u8>]) {
    let topic = broker::topic(name, 2);
    for partition in [0, 1] {
        broker::produce(&topic, partition as i32, values.iter().skip(partition).step_by(2));
    }
    let folder = folder();
    let (lake, file) = (folder.path().join("lake"), folder.path().join("charts.toml"));
    std::fs::write(&file, CHARTS).unwrap();
    let live = run_to_end(&topic, &lake, &["-w", "2"]);
    live.assert_equals(plays, &default_charts());
    assert!(replay(&lake, &[]).lines == live.lines, "replayed");
    replay(&lake, &["--charts", file.to_str().unwrap()]).assert_equals(plays, &charts());
    assert_holds(&lake, plays);
}

#[track_caller]
fn check_plays(name: &str, plays: &[Play]) {
    check(name, plays, &plays.iter().map(Play::json).collect::<Vec<_>>());
}

/// 1 June 2020 is a Monday, so it starts a week and a month.
#[test]
fn times_on_boundaries_belong_to_the_right_period_and_window() {
    check_plays(
        "edges",
        &[
            Play::new("a", "2020-05-31T23:59:59.999999Z"),
            Play::new("a", "2020-06-01T00:00:00Z"),
            Play::new("b", "2020-06-01T00:00:00Z"),
            // The last play is in the minute that ends at 12:01, so the window begins at 11:51.
            Play::new("inside", "2020-06-10T11:51:00Z"),
            Play::new("outside", "2020-06-10T11:50:59.999999Z"),
            Play::new("last", "2020-06-10T12:00:59.999999Z"),
            // Earlier times are not valid plays.
            Play::new("oldest", "2000-01-01T00:00:00Z"),
        ],
    );
}

/// The clock is never ahead of the machine's time, so plays in the future do not move the window.
/// Calendar charts count them at once.
#[test]
fn plays_in_the_near_future_count_in_calendar_charts() {
    let at = |minutes: i64| (Timestamp::now() + minutes.minutes()).to_string();
    check_plays(
        "future",
        &[Play::new("a", &at(-5)), Play::new("b", &at(40)), Play::new("b", &at(41)), Play::new("a", &at(-4))],
    );
}

/// Ties are ordered by the bytes of the id: upper case first, non-ASCII last.
#[test]
fn ties_are_broken_by_bytes() {
    let songs = ["z", "Z", "é", "10", "9", "", "\u{10ffff}", "a b", "a"].into_iter().filter(|song| !song.is_empty());
    check_plays("ties", &songs.map(|song| Play::new(song, "2020-06-02T00:00:00Z")).collect::<Vec<_>>());
}

/// The title with the latest UTC date wins, and among these the greatest, regardless of user and
/// order.
#[test]
fn the_latest_title_of_a_song_wins() {
    let named = |title: &str, artist: &str, completed, time| Play {
        title: title.to_owned(),
        artist: artist.to_owned(),
        completed,
        ..Play::new("song", time)
    };
    check_plays(
        "names",
        &[
            named("New", "A", true, "2020-06-04T01:00:00Z"),
            named("Old", "Z", true, "2020-06-03T23:00:00Z"),
            named("Newer", "A", true, "2020-06-04T23:00:00Z"),
            named("Newer", "B", false, "2020-06-04T00:00:00Z"),
            named("And", "Z", true, "2020-06-04T12:00:00Z"),
        ],
    );
}

#[test]
fn plays_are_eligible_by_listening_time() {
    let listened = |listened_ms, completed, duration_ms| Play {
        listened_ms,
        completed,
        duration_ms,
        ..Play::new("song", "2020-06-05T00:00:00Z")
    };
    check_plays(
        "listened",
        &[
            listened(Some(29_999), true, 300_000),
            listened(Some(30_000), false, 300_000),
            listened(Some(0), true, 300_000),
            // Completed means at least seven tenths, which are 30 s from a duration of 42.858 s on.
            listened(None, true, 42_858),
            listened(None, true, 42_857),
            listened(None, false, 300_000),
            listened(None, true, i32::MAX.into()),
            listened(None, true, 0),
        ],
    );
}

#[test]
fn texts_like_scopes_or_control_sequences_are_kept() {
    let texts =
        ["", "global", "country:US", "device:mobile", "a:b", "Île \"Ré\"\\\n\u{1b}[2J\0", "*", "\u{10ffff}", "%2F/../"];
    let play = |text: &str| Play {
        title: text.to_owned(),
        artist: text.to_owned(),
        country: text.to_owned(),
        device: text.to_owned(),
        user_id: text.to_owned(),
        ..Play::new(&format!("song {text}"), "2020-06-06T00:00:00Z")
    };
    check_plays("texts", &texts.map(play));
}

#[test]
fn all_time_formats_and_unknown_fields_are_accepted() {
    let play = Play::new("formats", "2020-06-07T10:11:12Z");
    let seconds = play.time.as_second();
    let formats = [
        json!("2020-06-07 10:11:12"),
        json!("2020-06-07T12:11:12+02:00"),
        json!("2020-06-07T10:11:12.000Z"),
        json!(seconds),
        json!(seconds * 1000),
        json!(seconds * 1_000_000),
    ];
    let unknown = br#"{"unknown": {"song_id": [null]}, "also": 1e400, "#;
    let mut values: Vec<Vec<u8>> = formats.map(|time| play.json_at(time)).into();
    values.push([&unknown[..], &play.json()[1..]].concat());
    check("formats", &vec![play; values.len()], &values);
}
