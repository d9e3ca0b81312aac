//! The known fields of an event as JSON values of any type, and the rules for each field.

use std::borrow::Cow;
use std::fmt;

use crate::intake::{Rejection, TEXT_BYTES_MAX, check_duration_ms, check_song_id, check_text};
use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::source::event::fields::{
    Flag, Identifier, Kind, Milliseconds, Moment, Name, OptionalMilliseconds, OptionalText, Play, Text, for_each_field,
};
use crate::source::event::timestamp;
use crate::source::event::verdict::{Rejected, beginning, plausible};

/// Bytes of a wrong value that a detail shows.
const EXCERPT_BYTES_MAX: usize = 64;

/// The JSON value of a field. Texts are borrowed from the record, unless they have escapes.
#[cfg_attr(test, derive(Debug, PartialEq))]
pub enum JsonValue<'a> {
    Nothing,
    Null,
    Boolean(bool),
    Integer(i64),
    Fraction(f64),
    /// A number of 2⁶³ or more, for which serde_json does not tell whether it was written as an
    /// integer.
    Huge(f64),
    Text(Cow<'a, str>),
    List,
    Object,
}

/// The values of the known fields of an event.
#[cfg_attr(test, derive(Debug, PartialEq))]
pub struct RecordFields<'a>([JsonValue<'a>; Name::Unknown as usize]);

impl<'a> RecordFields<'a> {
    #[inline]
    fn identifier(&self, name: Name) -> Result<&str, Rejected> {
        let id = self.text(name)?;
        check_song_id(id).map_err(|reason| Rejected::new(reason, format_args!("{}", name.as_str())))?;
        Ok(id)
    }

    #[inline]
    fn text(&self, name: Name) -> Result<&str, Rejected> {
        self.optional_text(name)?.ok_or_else(|| self.missing(name))
    }

    #[inline]
    fn optional_text(&self, name: Name) -> Result<Option<&str>, Rejected> {
        match self.get(name) {
            JsonValue::Text(text) if check_text(text).is_ok() => Ok(Some(text)),
            JsonValue::Text(text) => Err(too_long(name, text)),
            JsonValue::Nothing | JsonValue::Null => Ok(None),
            _ => Err(self.wrong_type(name, "a text")),
        }
    }

    #[inline]
    fn boolean(&self, name: Name) -> Result<bool, Rejected> {
        match self.get(name) {
            JsonValue::Boolean(boolean) => Ok(*boolean),
            JsonValue::Nothing | JsonValue::Null => Err(self.missing(name)),
            _ => Err(self.wrong_type(name, "true or false")),
        }
    }

    #[inline]
    fn milliseconds(&self, name: Name) -> Result<i32, Rejected> {
        self.optional_milliseconds(name)?.ok_or_else(|| self.missing(name))
    }

    #[inline]
    fn optional_milliseconds(&self, name: Name) -> Result<Option<i32>, Rejected> {
        let milliseconds = match self.get(name) {
            JsonValue::Integer(integer) => check_duration_ms(*integer).ok(),
            JsonValue::Huge(_) => None,
            JsonValue::Nothing | JsonValue::Null => return Ok(None),
            _ => return Err(self.wrong_type(name, "an integer")),
        };
        match milliseconds {
            Some(_) => Ok(milliseconds),
            None => Err(Rejected::new(
                Rejection::BadDuration,
                format_args!("{}: expected 0 to {} ms, found {}", name.as_str(), i32::MAX, self.get(name)),
            )),
        }
    }

    /// The event time in µs since 1970.
    #[inline]
    fn moment(&self, name: Name) -> Result<i64, Rejected> {
        let timestamp_us = match self.get(name) {
            JsonValue::Text(text) if text.len() > TEXT_BYTES_MAX => return Err(too_long(name, text)),
            JsonValue::Text(text) => timestamp::from_text(text),
            JsonValue::Integer(epoch) => timestamp::from_epoch(*epoch),
            JsonValue::Huge(_) => None,
            JsonValue::Nothing | JsonValue::Null => return Err(self.missing(name)),
            _ => return Err(self.wrong_type(name, "a text or an integer")),
        };
        timestamp_us.ok_or_else(|| {
            Rejected::new(
                Rejection::BadTimestamp,
                format_args!(
                    "{}: expected yyyy-MM-dd HH:mm:ss, RFC 3339, or an epoch in s, ms or µs, found {}",
                    name.as_str(),
                    self.get(name)
                ),
            )
        })
    }

    #[inline]
    pub fn get(&self, name: Name) -> &JsonValue<'a> {
        &self.0[name as usize]
    }

    #[cold]
    fn missing(&self, name: Name) -> Rejected {
        Rejected::new(Rejection::MissingField, format_args!("{}", name.as_str()))
    }

    #[cold]
    fn wrong_type(&self, name: Name, expected: &str) -> Rejected {
        Rejected::new(
            Rejection::WrongType,
            format_args!("{}: expected {expected}, found {}", name.as_str(), self.get(name)),
        )
    }
}

/// How a value of a field is read from any JSON value.
trait Lenient: Kind {
    /// The value of the field `name`, in a record of the time `kafka_ms` (since 1970).
    ///
    /// # Errors
    /// The rule that the value breaks.
    fn value<'a>(fields: &'a RecordFields<'_>, name: Name, kafka_ms: Option<i64>) -> Result<Self::Value<'a>, Rejected>;
}

macro_rules! lenient {
    ($($kind:ident: |$fields:ident, $name:pat_param, $kafka_ms:pat_param| $value:expr;)*) => {$(
        impl Lenient for $kind {
            #[inline]
            fn value<'a>(
                $fields: &'a RecordFields<'_>,
                $name: Name,
                $kafka_ms: Option<i64>,
            ) -> Result<Self::Value<'a>, Rejected> {
                $value
            }
        }
    )*};
}

lenient! {
    Identifier: |fields, name, _| fields.identifier(name);
    Text: |fields, name, _| fields.text(name);
    OptionalText: |fields, name, _| fields.optional_text(name);
    Moment: |fields, name, kafka_ms| plausible(fields.moment(name)?, kafka_ms);
    Milliseconds: |fields, name, _| fields.milliseconds(name);
    OptionalMilliseconds: |fields, name, _| fields.optional_milliseconds(name);
    Flag: |fields, name, _| fields.boolean(name);
}

macro_rules! checked_play {
    ($($(#[$doc:meta])* $field:ident $name:literal $variant:ident $kind:ident,)*) => {
        impl RecordFields<'_> {
            /// The play in a record of the time `kafka_ms` (since 1970).
            ///
            /// # Errors
            /// The rule that the first bad field breaks, in the order of the schema.
            pub fn play(&self, kafka_ms: Option<i64>) -> Result<Play<'_>, Rejected> {
                Ok(Play { $($field: $kind::value(self, Name::$variant, kafka_ms)?,)* })
            }
        }
    };
}
for_each_field!(checked_play);

#[cold]
fn too_long(name: Name, text: &str) -> Rejected {
    Rejected::new(
        Rejection::TextTooLong,
        format_args!("{}: {} bytes, and {TEXT_BYTES_MAX} are allowed", name.as_str(), text.len()),
    )
}

impl fmt::Display for JsonValue<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => formatter.write_str("nothing"),
            Self::Null => formatter.write_str("null"),
            Self::Boolean(boolean) => boolean.fmt(formatter),
            Self::Integer(integer) => integer.fmt(formatter),
            // In the format of Debug: with a point, or with an exponent if that is shorter.
            Self::Fraction(number) | Self::Huge(number) => write!(formatter, "{number:?}"),
            Self::Text(text) if text.len() <= EXCERPT_BYTES_MAX => write!(formatter, "{text:?}"),
            Self::Text(text) => {
                write!(formatter, "{:?}… ({} bytes)", beginning(text, EXCERPT_BYTES_MAX), text.len())
            }
            Self::List => formatter.write_str("a list"),
            Self::Object => formatter.write_str("an object"),
        }
    }
}

impl<'de> Deserialize<'de> for RecordFields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Event;

        impl<'de> Visitor<'de> for Event {
            type Value = RecordFields<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object with the fields of a play")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut fields = RecordFields([const { JsonValue::Nothing }; Name::Unknown as usize]);
                while let Some(name) = map.next_key::<Name>()? {
                    match fields.0.get_mut(name as usize) {
                        Some(field) => *field = map.next_value()?,
                        None => _ = map.next_value::<IgnoredAny>()?,
                    }
                }
                Ok(fields)
            }
        }

        deserializer.deserialize_map(Event)
    }
}

impl<'de> Deserialize<'de> for JsonValue<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyValue;

        impl<'de> Visitor<'de> for AnyValue {
            type Value = JsonValue<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("any value")
            }

            fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
                Ok(JsonValue::Null)
            }

            fn visit_bool<E: Error>(self, boolean: bool) -> Result<Self::Value, E> {
                Ok(JsonValue::Boolean(boolean))
            }

            fn visit_i64<E: Error>(self, integer: i64) -> Result<Self::Value, E> {
                Ok(JsonValue::Integer(integer))
            }

            fn visit_u64<E: Error>(self, integer: u64) -> Result<Self::Value, E> {
                Ok(i64::try_from(integer).map_or(JsonValue::Huge(integer as f64), JsonValue::Integer))
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
                let huge = number.abs() >= -(i64::MIN as f64);
                Ok(if huge { JsonValue::Huge(number) } else { JsonValue::Fraction(number) })
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(JsonValue::Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(JsonValue::Text(Cow::Owned(text.to_owned())))
            }

            fn visit_seq<S: SeqAccess<'de>>(self, mut list: S) -> Result<Self::Value, S::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(JsonValue::List)
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(JsonValue::Object)
            }
        }

        deserializer.deserialize_any(AnyValue)
    }
}
