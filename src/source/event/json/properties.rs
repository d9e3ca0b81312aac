//! Compares the decoder with a slow one built on `serde_json::Value` and jiff's parsers, over
//! random and damaged events.

use super::format::read;
use crate::intake::EVENT_DEPTH_MAX;
use crate::intake::Rejection;
use crate::intake::SEEN;
use crate::intake::TEXT_BYTES_MAX;
use crate::intake::rejection::{AHEAD_MAX_US, EVENT_TIME_MIN_US};
use crate::source::event::Decoder;
use crate::source::event::format::Record;
use crate::source::event::json::fast_path::FastPath;
use crate::source::event::verdict::DETAIL_BYTES_MAX;
use arrow::array::AsArray;
use arrow::datatypes::{DataType, Int32Type, Int64Type, TimestampMicrosecondType};
use jiff::Timestamp;
use jiff::civil::DateTime;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use reprise_dataflows::play::PlayBatch;
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};

/// A row of a batch as a JSON object, without its nulls.
pub fn row(batch: &PlayBatch, row: usize) -> Value {
    let columns = batch.columns();
    let mut object = Map::new();
    for (field, column) in columns.schema().fields().iter().zip(columns.columns()) {
        if column.is_null(row) {
            continue;
        }
        let value = match field.data_type() {
            DataType::Utf8 => json!(column.as_string::<i32>().value(row)),
            DataType::Boolean => json!(column.as_boolean().value(row)),
            DataType::Int32 => json!(column.as_primitive::<Int32Type>().value(row)),
            DataType::Int64 => json!(column.as_primitive::<Int64Type>().value(row)),
            _ => json!(column.as_primitive::<TimestampMicrosecondType>().value(row)),
        };
        object.insert(field.name().clone(), value);
    }
    Value::Object(object)
}

/// The decoder's result for one record, without the Kafka coordinates.
fn decode(json: &[u8], timestamp_ms: Option<i64>) -> Result<Value, Rejection> {
    let mut decoder = Decoder::new();
    let record = Record { partition: 0, offset: 0, timestamp_ms, seen_us: 0, value: Some(json) };
    if let Err(unread) = decoder.push(&record) {
        let rejected = unread.rejected();
        assert!(rejected.detail.len() <= DETAIL_BYTES_MAX);
        assert_eq!((decoder.rows(), decoder.bytes()), (0, 0));
        return Err(rejected.reason);
    }
    let mut row = row(&decoder.finish(), 0);
    row.as_object_mut().unwrap().retain(|name, _| !name.starts_with("kafka_") && name != SEEN);
    Ok(row)
}

/// The fast path reads the same play as the general path, also when fields come in the expected order.
fn assert_fast_path_agrees(json: &str, kafka_ms: Option<i64>) {
    let mut fast_path = FastPath::default();
    for _ in 0..2 {
        if let Some(play) = fast_path.read(json, kafka_ms) {
            assert_eq!(play, read(json).unwrap().play(kafka_ms).unwrap());
        }
    }
}

/// The same result by a `Value`. It reads every timestamp that jiff reads, and only shallow events.
fn reference(json: &[u8], kafka_ms: Option<i64>) -> Result<Value, Rejection> {
    if json.is_empty() {
        return Err(Rejection::Empty);
    }
    let text = std::str::from_utf8(json).map_err(|_| Rejection::NotUtf8)?;
    let Ok(Value::Object(event)) = serde_json::from_str(text) else { return Err(Rejection::NotJson) };
    let mut row = Map::new();
    for field in crate::intake::schema().fields() {
        let name = field.name();
        let textual = name == "timestamp" || *field.data_type() == DataType::Utf8;
        let value = match event.get(name) {
            _ if name.starts_with("kafka_") || name == SEEN => continue,
            None | Some(Value::Null) if field.is_nullable() => continue,
            None | Some(Value::Null) => return Err(Rejection::MissingField),
            Some(Value::String(text)) if textual && text.len() > TEXT_BYTES_MAX => return Err(Rejection::TextTooLong),
            Some(Value::String(text)) if name == "song_id" && text.is_empty() => return Err(Rejection::MissingField),
            Some(value) if name == "timestamp" => json!(reference_timestamp(value, kafka_ms)?),
            Some(Value::Number(number)) if *field.data_type() == DataType::Int32 => {
                let huge = number.as_f64().is_some_and(|number| number.abs() >= 2_f64.powi(63));
                match number.as_i64() {
                    Some(0..=0x7fff_ffff) => json!(number),
                    None if !huge => return Err(Rejection::WrongType),
                    _ => return Err(Rejection::BadDuration),
                }
            }
            Some(value) if value.is_string() && *field.data_type() == DataType::Utf8 => value.clone(),
            Some(value) if value.is_boolean() && *field.data_type() == DataType::Boolean => value.clone(),
            Some(_) => return Err(Rejection::WrongType),
        };
        row.insert(name.clone(), value);
    }
    Ok(Value::Object(row))
}

fn reference_timestamp(value: &Value, kafka_ms: Option<i64>) -> Result<i64, Rejection> {
    let from_text = |text: &String| -> Option<i64> {
        if let Ok(epoch) = text.parse::<u64>() {
            return reference_epoch(i128::from(epoch));
        }
        let civil = || text.parse::<DateTime>().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok();
        let moment = text.parse::<Timestamp>().ok().or_else(|| Some(civil()?.timestamp()))?;
        Some(moment.as_microsecond())
    };
    let event_us = match value {
        Value::String(text) => from_text(text),
        Value::Number(number) => match number.as_i128() {
            Some(epoch) => reference_epoch(epoch),
            None if number.as_f64().is_some_and(|number| number.abs() >= 2_f64.powi(63)) => None,
            None => return Err(Rejection::WrongType),
        },
        _ => return Err(Rejection::WrongType),
    };
    let event_us = event_us.ok_or(Rejection::BadTimestamp)?;
    if event_us < EVENT_TIME_MIN_US {
        return Err(Rejection::TooOld);
    }
    if kafka_ms.is_some_and(|ms| i128::from(event_us) > i128::from(ms) * 1000 + i128::from(AHEAD_MAX_US)) {
        return Err(Rejection::TooFarAhead);
    }
    Ok(event_us)
}

/// By the number of digits.
fn reference_epoch(epoch: i128) -> Option<i64> {
    let factor = match epoch.unsigned_abs().to_string().len() {
        ..=11 => 1_000_000,
        12..=14 => 1000,
        15..=17 => 1,
        _ => return None,
    };
    i64::try_from(epoch * factor).ok()
}

/// A moment between the years 2000 and 2100 in one of the notations that keep it, and its µs.
pub fn moment() -> impl Strategy<Value = (Value, i64)> {
    let zone = -1439..1440_i32;
    (946_684_800_000_000..4_102_444_800_000_000_i64, 0..9_usize, zone).prop_map(|(us, notation, zone_min)| {
        let unit = [1_000_000, 1, 1000, 1_000_000, 1, 1_000_000, 1000, 1, 1][notation];
        let us = us / unit * unit;
        let moment = Timestamp::from_microsecond(us).unwrap();
        let offset = jiff::tz::Offset::from_seconds(zone_min * 60).unwrap();
        let text = match notation {
            0 => json!(moment.strftime("%Y-%m-%d %H:%M:%S").to_string()),
            1 => json!(moment.strftime("%Y-%m-%d %H:%M:%S%.f").to_string()),
            2 => json!(moment.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()),
            3 => json!(us / unit),
            4 => json!(moment.to_string()),
            5 | 6 => json!((us / unit).to_string()),
            7 => json!(us),
            _ => json!(moment.display_with_offset(offset).to_string()),
        };
        (text, us)
    })
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![3 => vec(prop::char::range(' ', '~'), 0..30), 1 => vec(any::<char>(), 0..30)]
        .prop_map(String::from_iter)
}

/// A valid event as members of a JSON object in any order, and its row.
fn event() -> impl Strategy<Value = (Vec<(String, Value)>, Value)> {
    let texts = vec(text(), 6);
    let optional = (vec(option::of(text()), 3), option::of(0..=i32::MAX));
    let extra = vec(("[x-z]{1,3}", select(vec![json!(null), json!([{"a": []}]), json!("]}"), json!(-1.5e3)])), 0..3);
    (texts, moment(), 0..=i32::MAX, any::<bool>(), optional, extra, any::<bool>())
        .prop_map(|(texts, (notation, us), duration_ms, completed, (optional, listened_ms), extra, nulls)| {
            let mut row = Map::new();
            for (name, text) in ["title", "artist", "user_id", "device", "country"].into_iter().zip(&texts) {
                row.insert(name.into(), json!(text));
            }
            row.insert("song_id".into(), json!(format!("S{}", texts[5])));
            row.insert("timestamp".into(), json!(us));
            row.insert("duration_ms".into(), json!(duration_ms));
            row.insert("completed".into(), json!(completed));
            for (name, text) in ["event_id", "city", "album"].into_iter().zip(optional) {
                row.insert(name.into(), json!(text));
            }
            row.insert("listened_ms".into(), json!(listened_ms));

            let mut members: Vec<_> = row.clone().into_iter().filter(|(_, value)| nulls || !value.is_null()).collect();
            members.iter_mut().filter(|(name, _)| name == "timestamp").for_each(|(_, value)| *value = notation.clone());
            members.extend(extra);
            row.retain(|_, value| !value.is_null());
            (members, Value::Object(row))
        })
        .prop_flat_map(|(members, row)| (Just(members).prop_shuffle(), Just(row)))
}

/// As JSON. With `ascii`, other characters are escapes, as in Python's `json.dumps`.
fn to_json(members: &[(String, Value)], ascii: bool) -> String {
    let members: Vec<_> = members.iter().map(|(name, value)| format!("{}: {value}", json!(name))).collect();
    let json = format!("{{{}}}", members.join(", "));
    if !ascii {
        return json;
    }
    let mut units = [0; 2];
    let escaped = |unit: &mut u16| format!("\\u{unit:04x}");
    json.chars()
        .map(
            |c| if c.is_ascii() { c.to_string() } else { c.encode_utf16(&mut units).iter_mut().map(escaped).collect() },
        )
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..300)) {
        prop_assert!(decode(&bytes, None).is_err());
    }

    #[test]
    fn arbitrary_json_like_texts_never_panic(tokens in vec(select(vec![
        "{", "}", "[", "]", ":", ",", "\"", "\\", "\\u", "d800", "\"song_id\"", "\"timestamp\"", "null", "1e9", "-0", "é", " ",
    ]), 0..200)) {
        let _ = decode(tokens.concat().as_bytes(), None);
    }

    #[test]
    fn valid_events_round_trip((members, row) in event(), ascii in any::<bool>()) {
        let json = to_json(&members, ascii);
        prop_assert_eq!(reference(json.as_bytes(), None), Ok(row.clone()));
        prop_assert_eq!(decode(json.as_bytes(), None), Ok(row));
        assert_fast_path_agrees(&json, None);
    }

    /// One batch of many rows has the rows of many batches of one, and bad records between them
    /// change nothing.
    #[test]
    fn batches_hold_the_accepted_rows_in_order(events in vec((event(), any::<bool>()), 0..20)) {
        let mut decoder = Decoder::new();
        let mut expected = Vec::new();
        for (offset, ((members, row), good)) in (0..).zip(&events) {
            let json = to_json(members, false);
            let value = if *good { json.as_bytes() } else { &json.as_bytes()[1..] };
            let record = Record { partition: 7, offset, timestamp_ms: None, seen_us: 5, value: Some(value) };
            prop_assert_eq!(decoder.push(&record).is_ok(), *good);
            if *good {
                let mut row = row.clone();
                row["kafka_partition"] = json!(7);
                row["kafka_offset"] = json!(offset);
                row[SEEN] = json!(5);
                expected.push(row);
            }
        }
        let text_bytes = expected.iter().flat_map(|row| row.as_object().unwrap().values()).filter_map(Value::as_str);
        prop_assert_eq!(decoder.bytes(), text_bytes.map(str::len).sum::<usize>());
        let batch = decoder.finish();
        let rows: Vec<_> = (0..batch.rows()).map(|number| row(&batch, number)).collect();
        prop_assert_eq!(rows, expected);
    }

    /// With a byte overwritten or the end cut off, the verdict is that of the reference. Only
    /// timestamps are read more strictly than by jiff, and values of ignored fields less strictly
    /// than by `Value`.
    #[test]
    fn damaged_events_are_judged_as_by_the_reference(
        (members, _) in event(), places in vec((any::<Index>(), any::<u8>()), 0..3), cut in option::of(any::<Index>()),
        swap in option::of((any::<Index>(), select(vec![
            json!(null), json!(-1), json!(1.5), json!(""), json!("5"), json!([]), json!(true), json!(u64::MAX), json!(1e300),
            json!("x".repeat(1025)), json!(4_102_444_801_i64), json!("2100-02-29 00:00:00"), json!("2096-02-29 00:00:00"),
        ]))),
        kafka_ms in option::of(946_684_800_000..4_102_444_800_000_i64),
    ) {
        let mut members = members;
        if let Some((place, value)) = swap {
            let place = place.index(members.len());
            members[place].1 = value;
        }
        let mut json = to_json(&members, false).into_bytes();
        for (place, byte) in places {
            let place = place.index(json.len());
            json[place] = byte;
        }
        if let Some(cut) = cut {
            json.truncate(cut.index(json.len()));
        }
        if let Ok(text) = std::str::from_utf8(&json) {
            assert_fast_path_agrees(text, kafka_ms);
        }
        let (actual, expected) = (decode(&json, kafka_ms), reference(&json, kafka_ms));
        let only_ignored = expected == Err(Rejection::NotJson) && serde_json::from_slice::<IgnoredAny>(&json).is_ok();
        let strict = actual == Err(Rejection::BadTimestamp);
        prop_assert!(actual == expected || strict || only_ignored, "{actual:?} but {expected:?}");
    }

    #[test]
    fn depth_is_counted_in_levels(kinds in vec(any::<bool>(), 0..130), (members, row) in event()) {
        let open = kinds.iter().map(|list| if *list { r#"["]",{},"# } else { r#"{"}\"":[],"":"# });
        let close = kinds.iter().rev().map(|list| if *list { "]" } else { "}" });
        let nested = open.chain(["[]"]).chain(close).collect::<String>();
        let json = to_json(&members, false).replacen('{', &format!(r#"{{"?": {nested}, "#), 1);
        // The object itself and the innermost list are levels.
        let expected = if kinds.len() + 2 > EVENT_DEPTH_MAX { Err(Rejection::TooDeep) } else { Ok(row) };
        prop_assert_eq!(decode(json.as_bytes(), None), expected);
    }
}
