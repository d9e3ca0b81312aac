//! The fast path alone; properties.rs compares it with the general path.

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn plain_bytes_are_counted(bytes in prop::collection::vec(prop_oneof![
        8 => any::<u8>(), 8 => b'a'..=b'z', 1 => Just(b'"'), 1 => Just(b'\\'), 1 => Just(0x1f), 1 => Just(b' '), 1 => Just(0x80),
    ], 0..60)) {
        let expected = bytes.iter().take_while(|byte| **byte >= 0x20 && !b"\"\\".contains(byte)).count();
        prop_assert_eq!(plain(&bytes), expected);
    }
}

const PLAY: &str = r#"{"song_id":"17","title":"Ä","artist":"B","user_id":"U1","timestamp":"2026-11-20 14:41:40",
    "duration_ms":183000,"completed":true,"device":"mobile","country":"DE"}"#;

/// The play with more fields, or with other values of those that it has.
fn with(members: &str) -> String {
    PLAY.replace('}', &format!(",{members}}}"))
}

fn read<T>(json: &str, kafka_ms: Option<i64>, of: impl FnOnce(Option<Play<'_>>) -> T) -> T {
    of(FastPath::default().read(json, kafka_ms))
}

#[test]
fn the_usual_is_read() {
    read(PLAY, None, |play| {
        let play = play.unwrap();
        assert_eq!((play.song_id, play.title, play.completed, play.event_id), ("17", "Ä", true, None));
        assert_eq!((play.timestamp_us, play.duration_ms, play.listened_ms), (1_795_185_700_000_000, 183_000, None));
    });
    let json =
        with(" \t\"city\" : null , \"completed\":false,\"album\":\"A\",\"listened_ms\":7,\"timestamp\":1795185701 ");
    read(&json, Some(1_795_185_701_000), |play| {
        let play = play.unwrap();
        assert_eq!((play.city, play.album, play.listened_ms), (None, Some("A"), Some(7)));
        assert_eq!((play.completed, play.timestamp_us), (false, 1_795_185_701_000_000));
    });
}

#[test]
fn escapes_are_read() {
    let json = with(r#""title":"a\"b\\","city":"\u00e4\/\n","album":"\b\f\r\t\u20AC.","artist":"""#);
    read(&json, None, |play| {
        let play = play.unwrap();
        assert_eq!((play.title, play.artist, play.city), ("a\"b\\", "", Some("ä/\n")));
        assert_eq!((play.album, play.device), (Some("\u{8}\u{c}\r\t€."), "mobile"));
    });
    let longest = with(&format!(r#""city":"\n{}""#, "x".repeat(TEXT_BYTES_MAX - 1)));
    assert!(read(&longest, None, |play| play.is_some()));
}

/// What was learned of one record must not be believed of the next.
#[test]
fn fields_come_in_any_order_and_number() {
    let mut fast_path = FastPath::default();
    let other = r#"{"country":"DE","completed":true,"song_id":"18","artist":"B","title":"C","duration_ms":1,
        "user_id":"U1","album":"song_id","device":"tv","timestamp":1795185701}"#;
    for _ in 0..3 {
        assert_eq!(fast_path.read(PLAY, None).map(|play| (play.song_id, play.album)), Some(("17", None)));
        assert_eq!(fast_path.read(other, None).map(|play| (play.song_id, play.album)), Some(("18", Some("song_id"))));
        let more = with(r#""city":"X""#);
        assert_eq!(fast_path.read(&more, None).map(|play| (play.song_id, play.city)), Some(("17", Some("X"))));
    }
}

/// What is not usual is left to the other way, also what that one will refuse.
#[test]
fn unusual_records_are_left_to_the_general_path() {
    let bad = |json: &str| assert!(read(json, None, |play| play.is_none()), "{json}");
    for json in
        ["", "{", "{}", "[]", &PLAY[1..], &PLAY[..PLAY.len() - 1], &PLAY.replace('}', ",}"), &format!("{PLAY}x")]
    {
        bad(json);
    }
    for members in [
        "\"city\" \"x\"",
        "\"town\":\"x\"",
        "\"city\":1",
        "\"city\":\"a\\",
        "\"city\":\"a\\\"",
        "\"city\":\"\\x\"",
        "\"city\":\"\\u00e\"",
        "\"city\":\"\\u+0e4\"",
        "\"city\":\"\\ud83d\\ude00\"",
        "\"city\":\"\\n\u{1}\"",
        "\"city\":\"a\u{1}\"",
        "\"city\":\"a",
        "\"city\":",
        "\"city\":nul",
        "\"ci\\u0074y\":\"x\"",
        "\"title\":null",
        "\"song_id\":\"\"",
        "\"completed\":tru",
        "\"completed\":truer",
        "\"completed\":1",
        "\"duration_ms\":01",
        "\"duration_ms\":-1",
        "\"duration_ms\":1.0",
        "\"duration_ms\":1e3",
        "\"duration_ms\":2147483648",
        "\"duration_ms\":1234567890123456789",
        "\"duration_ms\":[1]",
        "\"timestamp\":\"yesterday\"",
        "\"timestamp\":\"1999-12-31 23:59:59\"",
    ] {
        bad(&with(members));
    }
    bad(&with(&format!("\"city\":\"{}\"", "x".repeat(TEXT_BYTES_MAX + 1))));
    bad(&with(&format!("\"city\":\"\\n{}\"", "x".repeat(TEXT_BYTES_MAX))));
    assert!(read(PLAY, Some(1_795_185_700_000 - 2 * 3_600_000), |play| play.is_none()));
}
