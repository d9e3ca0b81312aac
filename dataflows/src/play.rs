//! A play, in columns, and what makes one valid.
//!
//! Plays move as Arrow record batches: a source decodes into columns once, and the lake's writer and the dataflow share
//! them by reference count. From Kafka the strings are plain; from the lake they keep Parquet's dictionaries.

use std::fmt::Debug;
use std::ops::Range;
use std::sync::{Arc, LazyLock};

use arrow::array::{Array, AsArray, BooleanArray, DictionaryArray, Int32Array, RecordBatch, StringArray};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, Int32Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType};

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

/// Microseconds of an hour.
pub const HOUR_US: i64 = 3_600_000_000;
/// Microseconds of a day.
pub const DAY_US: i64 = 24 * HOUR_US;

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

/// The columns of a play as the lake stores them, the partition columns `date` and `hour` aside.
pub fn schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let required = |name, data_type| Field::new(name, data_type, false);
        let optional = |name, data_type| Field::new(name, data_type, true);
        Arc::new(Schema::new(vec![
            required("song_id", DataType::Utf8),
            required("title", DataType::Utf8),
            required("artist", DataType::Utf8),
            required("user_id", DataType::Utf8),
            required("timestamp", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
            required("duration_ms", DataType::Int32),
            required("completed", DataType::Boolean),
            required("device", DataType::Utf8),
            required("country", DataType::Utf8),
            optional("event_id", DataType::Utf8),
            optional("city", DataType::Utf8),
            optional("album", DataType::Utf8),
            optional("listened_ms", DataType::Int32),
            required("kafka_partition", DataType::Int32),
            required("kafka_offset", DataType::Int64),
        ]))
    });
    SCHEMA.clone()
}

/// Plays in columns. Those that come from the lake may lack the columns that no chart asks for.
#[derive(Clone, Debug)]
pub struct PlayBatch {
    columns: RecordBatch,
    day: Option<i32>,
    window_only: bool,
    fixed_window_us: Option<Range<i64>>,
    late_titles: Option<Arc<dyn LateTitles>>,
}

/// The titles and artists of a batch, which its source reads when somebody asks for those of some tracks: for most tracks of a
/// history nobody does.
pub trait LateTitles: Debug + Send + Sync {
    /// Calls `hear` with id, title and artist of the plays whose track's id is `wanted`, or of one play of those that share all
    /// three.
    fn each(&self, wanted: &dyn Fn(&str) -> bool, hear: &mut dyn FnMut(&str, &str, &str));
}

/// A column of texts in either of the encodings that sources give.
#[derive(Clone, Copy, Debug)]
pub enum Texts<'a> {
    Plain(&'a StringArray),
    Dictionary(&'a DictionaryArray<Int32Type>, &'a StringArray),
}

impl<'a> Texts<'a> {
    /// Of a dictionary, if it is one of texts.
    pub fn of_dictionary(array: &'a DictionaryArray<Int32Type>) -> Option<Self> {
        Some(Self::Dictionary(array, array.values().as_string_opt::<i32>()?))
    }

    /// Whether any row has no text.
    pub fn has_nulls(self) -> bool {
        self.nulls().is_some_and(|nulls| nulls.null_count() > 0)
    }

    /// Calls `visit` with each row that has no text.
    pub fn each_null(self, visit: impl FnMut(usize)) {
        let Some(nulls) = self.nulls().filter(|nulls| nulls.null_count() > 0) else { return };
        (0..nulls.len()).filter(|row| nulls.is_null(*row)).for_each(visit);
    }

    fn nulls(self) -> Option<&'a NullBuffer> {
        match self {
            Self::Plain(array) => array.nulls(),
            Self::Dictionary(array, _) => array.nulls(),
        }
    }

    /// The text of a row.
    #[inline]
    pub fn get(self, row: usize) -> &'a str {
        match self {
            Self::Plain(array) => array.value(row),
            Self::Dictionary(array, texts) => texts.value(array.keys().value(row) as usize),
        }
    }
}

impl PlayBatch {
    /// Wraps `columns`, whose names and types are those of [`schema`], texts plain or as dictionaries of `Int32` keys.
    ///
    /// `day` is the UTC day (since 1970) that all the plays share, if the source knows it: the lake's partitions do, and
    /// then a chart of UTC periods needs no timestamps.
    pub fn new(columns: RecordBatch, day: Option<i32>) -> Self {
        Self { columns, day, window_only: false, fixed_window_us: None, late_titles: None }
    }

    /// The same plays, of a known day, whose titles and artists are not among the columns, and whose ids are a dictionary without
    /// any text that is no play's.
    pub fn with_late_titles(self, titles: Arc<dyn LateTitles>) -> Self {
        Self { late_titles: Some(titles), ..self }
    }

    pub fn late_titles(&self) -> Option<&Arc<dyn LateTitles>> {
        self.late_titles.as_ref()
    }

    /// The same plays for the trending window alone: what they add to the days is counted already, in a checkpoint.
    pub fn for_window_only(self) -> Self {
        Self { window_only: true, ..self }
    }

    pub fn is_for_window_only(&self) -> bool {
        self.window_only
    }

    /// The same plays, where the clock never moves: these event times, in µs, are in the trending window, and no others ever will
    /// be. It need not be known when within it a play was.
    pub fn with_fixed_window(self, window_us: Range<i64>) -> Self {
        Self { fixed_window_us: Some(window_us), ..self }
    }

    /// The only trending window that there will be, if the source knows it.
    pub fn fixed_window_us(&self) -> Option<&Range<i64>> {
        self.fixed_window_us.as_ref()
    }

    pub fn columns(&self) -> &RecordBatch {
        &self.columns
    }

    pub fn rows(&self) -> usize {
        self.columns.num_rows()
    }

    /// The UTC day that all plays share, if it is known.
    pub fn day(&self) -> Option<i32> {
        self.day
    }

    /// The texts of column `name`, or `None` where the batch lacks it.
    pub fn texts(&self, name: &str) -> Option<Texts<'_>> {
        let column = self.columns.column_by_name(name)?;
        if let Some(plain) = column.as_string_opt::<i32>() {
            return Some(Texts::Plain(plain));
        }
        Texts::of_dictionary(column.as_dictionary_opt::<Int32Type>()?)
    }

    /// Event times in µs since 1970, or `None` where the batch lacks them.
    pub fn timestamps_us(&self) -> Option<&ScalarBuffer<i64>> {
        let column = self.columns.column_by_name("timestamp")?;
        Some(column.as_primitive_opt::<TimestampMicrosecondType>()?.values())
    }

    pub fn completed(&self) -> Option<&BooleanArray> {
        self.columns.column_by_name("completed")?.as_boolean_opt()
    }

    pub fn durations_ms(&self) -> Option<&Int32Array> {
        self.columns.column_by_name("duration_ms")?.as_primitive_opt()
    }

    pub fn listened_ms(&self) -> Option<&Int32Array> {
        self.columns.column_by_name("listened_ms")?.as_primitive_opt()
    }
}
