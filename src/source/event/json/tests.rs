//! One record for each rule of an event: the play, or the reason why it is none.

use crate::intake::EVENT_DEPTH_MAX;
use crate::intake::Rejection;
use crate::source::event::Decoder;
use crate::source::event::format::{Record, Unread};
use crate::source::event::verdict::DETAIL_BYTES_MAX;
use crate::source::event::verdict::Rejected;
use std::collections::BTreeSet;

use crate::intake::rejection::{AHEAD_MAX_US, EVENT_TIME_MIN_US};
use crate::intake::{TEXT_BYTES_MAX, schema};
use serde_json::{Value, json};

use super::properties::row;

/// 2026-11-20T14:41:40Z, the Kafka timestamp of every record here.
const KAFKA_MS: i64 = 1_795_185_700_000;

fn event() -> Value {
    json!({
        "song_id": "17", "title": "Salt & Sparrow", "artist": "The Late Ferries", "user_id": "U1234",
        "timestamp": "2026-11-20 14:41:40", "duration_ms": 183_000, "completed": true,
        "device": "mobile", "country": "DE",
    })
}

/// The event above with `field` set to `value`.
fn with(field: &str, value: impl Into<Value>) -> Value {
    let mut event = event();
    event[field] = value.into();
    event
}

fn decode_at(value: Option<&[u8]>, timestamp_ms: Option<i64>) -> Result<Value, Rejected> {
    let mut decoder = Decoder::new();
    let record = Record { partition: 3, offset: 41, timestamp_ms, seen_us: 5, value };
    let outcome = decoder.push(&record);
    assert_eq!(decoder.rows(), usize::from(outcome.is_ok()));
    let batch = decoder.finish();
    assert_eq!(decoder.rows() + decoder.bytes(), 0);
    assert_eq!(batch.columns().schema(), schema());
    let event_us = outcome.map_err(Unread::rejected)?;
    let row = row(&batch, 0);
    assert_eq!(row["timestamp"], event_us);
    Ok(row)
}

fn decode(json: impl ToString) -> Result<Value, Rejected> {
    decode_at(Some(json.to_string().as_bytes()), Some(KAFKA_MS))
}

#[track_caller]
fn assert_rejected(outcome: Result<Value, Rejected>, reason: Rejection, detail: &str) {
    let rejected = outcome.expect_err("the record is bad");
    assert_eq!(rejected.reason, reason, "{rejected:?}");
    assert!(rejected.detail.contains(detail), "{rejected:?} should say {detail:?}");
    assert!(rejected.detail.len() <= DETAIL_BYTES_MAX, "{rejected:?}");
}

#[test]
fn an_event_becomes_a_row() {
    let mut expected = event();
    expected["timestamp"] = json!(KAFKA_MS * 1000);
    expected["kafka_partition"] = json!(3);
    expected["kafka_offset"] = json!(41);
    expected["seen"] = json!(5);
    assert_eq!(decode(event()).unwrap(), expected);

    let optional = json!({"event_id": "e-1", "city": "Köln", "album": "Low \"Water\"\n", "listened_ms": 0});
    let mut full = event();
    for (name, value) in optional.as_object().unwrap() {
        full[name] = value.clone();
        expected[name] = value.clone();
    }
    assert_eq!(decode(&full).unwrap(), expected);
    full["unknown"] = json!({"song_id": [1, {"a": "]"}]});
    assert_eq!(decode(&full).unwrap(), expected);
}

#[test]
fn optional_fields_may_be_null() {
    let names = ["event_id", "city", "album", "listened_ms"];
    for name in names {
        let row = decode(with(name, Value::Null)).unwrap();
        assert!(names.iter().all(|name| row.get(name).is_none()));
    }
}

#[test]
fn the_last_of_equal_keys_counts() {
    let json = event().to_string().replacen('{', r#"{"title": 7, "title": "first", "#, 1);
    assert_eq!(decode(json).unwrap()["title"], "Salt & Sparrow");
}

#[test]
fn escapes_are_resolved() {
    let json = event().to_string().replace("Sparrow", r"\u00e9\ud83c\udfb5\/").replace("title", r"ti\u0074le");
    assert_eq!(decode(json).unwrap()["title"], "Salt & é🎵/");
}

#[test]
fn rows_and_bytes_are_counted() {
    let mut decoder = Decoder::new();
    let json = event().to_string();
    for offset in 0..3 {
        let record = Record { partition: 0, offset, timestamp_ms: None, seen_us: 5, value: Some(json.as_bytes()) };
        decoder.push(&record).unwrap();
        decoder.push(&Record { value: Some(b"{}"), ..record }).unwrap_err();
    }
    assert_eq!(decoder.rows(), 3);
    assert_eq!(decoder.bytes(), 3 * "17Salt & SparrowThe Late FerriesU1234mobileDE".len());
    assert_eq!(decoder.finish().rows(), 3);
    assert_eq!(decoder.finish().rows(), 0);
}

#[test]
fn values_other_than_objects_are_rejected() {
    assert_rejected(decode_at(None, None), Rejection::Empty, "no value");
    assert_rejected(decode(""), Rejection::Empty, "no value");
    let large = with("extra", "x".repeat(2_000_000));
    assert_rejected(decode(large), Rejection::TooLarge, "2000");
    let latin1 = [br#"{"ignored": ""#.as_slice(), b"\xe9", br#""}"#].concat();
    assert_rejected(decode_at(Some(&latin1), None), Rejection::NotUtf8, "index 13");
    assert_rejected(decode_at(Some(b"not json, and not UTF-8 \xff"), None), Rejection::NotUtf8, "");

    let event = event().to_string();
    let trailing = format!("{event} {event}");
    let truncated = &event[..event.len() - 1];
    let bad_escape = event.replace("Salt", r"\ud800");
    let infinite = event.replace("183000", "1e400");
    for json in [&trailing, truncated, &bad_escape, &infinite, "play", " ", "\u{feff}{}", "NaN"] {
        assert_rejected(decode(json), Rejection::NotJson, "at line");
    }
    for json in ["[]", "[{}]", "null", "17", "true", r#""{}""#] {
        assert_rejected(decode(json), Rejection::NotJson, "");
    }
}

#[test]
fn nesting_is_bounded_and_costs_no_stack() {
    let nested = |levels: usize| {
        event().to_string().replacen('{', &format!(r#"{{"ignored": {}{}, "#, "[".repeat(levels), "]".repeat(levels)), 1)
    };
    decode(nested(EVENT_DEPTH_MAX - 1)).unwrap();
    for levels in [EVENT_DEPTH_MAX, 10_000, 300_000] {
        assert_rejected(decode(nested(levels)), Rejection::TooDeep, "64 levels");
    }
    assert_rejected(decode("[".repeat(10_000)), Rejection::TooDeep, "");
    assert_rejected(decode(r#"{"title":"#.repeat(10_000)), Rejection::TooDeep, "");
    // Brackets in texts, and brackets side by side, add no levels.
    decode(with("extra", r#"["[{\"#.repeat(1000))).unwrap();
    decode(with("extra", vec![json!([]); 1000])).unwrap();
}

#[test]
fn required_fields_must_be_there() {
    let required: BTreeSet<_> = event().as_object().unwrap().keys().cloned().collect();
    assert_eq!(required.len(), 9);
    for name in required {
        let mut without = event();
        without.as_object_mut().unwrap().remove(&name);
        assert_rejected(decode(without), Rejection::MissingField, &format!("missing: {name}; keys: "));
        assert_rejected(decode(with(&name, Value::Null)), Rejection::MissingField, &format!("null: {name}; keys: "));
    }
    assert_rejected(decode(with("song_id", "")), Rejection::MissingField, "empty: song_id; keys: ");
    assert_rejected(decode("{}"), Rejection::MissingField, "keys: none");
}

/// A detail names every missing field, and the paths that the record has instead.
#[test]
fn details_name_all_that_is_missing_and_all_that_is_there() {
    let event = json!({
        "song_id": null, "title": 7, "track": {"id": "1", "more": {"deep": 1}, "none": {}}, "tags": [{"a": 1}], "\u{1b}[2J": 1
    });
    let rejected = decode(event).unwrap_err();
    assert_eq!(rejected.reason, Rejection::MissingField);
    assert_eq!(
        rejected.detail,
        "missing: artist, user_id, timestamp, duration_ms, completed, device, country; null: song_id; keys: \\u{1b}[2J, \
         song_id, tags, title, track.id, track.more, track.none"
    );
    // Missing fields are named even if an earlier field breaks another rule.
    let mut wrong = with("song_id", 42);
    wrong.as_object_mut().unwrap().remove("country");
    assert_rejected(
        decode(wrong),
        Rejection::WrongType,
        "song_id: expected a text, found 42; missing: country; keys: ",
    );
    assert_rejected(decode("{\"\":{}}"), Rejection::MissingField, "country; keys: ");
}

/// Records framed for a schema registry are reported as such, for any bytes after the first five.
#[test]
fn framed_records_are_named() {
    let framed = |payload: &[u8]| decode_at(Some(&[&[0, 0, 0, 1, 2], payload].concat()), None);
    assert_rejected(framed(b"\x02a\x02b"), Rejection::NotJson, "(Avro or Protobuf, schema id 258)");
    assert_rejected(framed(b"\xff\xfe"), Rejection::NotUtf8, "(Avro or Protobuf, schema id 258)");
    assert_rejected(framed(event().to_string().as_bytes()), Rejection::NotJson, "(JSON Schema, schema id 258)");
    assert_rejected(decode_at(Some(b"\0\0\0\0"), None), Rejection::NotJson, "expected value");
}

#[test]
fn fields_must_have_their_types() {
    let texts = ["song_id", "title", "artist", "user_id", "device", "country", "event_id", "city", "album"];
    for name in texts {
        for value in [json!(17), json!(1.5), json!(false), json!(["x"]), json!({"x": 1})] {
            assert_rejected(
                decode(with(name, value)),
                Rejection::WrongType,
                &format!("{name}: expected a text, found"),
            );
        }
    }
    for name in ["duration_ms", "listened_ms"] {
        for value in [json!("183000"), json!(1.5), json!(100.0), json!(false), json!([1])] {
            assert_rejected(decode(with(name, value)), Rejection::WrongType, &format!("{name}: expected an integer"));
        }
    }
    for value in [json!(1), json!("true"), json!({})] {
        assert_rejected(decode(with("completed", value)), Rejection::WrongType, "completed: expected true or false");
    }
    for value in [json!(1_795_185_700.5), json!(true), json!([]), json!({})] {
        assert_rejected(decode(with("timestamp", value)), Rejection::WrongType, "timestamp: expected a text or");
    }
    let long = with("completed", "é".repeat(500));
    assert_rejected(decode(long), Rejection::WrongType, "é\"… (1000 bytes)");
}

#[test]
fn texts_are_bounded_in_bytes() {
    let names = ["song_id", "title", "artist", "user_id", "device", "country", "event_id", "city", "album"];
    for name in names {
        decode(with(name, "é".repeat(TEXT_BYTES_MAX / 2))).unwrap();
        let long = with(name, "é".repeat(TEXT_BYTES_MAX / 2) + "x");
        assert_rejected(decode(long), Rejection::TextTooLong, &format!("{name}: 1025 bytes"));
    }
    assert_rejected(decode(with("timestamp", "1".repeat(1025))), Rejection::TextTooLong, "timestamp");
    decode(with("unknown", "x".repeat(10_000))).unwrap();
}

#[test]
fn durations_fit_their_column() {
    for name in ["duration_ms", "listened_ms"] {
        for good in [0, 1, i32::MAX] {
            assert_eq!(decode(with(name, good)).unwrap()[name], good);
        }
        let detail = format!("{name}: expected 0 to 2147483647 ms");
        for bad in [json!(-1), json!(2_147_483_648_i64), json!(i64::MIN), json!(u64::MAX), json!(1e20), json!(-1e20)] {
            assert_rejected(decode(with(name, bad)), Rejection::BadDuration, &detail);
        }
    }
}

#[test]
fn timestamps_are_bounded_by_the_year_2000_and_the_kafka_record() {
    let year_2000_s = EVENT_TIME_MIN_US / 1_000_000;
    decode(with("timestamp", year_2000_s)).unwrap();
    assert_rejected(decode(with("timestamp", year_2000_s - 1)), Rejection::TooOld, "1999-12-31T23:59:59Z");
    for old in [json!(0), json!(-5), json!("0"), json!("0001-01-01 00:00:00"), json!("1999-12-31T23:59:59.999999Z")] {
        assert_rejected(decode(with("timestamp", old)), Rejection::TooOld, "timestamp");
    }
    let hour_ahead_us = KAFKA_MS * 1000 + AHEAD_MAX_US;
    decode(with("timestamp", hour_ahead_us)).unwrap();
    assert_rejected(decode(with("timestamp", hour_ahead_us + 1)), Rejection::TooFarAhead, "2026-11-20T14:41:40Z");

    let distant = with("timestamp", "9999-12-30T00:00:00Z").to_string();
    decode_at(Some(distant.as_bytes()), None).unwrap();
    decode_at(Some(distant.as_bytes()), Some(i64::MAX)).unwrap();
    let before_time = decode_at(Some(distant.as_bytes()), Some(i64::MIN));
    assert_rejected(before_time, Rejection::TooFarAhead, "µs");
    for bad in
        [json!("2026-02-30 10:00:00"), json!("soon"), json!(""), json!(u64::MAX), json!(1_795_185_700_000_000_000_i64)]
    {
        assert_rejected(decode(with("timestamp", bad)), Rejection::BadTimestamp, "RFC 3339");
    }
}
