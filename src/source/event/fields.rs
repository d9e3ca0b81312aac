//! The fields of an event: one table, from which every list of fields is generated.
//!
//! To add a field, add a line to [`for_each_field`] and a column to
//! [`reprise_dataflows::play::schema`], at the same position. A new *kind* of field defines its
//! value type here, its column in `columns.rs`, and how it is read in each format.

use serde::Deserialize;

/// Calls the macro `$then` with the table of fields, in the order of the schema. A line has the
/// field of [`Play`], its name in events, its variant of [`Name`], and its kind.
macro_rules! for_each_field {
    ($then:ident) => {
        $then! {
            /// Identifies the track. Never empty.
            song_id "song_id" SongId Identifier,
            /// The title of the track.
            title "title" Title Text,
            /// The artist of the track.
            artist "artist" Artist Text,
            /// Identifies the listener.
            user_id "user_id" UserId Text,
            /// When the play began, in µs since 1970.
            timestamp_us "timestamp" Timestamp Moment,
            /// The length of the track, in ms.
            duration_ms "duration_ms" DurationMs Milliseconds,
            /// Whether the track was played to its end.
            completed "completed" Completed Flag,
            /// The kind of device.
            device "device" Device Text,
            /// The country of the listener.
            country "country" Country Text,
            /// Identifies the event.
            event_id "event_id" EventId OptionalText,
            /// The city of the listener.
            city "city" City OptionalText,
            /// The album of the track.
            album "album" Album OptionalText,
            /// How long the track was played, in ms.
            listened_ms "listened_ms" ListenedMs OptionalMilliseconds,
        }
    };
}
pub(super) use for_each_field;

/// A kind of field.
pub trait Kind {
    /// The type of its value in a play. Texts are borrowed from the record or from its format.
    type Value<'a>;
    /// Whether a play must have the field.
    const IS_REQUIRED: bool;
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident $value:ty, required: $required:literal;)*) => {$(
        $(#[$doc])*
        pub enum $kind {}
        impl Kind for $kind {
            type Value<'a> = $value;
            const IS_REQUIRED: bool = $required;
        }
    )*};
}

kinds! {
    /// A text that is not empty.
    Identifier &'a str, required: true;
    /// A text, perhaps an empty one.
    Text &'a str, required: true;
    /// A text that may be missing.
    OptionalText Option<&'a str>, required: false;
    /// A moment that [`crate::intake::check_time`] accepts, in µs since 1970.
    Moment i64, required: true;
    /// A length that [`crate::intake::check_duration_ms`] accepts, in ms.
    Milliseconds i32, required: true;
    /// A length in ms that may be missing.
    OptionalMilliseconds Option<i32>, required: false;
    /// True or false.
    Flag bool, required: true;
}

macro_rules! names_and_play {
    ($($(#[$doc:meta])* $field:ident $name:literal $variant:ident $kind:ident,)*) => {
        /// The name of a field in an event.
        #[derive(Clone, Copy, Debug, Deserialize)]
        #[serde(field_identifier)]
        pub enum Name {
            $($(#[$doc])* #[serde(rename = $name)] $variant,)*
            /// Any other name. The last variant, so its number is that of the known fields.
            #[serde(other)]
            Unknown,
        }

        impl Name {
            /// All known fields, by their numbers.
            pub const ALL: [Self; Self::Unknown as usize] = [$(Self::$variant),*];

            /// The fields that a play must have.
            pub fn required() -> impl Iterator<Item = Self> {
                [$((Self::$variant, $kind::IS_REQUIRED)),*].into_iter().filter_map(|(name, is)| is.then_some(name))
            }

            /// The name in events.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                    Self::Unknown => "unknown",
                }
            }
        }

        /// A play that satisfies every rule of [`crate::intake`].
        #[cfg_attr(test, derive(Debug, PartialEq))]
        pub struct Play<'a> {
            $($(#[$doc])* pub $field: <$kind as Kind>::Value<'a>,)*
        }
    };
}
for_each_field!(names_and_play);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_the_columns_of_a_play() {
        let schema = reprise_dataflows::play::schema();
        let columns: Vec<_> =
            schema.fields().iter().map(|column| (column.name().as_str(), !column.is_nullable())).collect();
        let required: Vec<_> = Name::required().map(Name::as_str).collect();
        let fields = Name::ALL.map(|name| (name.as_str(), required.contains(&name.as_str())));
        assert_eq!(columns, fields);
    }
}
