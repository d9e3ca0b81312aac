//! The rules that make a play valid, and the reasons for a rejection. They apply to Kafka records
//! and to rows of lakes that other tools wrote.

/// The maximum size in bytes of a text field.
pub const TEXT_BYTES_MAX: usize = 1024;
/// The maximum size in bytes of a whole event.
pub const EVENT_BYTES_MAX: usize = 1 << 20;
/// The maximum nesting depth of the JSON of an event, ignored fields included.
pub const EVENT_DEPTH_MAX: usize = 64;
/// The earliest event time, 2000-01-01T00:00:00Z, in µs since 1970.
pub const EVENT_TIME_MIN_US: i64 = 946_684_800_000_000;
/// How far an event may be ahead of the timestamp of its Kafka record, in µs.
pub const AHEAD_MAX_US: i64 = 3_600_000_000;

/// Why a record is not a play. The names from [`Rejection::as_str`] are stable: they are a column
/// of the dead letters and keys of the status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rejection {
    /// No value (a tombstone), or one of zero bytes.
    Empty,
    /// More than [`EVENT_BYTES_MAX`].
    TooLarge,
    /// Not valid UTF-8.
    NotUtf8,
    /// Nested deeper than [`EVENT_DEPTH_MAX`].
    TooDeep,
    /// Not JSON, or JSON that is not an object.
    NotJson,
    /// A required field is absent or null, or the song has an empty id.
    MissingField,
    /// A field does not have the required type.
    WrongType,
    /// A text field is longer than [`TEXT_BYTES_MAX`].
    TextTooLong,
    /// The timestamp is in none of the accepted formats.
    BadTimestamp,
    /// Before [`EVENT_TIME_MIN_US`].
    TooOld,
    /// More than [`AHEAD_MAX_US`] ahead of the Kafka record.
    TooFarAhead,
    /// A duration is negative or does not fit 32 bits.
    BadDuration,
}

impl Rejection {
    /// Every reason, in the order in which they are declared.
    pub const ALL: [Self; 12] = [
        Self::Empty,
        Self::TooLarge,
        Self::NotUtf8,
        Self::TooDeep,
        Self::NotJson,
        Self::MissingField,
        Self::WrongType,
        Self::TextTooLong,
        Self::BadTimestamp,
        Self::TooOld,
        Self::TooFarAhead,
        Self::BadDuration,
    ];

    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::TooLarge => "too_large",
            Self::NotUtf8 => "not_utf8",
            Self::TooDeep => "too_deep",
            Self::NotJson => "not_json",
            Self::MissingField => "missing_field",
            Self::WrongType => "wrong_type",
            Self::TextTooLong => "text_too_long",
            Self::BadTimestamp => "bad_timestamp",
            Self::TooOld => "too_old",
            Self::TooFarAhead => "too_far_ahead",
            Self::BadDuration => "bad_duration",
        }
    }
}

/// Checks that `text` can be a field of a play.
///
/// # Errors
/// [`Rejection::TextTooLong`].
#[inline]
pub fn check_text(text: &str) -> Result<(), Rejection> {
    if text.len() > TEXT_BYTES_MAX { Err(Rejection::TextTooLong) } else { Ok(()) }
}

/// Checks that `text` can be the id of a song.
///
/// # Errors
/// [`Rejection::TextTooLong`], and [`Rejection::MissingField`] if it is empty.
#[inline]
pub fn check_song_id(text: &str) -> Result<(), Rejection> {
    if text.is_empty() { Err(Rejection::MissingField) } else { check_text(text) }
}

/// Checks that a play can have happened at `event_us`, in µs since 1970, if its record was produced
/// at `kafka_us`. `None` for a play that is not from Kafka, which has no upper bound but the year
/// 9999.
///
/// # Errors
/// [`Rejection::TooOld`], [`Rejection::TooFarAhead`], and [`Rejection::BadTimestamp`] after the
/// year 9999.
#[inline]
pub fn check_time(event_us: i64, kafka_us: Option<i64>) -> Result<(), Rejection> {
    if event_us < EVENT_TIME_MIN_US {
        return Err(Rejection::TooOld);
    }
    // Saturating, because a producer may write any number as Kafka's timestamp.
    if kafka_us.is_some_and(|kafka_us| event_us > kafka_us.saturating_add(AHEAD_MAX_US)) {
        return Err(Rejection::TooFarAhead);
    }
    if event_us > jiff::Timestamp::MAX.as_microsecond() { Err(Rejection::BadTimestamp) } else { Ok(()) }
}

/// Converts a duration of `ms` to the type that plays store.
///
/// # Errors
/// [`Rejection::BadDuration`] if it is negative or does not fit 32 bits.
#[inline]
pub fn check_duration_ms(ms: i64) -> Result<i32, Rejection> {
    i32::try_from(ms).ok().filter(|ms| *ms >= 0).ok_or(Rejection::BadDuration)
}
