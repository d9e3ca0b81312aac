//! Reads plays from files that another tool wrote.
//!
//! Such a file may use other types, may lack columns, and may hold rows that would be invalid as
//! Kafka records. Every column of a play that the file has is read, whatever the charts need, and
//! each row is checked by the rules of `intake::rejection`: whether it counts depends on the row
//! alone, never on the charts. A row is left out for the first of its bad columns, in the order of
//! the schema. The hour of a play comes from its timestamp, not from the file's folder.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, LazyLock};

use crate::intake::{Rejection, SEEN, check_duration_ms, check_song_id, check_text, check_time};
use anyhow::{Context, Result, bail, ensure};
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::compute::{CastOptions, cast_with_options, filter_record_batch};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use reprise_dataflows::play::{DAY_US, HOUR_US};
use reprise_dataflows::rules::plan::Plan;

use super::left_out::LeftOut;
use super::opened::Opened;
use crate::lake::store::Place;
use crate::lake::{Filing, LakeFile};
use crate::source::event::timestamp;

const BATCH_ROWS: usize = 64 << 10;
/// The columns of a play.
static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(crate::intake::schema);
/// The Kafka coordinates of a play, which are needed only with a checkpoint.
const ORIGIN: [&str; 2] = ["kafka_partition", "kafka_offset"];

/// Reads one file.
pub struct Foreign {
    place: Place,
    /// The hour of its folder, in µs since 1970.
    folder_us: Option<Range<i64>>,
    /// Whether reprise wrote the table, so that files are selected by folder.
    is_filed: bool,
    reader: ParquetRecordBatchReader,
    /// Rows read so far.
    rows: u64,
}

/// The rows of a batch that are plays, and the UTC day if they share one.
pub struct Judged {
    /// The plays, in the types of our schema.
    pub plays: RecordBatch,
    /// The UTC day of all of them, in days since 1970; `None` if they have several.
    pub day: Option<i32>,
}

/// Rows of a batch that are no plays, by index, with the reason and the column.
type Bad = BTreeMap<usize, (Rejection, &'static str)>;

impl Foreign {
    /// A reader of all columns of a play that a file has, and `with_origin` of its Kafka
    /// coordinates.
    ///
    /// # Errors
    /// If the file lacks a column that a chart of `plan` needs, or has one of a type that cannot be
    /// a play's.
    pub fn open(opened: Opened, file: &LakeFile, plan: &Plan, with_origin: bool) -> Result<Self> {
        let Opened { content, metadata, .. } = opened;
        // Ignore the Arrow types that a writer may have stored: Parquet has fewer types to handle.
        let options = || ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let plain = ArrowReaderMetadata::try_new(metadata.clone(), options())?;
        let schema = plain.schema();
        let wanted = |name: &str| name != SEEN && (with_origin || !ORIGIN.contains(&name));
        let mut roots = Vec::new();
        for field in SCHEMA.fields().iter().filter(|field| wanted(field.name())) {
            match schema.fields().find(field.name()) {
                Some((root, found)) => {
                    let (name, found, expected) = (field.name(), found.data_type(), field.data_type());
                    ensure!(fits(field, found), "its column `{name}` is of the type {found}, and must be {expected}");
                    roots.push(root);
                }
                None => check_lacking(field, plan, schema, &file.place)?,
            }
        }
        let physical = metadata.file_metadata().schema_descr();
        let is_int96 = |name: &str| {
            let of_name = physical.columns().iter().find(|column| column.path().string() == name);
            of_name.is_some_and(|column| column.physical_type() == parquet::basic::Type::INT96)
        };
        let fields = schema.fields().iter().map(|field| match read_as(field.data_type(), is_int96(field.name())) {
            Some(data_type) => Arc::new(field.as_ref().clone().with_data_type(data_type)),
            None => field.clone(),
        });
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let metadata = ArrowReaderMetadata::try_new(metadata, options().with_schema(schema))?;
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(content, metadata);
        let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
        let reader = builder.with_projection(mask).with_batch_size(BATCH_ROWS).build()?;
        let start_us = i64::from(file.day) * DAY_US + i64::from(file.hour) * HOUR_US;
        Ok(Self {
            place: file.place.clone(),
            folder_us: (file.filing != Filing::Unknown).then(|| start_us..start_us + HOUR_US),
            is_filed: file.filing == Filing::ByHour,
            reader,
            rows: 0,
        })
    }

    /// The number of rows in the next batch, and the plays among them; `None` at the end. The other
    /// rows are counted in `left_out`.
    pub fn next(&mut self, left_out: &mut LeftOut) -> Result<Option<(u64, Judged)>> {
        let Some(batch) = self.reader.next().transpose()? else { return Ok(None) };
        let mut bad = Bad::new();
        let mut columns: Vec<(&str, ArrayRef)> = Vec::new();
        for field in SCHEMA.fields() {
            if let Some(column) = batch.column_by_name(field.name()) {
                columns.push((field.name(), judged(field, column, &mut bad)?));
            }
        }
        for (row, (reason, column)) in &bad {
            left_out.reject(*reason, &self.place, self.rows + *row as u64, column);
        }
        let mut plays =
            RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))?;
        if !bad.is_empty() {
            let is_play = (0..plays.num_rows()).map(|row| Some(!bad.contains_key(&row)));
            plays = filter_record_batch(&plays, &BooleanArray::from_iter(is_play))?;
        }
        let day = self.look_at_hours(&plays, left_out)?;
        self.rows += batch.num_rows() as u64;
        Ok(Some((batch.num_rows() as u64, Judged { plays, day })))
    }

    /// The UTC day of all plays, if they have the same. Counts plays outside of their folder's
    /// hour.
    fn look_at_hours(&self, plays: &RecordBatch, left_out: &mut LeftOut) -> Result<Option<i32>> {
        let times_us = plays.column_by_name("timestamp").context("there is no column `timestamp`")?;
        let times_us = times_us.as_primitive::<TimestampMicrosecondType>().values();
        let (Some(min_us), Some(max_us)) = (times_us.iter().min(), times_us.iter().max()) else { return Ok(None) };
        if let Some(folder_us) = &self.folder_us
            && !(folder_us.contains(min_us) && folder_us.contains(max_us))
        {
            let elsewhere = times_us.iter().filter(|time_us| !folder_us.contains(time_us)).count() as u64;
            if self.is_filed {
                bail!(
                    "it has {elsewhere} plays whose timestamps are not of the UTC hour of its folder, by which plays are \
                     looked for: move them to files of their hours"
                );
            }
            left_out.misfile(elsewhere, &self.place, self.rows);
        }
        let days = [min_us, max_us].map(|time_us| time_us.div_euclid(DAY_US) as i32);
        Ok((days[0] == days[1]).then_some(days[0]))
    }
}

/// Fails for a missing column that a chart needs, because every row would be left out.
fn check_lacking(field: &Field, plan: &Plan, schema: &Schema, file: &Place) -> Result<()> {
    let charts = plan.charts_that_need(field.name());
    if field.is_nullable() || (charts.is_empty() && field.name() != "timestamp") {
        return Ok(());
    }
    let (name, what) = match charts.len() {
        0 => (field.name(), "holds the times of plays".to_owned()),
        1 => (field.name(), format!("the chart `{}` needs", charts[0])),
        _ => (field.name(), format!("the charts `{}` need", charts.join("`, `"))),
    };
    let is_partition = |part: &str| part.strip_prefix(name).is_some_and(|rest| rest.starts_with('='));
    ensure!(
        !file.key().split('/').any(is_partition),
        "the table is partitioned by `{name}`, which {what}, so its files do not have it, and reprise reads columns from files only. \
         Write the table again without that partition"
    );
    let has: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    bail!(
        "it has no column `{name}`, which {what}. It has {}. Rename a column, or give --charts a file of charts that do \
         without",
        has.join(", ")
    )
}

/// Whether a column of the type `found` can hold the values of `field`.
fn fits(field: &Field, found: &DataType) -> bool {
    match field.data_type() {
        DataType::Utf8 => matches!(found, DataType::Utf8 | DataType::Binary),
        DataType::Timestamp(..) => matches!(found, DataType::Timestamp(..) | DataType::Utf8 | DataType::Int64),
        DataType::Int32 | DataType::Int64 => found.is_integer(),
        other => found == other,
    }
}

/// The type to read a column as, if not its own. Texts keep their dictionaries. Timestamps of 96
/// bits are read in µs, because Arrow's ns would limit them to the years 1678 to 2262.
fn read_as(data_type: &DataType, is_int96: bool) -> Option<DataType> {
    match data_type {
        DataType::Utf8 => Some(DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))),
        _ => is_int96.then_some(DataType::Timestamp(TimeUnit::Microsecond, None)),
    }
}

/// Converts `column` to the type that the charts need, and adds rows that break a rule to `bad`.
fn judged(field: &'static Field, column: &ArrayRef, bad: &mut Bad) -> Result<ArrayRef> {
    let name = field.name().as_str();
    let mut reject = |row: usize, reason| {
        bad.entry(row).or_insert((reason, name));
    };
    if !field.is_nullable() && column.null_count() > 0 {
        (0..column.len()).filter(|row| column.is_null(*row)).for_each(|row| reject(row, Rejection::MissingField));
    }
    match field.data_type() {
        DataType::Utf8 => {
            let check = if name == "song_id" { check_song_id } else { check_text };
            texts(column, |text| check(text).err(), &mut reject)
        }
        DataType::Timestamp(..) => times(column, &mut reject),
        DataType::Int32 if name == "kafka_partition" => cast(column, &DataType::Int32),
        DataType::Int32 => durations(column, &mut reject),
        DataType::Int64 => cast(column, &DataType::Int64),
        _ => Ok(column.clone()),
    }
}

/// Checks texts, plain or in a dictionary. Each text of a dictionary is checked once.
fn texts(
    column: &ArrayRef,
    verdict: impl Fn(&str) -> Option<Rejection>,
    reject: &mut impl FnMut(usize, Rejection),
) -> Result<ArrayRef> {
    if let Some(coded) = column.as_dictionary_opt::<Int32Type>() {
        let texts = coded.values().as_string_opt::<i32>().context("a dictionary of another type than texts")?;
        let verdicts: Vec<Option<Rejection>> = texts.iter().map(|text| verdict(text.unwrap_or_default())).collect();
        if verdicts.iter().any(Option::is_some) {
            for row in (0..coded.len()).filter(|row| coded.is_valid(*row)) {
                if let Some(reason) = verdicts[coded.keys().value(row) as usize] {
                    reject(row, reason);
                }
            }
        }
        return Ok(column.clone());
    }
    // Bytes without a logical type: some writers do not mark texts as such.
    let cast = cast(column, &DataType::Utf8)?;
    let texts: &StringArray = cast.as_string();
    for row in (0..texts.len()).filter(|row| column.is_valid(*row)) {
        let reason = if texts.is_null(row) { Some(Rejection::NotUtf8) } else { verdict(texts.value(row)) };
        reason.into_iter().for_each(|reason| reject(row, reason));
    }
    Ok(cast)
}

/// Converts timestamps of any unit and zone; without a zone they are in UTC, like those of events.
/// Texts and whole numbers are parsed as in events.
fn times(column: &ArrayRef, reject: &mut impl FnMut(usize, Rejection)) -> Result<ArrayRef> {
    let read: TimestampMicrosecondArray = match column.data_type() {
        DataType::Dictionary(..) => {
            let coded = column.as_dictionary::<Int32Type>();
            let texts = coded.downcast_dict::<StringArray>().context("times that are no texts")?;
            texts.into_iter().map(|text| timestamp::from_text(text?)).collect()
        }
        DataType::Int64 => {
            column.as_primitive::<Int64Type>().iter().map(|epoch| timestamp::from_epoch(epoch?)).collect()
        }
        _ => {
            let naive = cast(column, &DataType::Timestamp(TimeUnit::Microsecond, None))?;
            naive.as_primitive::<TimestampMicrosecondType>().clone()
        }
    };
    for row in (0..read.len()).filter(|row| column.is_valid(*row)) {
        let checked = if read.is_null(row) { Err(Rejection::BadTimestamp) } else { check_time(read.value(row), None) };
        checked.err().into_iter().for_each(|reason| reject(row, reason));
    }
    Ok(Arc::new(read.with_timezone("UTC")))
}

fn durations(column: &ArrayRef, reject: &mut impl FnMut(usize, Rejection)) -> Result<ArrayRef> {
    let wide = cast(column, &DataType::Int64)?;
    let wide: &Int64Array = wide.as_primitive();
    let mut of_row = |row: usize| {
        if column.is_null(row) {
            return None;
        }
        let checked = if wide.is_null(row) { Err(Rejection::BadDuration) } else { check_duration_ms(wide.value(row)) };
        checked.map_err(|reason| reject(row, reason)).ok()
    };
    Ok(Arc::new((0..wide.len()).map(&mut of_row).collect::<Int32Array>()))
}

/// Casts a column; a value that does not fit becomes null.
fn cast(column: &ArrayRef, data_type: &DataType) -> Result<ArrayRef> {
    Ok(cast_with_options(column, data_type, &CastOptions { safe: true, ..CastOptions::default() })?)
}
