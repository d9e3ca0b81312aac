//! Malformed records, of each kind that is found in real topics.
//!
//! Each is made from a valid play and has exactly one flaw, so that the reason for which a reader
//! must reject it is known.

use crate::intake::{EVENT_BYTES_MAX, Rejection, TEXT_BYTES_MAX};
use serde_json::{Map, Value, json};

use super::random::Random;

const VALUES: [Rejection; 12] = [
    Rejection::NotJson,
    Rejection::NotUtf8,
    Rejection::MissingField,
    Rejection::WrongType,
    Rejection::Empty,
    Rejection::BadTimestamp,
    Rejection::TooOld,
    Rejection::TooFarAhead,
    Rejection::BadDuration,
    Rejection::TextTooLong,
    Rejection::TooDeep,
    Rejection::TooLarge,
];
/// The most records of each of the large kinds in a run: more would make up most of its bytes.
const LARGE_MAX: u32 = 3;
const LARGE_BYTES: usize = 2_000_000;
const NESTING: usize = 10_000;
const FIELDS: [&str; 9] =
    ["song_id", "title", "artist", "user_id", "timestamp", "duration_ms", "completed", "device", "country"];

/// What is wrong with a malformed record.
pub enum Flaw {
    /// It has no value.
    Tombstone,
    /// Its value is rejected for this reason.
    Value(Rejection),
}

/// Draws flaws, and counts the large ones.
#[derive(Default)]
pub struct Flaws {
    too_deep: u32,
    too_large: u32,
}

impl Flaws {
    /// A random kind of flaw. A large kind is replaced by broken JSON once there are enough records
    /// of it.
    pub fn draw(&mut self, random: &mut Random) -> Flaw {
        let Some(&rejection) = VALUES.get(random.below(VALUES.len() as u64 + 1) as usize) else {
            return Flaw::Tombstone;
        };
        let count = match rejection {
            Rejection::TooDeep => &mut self.too_deep,
            Rejection::TooLarge => &mut self.too_large,
            _ => return Flaw::Value(rejection),
        };
        *count += 1;
        Flaw::Value(if *count > LARGE_MAX { Rejection::NotJson } else { rejection })
    }
}

/// Changes the valid play in `value` so that it must be rejected for this reason.
pub fn spoil(value: &mut Vec<u8>, rejection: Rejection, random: &mut Random) {
    match rejection {
        Rejection::Empty => value.clear(),
        Rejection::NotUtf8 => value.splice(12..12, [0xff, 0xfe]).for_each(drop),
        Rejection::NotJson => spoil_syntax(value, random),
        Rejection::TooDeep => {
            value.pop();
            value.extend_from_slice(br#","context":"#);
            value.resize(value.len() + NESTING, b'[');
            value.resize(value.len() + NESTING, b']');
            value.push(b'}');
        }
        Rejection::TooLarge => {
            const { assert!(LARGE_BYTES > EVENT_BYTES_MAX) };
            value.pop();
            value.extend_from_slice(br#","context":""#);
            value.resize(LARGE_BYTES, b'x');
            value.extend_from_slice(br#""}"#);
        }
        _ => spoil_field(value, rejection, random),
    }
}

fn spoil_syntax(value: &mut Vec<u8>, random: &mut Random) {
    match random.below(4) {
        0 => value.truncate(value.len() / 2),
        1 => *value = b"play song=1 user=U1000".to_vec(),
        2 => *value = [b"[", value.as_slice(), b"]"].concat(),
        _ => value.extend_from_slice(b"}"),
    }
}

fn spoil_field(value: &mut Vec<u8>, rejection: Rejection, random: &mut Random) {
    let mut play: Map<String, Value> = serde_json::from_slice(value).unwrap_or_default();
    let mut set = |name: &str, field: Value| play.insert(name.to_owned(), field);
    match rejection {
        Rejection::MissingField => {
            let name = *random.pick(&FIELDS);
            match random.below(3) {
                0 => set("song_id", json!("")),
                1 => set(name, Value::Null),
                _ => play.remove(name),
            };
        }
        Rejection::WrongType => {
            let wrong = [("title", json!(7)), ("user_id", json!(["U1000"])), ("duration_ms", json!("three minutes"))];
            let others = [("completed", json!("yes")), ("country", json!({"code": "US"})), ("artist", json!(false))];
            let (name, field) = random.pick(&[wrong, others].concat()).clone();
            set(name, field);
        }
        Rejection::BadTimestamp => {
            let time = *random.pick(&["yesterday evening", "2026-13-45 99:99:99", "20th of November", ""]);
            set("timestamp", json!(time));
        }
        Rejection::TooOld => {
            let time = *random.pick(&["1999-12-31 23:59:59", "1970-01-01 00:00:00", "1987-06-05 04:03:02"]);
            set("timestamp", json!(time));
        }
        Rejection::TooFarAhead => {
            // A fixed year, not relative to now: a seed must always give the same bytes.
            set("timestamp", json!(format!("20{}-01-01 00:00:00", 80 + random.below(20))));
        }
        Rejection::BadDuration => {
            let duration_ms = if random.below(4) == 0 { 1 << 31 } else { -1 - random.below(300_000) as i64 };
            set("duration_ms", json!(duration_ms));
        }
        _ => {
            // The limit counts bytes, so a text of fewer characters can exceed it too.
            let text =
                if random.below(2) == 0 { "x".repeat(TEXT_BYTES_MAX + 1) } else { "灯".repeat(TEXT_BYTES_MAX / 2) };
            set(random.pick::<&str>(&["title", "artist", "user_id"]), json!(text));
        }
    }
    *value = Value::Object(play).to_string().into_bytes();
}
