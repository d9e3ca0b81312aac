//! The details of a dead letter: which fields are missing, which keys the record has instead, and
//! whether it is framed for a schema registry. Used for rejected records only.

use std::fmt;

use crate::intake::Rejection;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::fields::{JsonValue, RecordFields};
use crate::source::event::fields::Name;
use crate::source::event::verdict::{DETAIL_BYTES_MAX, Rejected, beginning};

/// Levels of objects whose keys are named: `payload.song_id` is on the second.
const LEVELS: usize = 2;
/// Bytes of one key that a detail shows.
const KEY_BYTES_MAX: usize = 64;
/// The magic byte of a schema registry's framing, and its schema id of four bytes.
const FRAME_BYTES: usize = 5;

/// Adds all missing fields of a record to its rejection, and the keys that the record has.
#[cold]
pub fn missing(rejected: Rejected, fields: &RecordFields<'_>, json: &str) -> Rejected {
    let named = |what: &str, is_it: fn(&JsonValue<'_>) -> bool| {
        let names: Vec<&str> = Name::required().filter(|name| is_it(fields.get(*name))).map(Name::as_str).collect();
        (!names.is_empty()).then(|| format!("{what}: {}", names.join(", ")))
    };
    let missing = [
        named("missing", |found| matches!(found, JsonValue::Nothing)),
        named("null", |found| matches!(found, JsonValue::Null)),
        // An identifier must not be empty; other texts may be.
        matches!(fields.get(Name::SongId), JsonValue::Text(id) if id.is_empty()).then(|| "empty: song_id".to_owned()),
    ];
    let missing: Vec<String> = missing.into_iter().flatten().collect();
    if missing.is_empty() {
        return rejected;
    }
    let (missing, keys) = (missing.join("; "), keys(json));
    match rejected.reason {
        Rejection::MissingField => Rejected::new(rejected.reason, format_args!("{missing}; keys: {keys}")),
        reason => Rejected::new(reason, format_args!("{}; {missing}; keys: {keys}", rejected.detail)),
    }
}

/// The framing of `value`, if it begins as the serializers of a schema registry begin a record. No
/// JSON begins with a zero byte.
pub fn framing(value: &[u8]) -> Option<String> {
    let (&[0, id @ ..], payload) = value.split_first_chunk::<FRAME_BYTES>()? else { return None };
    let id = u32::from_be_bytes(id);
    let format = match payload.first()? {
        b'{' => "JSON Schema",
        _ => "Avro or Protobuf",
    };
    Some(format!(
        "framed for a schema registry ({format}, schema id {id}), and only plain JSON can be read: have the producer write JSON \
         without a schema"
    ))
}

/// The keys of an object, as paths, in its order.
fn keys(json: &str) -> String {
    let mut keys = Keys::default();
    let mut deserializer = serde_json::Deserializer::from_str(json);
    // It has been parsed as JSON before.
    let _ = Level { path: "", levels: LEVELS, keys: &mut keys }.deserialize(&mut deserializer);
    if keys.0.is_empty() { "none".to_owned() } else { keys.0 }
}

#[derive(Default)]
struct Keys(String);

impl Keys {
    fn push(&mut self, path: &str) {
        if self.0.len() < DETAIL_BYTES_MAX {
            self.0.push_str(if self.0.is_empty() { "" } else { ", " });
            self.0.extend(path.escape_debug());
        }
    }
}

/// The value at `path`. Its keys are named down to `levels` levels.
struct Level<'a> {
    path: &'a str,
    levels: usize,
    keys: &'a mut Keys,
}

impl<'de> DeserializeSeed<'de> for Level<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Level<'_> {
    fn leaf<E>(self) -> Result<(), E> {
        self.keys.push(self.path);
        Ok(())
    }
}

impl<'de> Visitor<'de> for Level<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any value")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        let mut is_empty = true;
        while let Some(key) = map.next_key::<String>()? {
            is_empty = false;
            let key = beginning(&key, KEY_BYTES_MAX);
            let path = if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) };
            if self.levels > 1 {
                map.next_value_seed(Level { path: &path, levels: self.levels - 1, keys: &mut *self.keys })?;
            } else {
                self.keys.push(&path);
                map.next_value::<IgnoredAny>()?;
            }
        }
        if is_empty && !self.path.is_empty() { self.leaf() } else { Ok(()) }
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut list: S) -> Result<(), S::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        self.leaf()
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        self.leaf()
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        self.leaf()
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        self.leaf()
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        self.leaf()
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        self.leaf()
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.leaf()
    }
}
