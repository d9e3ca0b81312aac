//! What makes a play valid, and why a record is none. Records of Kafka and rows of other people's lakes are judged by the same rules.

/// Bytes that a text field may have.
pub const TEXT_BYTES_MAX: usize = 1024;
/// Bytes that a whole event may have.
pub const EVENT_BYTES_MAX: usize = 1 << 20;
/// How deep the JSON of an event may nest, fields that are ignored included.
pub const EVENT_DEPTH_MAX: usize = 64;
/// The earliest event time, 2000-01-01T00:00:00Z, in µs since 1970.
pub const EVENT_TIME_MIN_US: i64 = 946_684_800_000_000;
/// How far an event may be ahead of the timestamp of its own Kafka record, in µs.
pub const AHEAD_MAX_US: i64 = 3_600_000_000;

/// Why a record is not a play. The text is stable: it is a column of the dead letters, and a key of the status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rejection {
    /// No value at all (a tombstone), or one without bytes.
    Empty,
    /// More than [`EVENT_BYTES_MAX`].
    TooLarge,
    NotUtf8,
    /// Nested deeper than [`EVENT_DEPTH_MAX`].
    TooDeep,
    /// Not JSON, or JSON that is not an object.
    NotJson,
    /// A required field is absent or null, or the song has an empty id.
    MissingField,
    /// A field has another type than it should have.
    WrongType,
    /// A text field is longer than [`TEXT_BYTES_MAX`].
    TextTooLong,
    /// The timestamp is not in a format that we read.
    BadTimestamp,
    /// Before [`EVENT_TIME_MIN_US`].
    TooOld,
    /// More than [`AHEAD_MAX_US`] ahead of the Kafka record.
    TooFarAhead,
    /// A duration is negative or does not fit 32 bits.
    BadDuration,
}

impl Rejection {
    /// Every reason.
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

/// Whether `text` can be a field of a play.
///
/// # Errors
/// [`Rejection::TextTooLong`].
#[inline]
pub fn check_text(text: &str) -> Result<(), Rejection> {
    if text.len() > TEXT_BYTES_MAX { Err(Rejection::TextTooLong) } else { Ok(()) }
}

/// Whether `text` can be the id of a song.
///
/// # Errors
/// [`Rejection::TextTooLong`], and [`Rejection::MissingField`] if it is empty.
#[inline]
pub fn check_song_id(text: &str) -> Result<(), Rejection> {
    if text.is_empty() { Err(Rejection::MissingField) } else { check_text(text) }
}

/// Whether a play can have happened at `event_us`, in µs since 1970, if its record was produced at `kafka_us`. A play that
/// is no Kafka record has no such bound.
///
/// # Errors
/// [`Rejection::TooOld`], [`Rejection::TooFarAhead`], and [`Rejection::BadTimestamp`] after the year 9999.
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

/// A duration of `ms`, as a play has it.
///
/// # Errors
/// [`Rejection::BadDuration`] if it is negative or does not fit 32 bits.
#[inline]
pub fn check_duration_ms(ms: i64) -> Result<i32, Rejection> {
    i32::try_from(ms).ok().filter(|ms| *ms >= 0).ok_or(Rejection::BadDuration)
}
