//! Plays in columns.
//!
//! Plays move as Arrow record batches. A source decodes records into columns once, and the dataflow
//! and the writer of the lake share the columns by reference count. Texts from Kafka are plain
//! columns; texts from the lake keep the dictionaries of Parquet.

use std::fmt::Debug;
use std::ops::Range;
use std::sync::{Arc, LazyLock};

use arrow::array::{Array, AsArray, BooleanArray, DictionaryArray, Int32Array, RecordBatch, StringArray};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, Int32Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType};

/// Microseconds in an hour.
pub const HOUR_US: i64 = 3_600_000_000;
/// Microseconds in a day.
pub const DAY_US: i64 = 24 * HOUR_US;

/// The columns of a play: their names, their types, and which of them may be null.
///
/// A batch may have further columns, such as the Kafka offset of each play; this crate ignores
/// them.
///
/// ```
/// use reprise_dataflows::play::schema;
///
/// let columns = schema();
/// assert!(!columns.field_with_name("song_id")?.is_nullable());
/// // Null if the event has no listening time.
/// assert!(columns.field_with_name("listened_ms")?.is_nullable());
/// # Ok::<(), arrow::error::ArrowError>(())
/// ```
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

/// Plays in columns, with what their source knows of all of them.
///
/// A source may leave out the columns that no chart counts by:
/// [`Plan::columns`](crate::rules::plan::Plan::columns) lists those that are needed.
///
/// ```
/// use std::sync::Arc;
///
/// use arrow::array::{RecordBatch, StringArray};
/// use reprise_dataflows::play::PlayBatch;
///
/// let ids = Arc::new(StringArray::from(vec!["S1", "S2"])) as _;
/// let columns = RecordBatch::try_from_iter([("song_id", ids)])?;
/// // Both are plays of 1970-01-02.
/// let plays = PlayBatch::new(columns, Some(1));
/// assert_eq!((plays.rows(), plays.day()), (2, Some(1)));
/// assert_eq!(plays.texts("song_id").unwrap().get(1), "S2");
/// assert!(plays.texts("country").is_none(), "no chart by country can count this batch");
/// # Ok::<(), arrow::error::ArrowError>(())
/// ```
#[derive(Clone, Debug)]
pub struct PlayBatch {
    columns: RecordBatch,
    day: Option<i32>,
    window_only: bool,
    fixed_window_us: Option<Range<i64>>,
    late_titles: Option<Arc<dyn LateTitles>>,
}

/// The titles and artists of a batch, read on demand.
///
/// A history has many tracks, of which only those in a top need a title. The source leaves both
/// columns out of the batch, and reads them again for the tracks of a
/// [`QueryKind::Titles`](crate::query::QueryKind::Titles).
///
/// ```
/// use reprise_dataflows::play::LateTitles;
///
/// /// A source that has its titles in memory.
/// #[derive(Debug)]
/// struct InMemory(Vec<[&'static str; 3]>);
///
/// impl LateTitles for InMemory {
///     fn each(&self, wanted: &dyn Fn(&str) -> bool, visit: &mut dyn FnMut(&str, &str, &str)) {
///         for [id, title, artist] in self.0.iter().filter(|[id, ..]| wanted(id)) {
///             visit(id, title, artist);
///         }
///     }
/// }
///
/// let source = InMemory(vec![["S1", "Moon", "Ana"], ["S2", "Rain", "Bo"]]);
/// let mut titles = Vec::new();
/// source.each(&|id| id == "S2", &mut |_, title, artist| {
///     titles.push(format!("{title} by {artist}"));
/// });
/// assert_eq!(titles, ["Rain by Bo"]);
/// ```
pub trait LateTitles: Debug + Send + Sync {
    /// Calls `visit` with the id, title and artist of each play whose track id is `wanted`. Plays
    /// that share all three need only one call.
    fn each(&self, wanted: &dyn Fn(&str) -> bool, visit: &mut dyn FnMut(&str, &str, &str));
}

/// A column of texts, in one of two encodings.
#[derive(Clone, Copy, Debug)]
pub enum Texts<'a> {
    /// A text for each row, as from Kafka.
    Plain(&'a StringArray),
    /// Each row's key into the texts, and the texts, as from Parquet.
    Dictionary(&'a DictionaryArray<Int32Type>, &'a StringArray),
}

impl<'a> Texts<'a> {
    /// The texts of a dictionary; `None` if its values are not texts.
    ///
    /// ```
    /// use arrow::array::{Array, DictionaryArray};
    /// use arrow::datatypes::Int32Type;
    /// use reprise_dataflows::play::Texts;
    ///
    /// let countries: DictionaryArray<Int32Type> = ["PT", "US", "PT"].into_iter().collect();
    /// let texts = Texts::of_dictionary(&countries).unwrap();
    /// assert_eq!([0, 1, 2].map(|row| texts.get(row)), ["PT", "US", "PT"]);
    /// let Texts::Dictionary(_, distinct) = texts else { unreachable!() };
    /// assert_eq!(distinct.len(), 2, "each text is there once");
    /// ```
    pub fn of_dictionary(array: &'a DictionaryArray<Int32Type>) -> Option<Self> {
        Some(Self::Dictionary(array, array.values().as_string_opt::<i32>()?))
    }

    /// Whether any row is null.
    pub(crate) fn has_nulls(self) -> bool {
        self.nulls().is_some_and(|nulls| nulls.null_count() > 0)
    }

    /// Calls `visit` with each row that is null.
    pub(crate) fn each_null(self, visit: impl FnMut(usize)) {
        let Some(nulls) = self.nulls().filter(|nulls| nulls.null_count() > 0) else { return };
        (0..nulls.len()).filter(|row| nulls.is_null(*row)).for_each(visit);
    }

    fn nulls(self) -> Option<&'a NullBuffer> {
        match self {
            Self::Plain(array) => array.nulls(),
            Self::Dictionary(array, _) => array.nulls(),
        }
    }

    /// The text of a row; `None` for a row that has none.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn get_valid(self, row: usize) -> Option<&'a str> {
        self.nulls().is_none_or(|nulls| nulls.is_valid(row)).then(|| self.get(row))
    }

    /// The text of a row; that of a null row means nothing.
    ///
    /// # Panics
    /// If there is no such row.
    #[inline]
    pub fn get(self, row: usize) -> &'a str {
        match self {
            Self::Plain(array) => array.value(row),
            Self::Dictionary(array, texts) => texts.value(array.keys().value(row) as usize),
        }
    }
}

impl PlayBatch {
    /// Wraps `columns`, whose names and types are those of [`schema`]. Texts may be plain, or
    /// dictionaries with `Int32` keys.
    ///
    /// `day` is the UTC day since 1970 that all the plays share, if the source knows it, as the
    /// partitions of the lake do. With it, charts of UTC periods need no timestamps. A wrong day
    /// counts the plays in wrong periods.
    pub fn new(columns: RecordBatch, day: Option<i32>) -> Self {
        Self { columns, day, window_only: false, fixed_window_us: None, late_titles: None }
    }

    /// The same plays, whose titles and artists are not among the columns but read on demand.
    ///
    /// The day of the batch must be known, and its ids must be a dictionary in which every text is
    /// the id of some play, of this batch or of later ones of the same day that share the source of
    /// titles. Those need no titles of their own.
    pub fn with_late_titles(self, titles: Arc<dyn LateTitles>) -> Self {
        Self { late_titles: Some(titles), ..self }
    }

    /// The source of titles and artists that are not among the columns.
    pub fn late_titles(&self) -> Option<&Arc<dyn LateTitles>> {
        self.late_titles.as_ref()
    }

    /// The same plays, for the trending window only: a checkpoint has counted them by days already.
    pub fn for_window_only(self) -> Self {
        Self { window_only: true, ..self }
    }

    /// Whether the plays count in the trending window only.
    pub(crate) fn is_for_window_only(&self) -> bool {
        self.window_only
    }

    /// The same plays, for a run whose clock never moves: the trending window holds these event
    /// times, in µs since 1970, and never any others.
    ///
    /// All plays in the window may then be counted in the same pane, which makes fewer tallies.
    pub fn with_fixed_window(self, window_us: Range<i64>) -> Self {
        Self { fixed_window_us: Some(window_us), ..self }
    }

    /// The event times of the only trending window that there will be, if the source knows it.
    pub fn fixed_window_us(&self) -> Option<&Range<i64>> {
        self.fixed_window_us.as_ref()
    }

    /// The columns, as they were given.
    pub fn columns(&self) -> &RecordBatch {
        &self.columns
    }

    /// The number of plays.
    pub fn rows(&self) -> usize {
        self.columns.num_rows()
    }

    /// The UTC day since 1970 that all plays share, if it is known.
    pub fn day(&self) -> Option<i32> {
        self.day
    }

    /// The texts of the column `name`; `None` if the batch lacks it.
    pub fn texts(&self, name: &str) -> Option<Texts<'_>> {
        let column = self.columns.column_by_name(name)?;
        if let Some(plain) = column.as_string_opt::<i32>() {
            return Some(Texts::Plain(plain));
        }
        Texts::of_dictionary(column.as_dictionary_opt::<Int32Type>()?)
    }

    /// The event times in µs since 1970; `None` if the batch lacks them.
    pub fn timestamps_us(&self) -> Option<&ScalarBuffer<i64>> {
        let column = self.columns.column_by_name("timestamp")?;
        Some(column.as_primitive_opt::<TimestampMicrosecondType>()?.values())
    }

    /// Whether each play was completed: listened to for at least 70 % of the track. `None` if the
    /// batch lacks the column.
    pub fn completed(&self) -> Option<&BooleanArray> {
        self.columns.column_by_name("completed")?.as_boolean_opt()
    }

    /// The duration of the track of each play in ms; `None` if the batch lacks the column.
    pub fn durations_ms(&self) -> Option<&Int32Array> {
        self.columns.column_by_name("duration_ms")?.as_primitive_opt()
    }

    /// The listening time of each play in ms, null if its event has none. `None` if the batch lacks
    /// the column.
    pub fn listened_ms(&self) -> Option<&Int32Array> {
        self.columns.column_by_name("listened_ms")?.as_primitive_opt()
    }
}
