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

/// Microseconds of an hour.
pub const HOUR_US: i64 = 3_600_000_000;
/// Microseconds of a day.
pub const DAY_US: i64 = 24 * HOUR_US;

/// The columns of a play. Where it comes from is no matter here: a source may add columns.
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
