//! The files that a table's log names, with the statistics by which a reader prunes.
//!
//! The log is untrusted input: a name that leads out of the lake is an error. Statistics that the
//! log lacks are read from the footer of the file.

use anyhow::{Context, Result, bail, ensure};
use arrow::array::{Array, AsArray, RecordBatch, StringArray, StructArray};
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};
use delta_kernel::engine::arrow_data::EngineDataArrowExt;
use delta_kernel::expressions::ColumnName;
use delta_kernel::scan::StatsOptions;
use parquet::basic::{LogicalType, TimeUnit};
use parquet::file::metadata::ParquetMetaDataReader;
use reprise_dataflows::play::{DAY_US, HOUR_US};
use url::Url;

use super::damage::explained;
use super::rows::CUT;
use super::store::Place;
use super::table::{PLAYS, Table};
use super::{Bounds, statistics};

/// The log truncates a greatest timestamp to a millisecond, so the real one may be this much later.
const CUT_OFF_MAX_US: i64 = 999;

/// What the folder of a file says about the times of its plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Filing {
    /// The plays lie in the UTC hour of the folder: reprise wrote the table.
    ByHour,
    /// The folder has a date and an hour, but another tool wrote the table, so they may be in any
    /// time zone.
    Claimed,
    /// Nothing: the folder lacks a date or an hour.
    Unknown,
}

/// A Parquet file of plays.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LakeFile {
    /// The day of its folder, since 1970.
    pub day: i32,
    /// The hour of its folder, 0 to 23.
    pub hour: u8,
    /// What `day` and `hour` say about the plays.
    pub filing: Filing,
    /// Where it is.
    pub place: Place,
    /// The size that the log has.
    pub size_bytes: u64,
    /// The number of plays.
    pub rows: u64,
    /// A lower bound of the event times, in µs since 1970; `None` if neither the log nor the file
    /// has one.
    pub min_timestamp_us: Option<i64>,
    /// An upper bound of the event times, in µs since 1970, less than 1 ms above the greatest.
    pub max_timestamp_us: Option<i64>,
    /// The bounds of `cut` of the plays that have one; `None` if none has, or if they are unknown:
    /// see [`rows`](super::rows).
    pub cuts: Option<(i64, i64)>,
}

impl LakeFile {
    /// Whether the file may contain a play of the event times `[from_us, to_us)`, in µs since 1970.
    pub fn may_hold(&self, from_us: i64, to_us: i64) -> bool {
        let start_us = i64::from(self.day) * DAY_US + i64::from(self.hour) * HOUR_US;
        let (start_us, last_us) = match self.filing {
            Filing::ByHour => (start_us, start_us + HOUR_US - 1),
            Filing::Claimed | Filing::Unknown => (i64::MIN, i64::MAX),
        };
        let first_us = self.min_timestamp_us.map_or(start_us, |min_us| min_us.max(start_us));
        let last_us = self.max_timestamp_us.map_or(last_us, |max_us| max_us.min(last_us));
        first_us < to_us && last_us >= from_us
    }
}

/// The statistics of a file from its footer, for files whose log entry lacks them.
pub struct Footer {
    rows: u64,
    min_timestamp_us: Option<i64>,
    max_timestamp_us: Option<i64>,
}

impl Footer {
    /// Reads the footer of `file`.
    ///
    /// # Errors
    /// If the file cannot be read, or is not a Parquet file.
    pub fn read(file: &Place) -> Result<Self> {
        let context = || format!("cannot read {file}, which the log of the lake names");
        let file = file.open().with_context(context)?;
        let metadata = ParquetMetaDataReader::new().parse_and_finish(&file).with_context(context)?;
        let columns = metadata.file_metadata().schema_descr().columns();
        let time = columns.iter().find(|column| column.path().string() == PLAYS.time_column);
        let time_type = time.and_then(|column| column.logical_type_ref());
        let micros = matches!(time_type, Some(LogicalType::Timestamp(time)) if time.unit == TimeUnit::MICROS);
        let bounds = if micros { statistics::bounds(&metadata, PLAYS.time_column) } else { Bounds::default() };
        let rows = metadata.file_metadata().num_rows() as u64;
        Ok(Self { rows, min_timestamp_us: bounds.min, max_timestamp_us: bounds.max })
    }
}

/// All files of `table`, sorted by day, hour and place.
///
/// # Errors
/// If the log cannot be read, names a file outside the lake, or has a deletion vector.
pub fn list(table: &Table) -> Result<Vec<LakeFile>> {
    let is_ours = table.topic().is_some();
    let mut files = walk(table, &[PLAYS.time_column, CUT], |listing, row, place| listing.file(row, place, is_ours))?;
    files.sort();
    Ok(files)
}

/// Calls `of_file` for each file that the log of `table` names, and collects the results. Its
/// arguments are a batch of the listing, the row of the file in that batch, and the place of the
/// file. The listing has the statistics of `columns`.
///
/// # Errors
/// If the log cannot be read or names a file outside the lake, and those of `of_file`.
pub fn walk<T>(
    table: &Table,
    columns: &[&str],
    of_file: impl FnMut(&Listing<'_>, usize, Place) -> Result<T>,
) -> Result<Vec<T>> {
    walk_log(table, columns, of_file).map_err(|error| explained(&table.root, error))
}

fn walk_log<T>(
    table: &Table,
    columns: &[&str],
    mut of_file: impl FnMut(&Listing<'_>, usize, Place) -> Result<T>,
) -> Result<Vec<T>> {
    // Tables of other tools lack the columns with Kafka coordinates, and so their statistics.
    let schema = table.snapshot().schema();
    let known = columns.iter().filter(|column| schema.field(column).is_some());
    let stats = StatsOptions::struct_columns(known.map(|column| ColumnName::new([*column])).collect::<Vec<_>>());
    let scan = table.snapshot().clone().scan_builder().with_stats(stats).without_row_transforms().build()?;
    let root = table.root.url()?;
    let mut files = Vec::new();
    for rows in scan.scan_metadata(table.engine())? {
        let batch = rows?.scan_files.apply_selection_vector()?.try_into_record_batch()?;
        let listing = Listing::new(&batch)?;
        for row in 0..batch.num_rows() {
            let place = resolve(listing.paths.value(row), &root, &table.root)?;
            files.push(of_file(&listing, row, place)?);
        }
    }
    Ok(files)
}

/// A batch of the kernel's listing, with its columns downcast.
pub struct Listing<'a> {
    paths: &'a StringArray,
    /// The size of each file in bytes.
    pub sizes: &'a [i64],
    partitions: &'a StructArray,
    deletions: &'a StructArray,
    statistics: &'a StructArray,
}

impl<'a> Listing<'a> {
    fn new(batch: &'a RecordBatch) -> Result<Self> {
        let column = |name: &str| batch.column_by_name(name).with_context(|| format!("the listing lacks {name}"));
        let structure =
            |name: &str| column(name)?.as_struct_opt().with_context(|| format!("the listing's {name} has no fields"));
        Ok(Self {
            paths: column("path")?.as_string_opt().context("paths are not texts")?,
            sizes: column("size")?.as_primitive_opt::<Int64Type>().context("sizes are not integers")?.values(),
            partitions: structure("fileConstantValues")?,
            deletions: structure("deletionVector")?,
            statistics: structure("stats_parsed")?,
        })
    }

    fn file(&self, row: usize, place: Place, is_ours: bool) -> Result<LakeFile> {
        let context = || format!("the log's entry for {place}");
        if self.deletions.column_by_name("storageType").is_some_and(|kinds| kinds.is_valid(row)) {
            bail!("{place} has a deletion vector, which reprise does not read: run OPTIMIZE on the table");
        }
        let (filing, (day, hour)) = match (is_ours, self.hour(row).with_context(context)) {
            (true, hour) => (Filing::ByHour, hour?),
            (false, Ok(hour)) => (Filing::Claimed, hour),
            (false, Err(_)) => (Filing::Unknown, (0, 0)),
        };
        let rows = self.statistic(row, "numRecords", None);
        let min = self.statistic(row, "minValues", Some(PLAYS.time_column));
        let max =
            self.statistic(row, "maxValues", Some(PLAYS.time_column)).map(|max| max.saturating_add(CUT_OFF_MAX_US));
        let (rows, min_timestamp_us, max_timestamp_us) = match (rows, min, max) {
            (Some(rows), Some(min), Some(max)) => (rows as u64, Some(min), Some(max)),
            _ => {
                let footer = Footer::read(&place)?;
                (footer.rows, footer.min_timestamp_us, footer.max_timestamp_us)
            }
        };
        let size_bytes = self.sizes[row] as u64;
        let cut = |name| self.statistic(row, name, Some(CUT));
        let cuts = cut("minValues").zip(cut("maxValues"));
        Ok(LakeFile { day, hour, filing, place, size_bytes, rows, min_timestamp_us, max_timestamp_us, cuts })
    }

    /// The day since 1970 and the hour of the folder of a file.
    fn hour(&self, row: usize) -> Result<(i32, u8)> {
        let date: jiff::civil::Date = self.partition(row, "date")?.parse()?;
        let hour: u8 = self.partition(row, "hour")?.parse()?;
        ensure!(hour < 24, "it has the hour {hour}");
        Ok((date.since(jiff::civil::date(1970, 1, 1))?.get_days(), hour))
    }

    /// The value of the partition `column` of a file.
    ///
    /// # Errors
    /// If the file has none.
    pub fn partition(&self, row: usize, column: &str) -> Result<String> {
        let maps = self.partitions.column_by_name("partitionValues").and_then(|maps| maps.as_map_opt());
        let entries = maps.context("the listing lacks partitions")?.value(row);
        let keys = entries.column(0).as_string_opt::<i32>().context("partition columns are not texts")?;
        let values = entries.column(1).as_string_opt::<i32>().context("partition values are not texts")?;
        let found = keys.iter().zip(values).find(|(key, _)| *key == Some(column)).and_then(|(_, value)| value);
        found.map(str::to_string).with_context(|| format!("it is in no partition `{column}`"))
    }

    /// A value of the statistics `name` of a file, of `column` if those are kept by column. `None`
    /// if the log lacks it.
    pub fn statistic(&self, row: usize, name: &str, column: Option<&str>) -> Option<i64> {
        let mut values = self.statistics.column_by_name(name)?;
        if let Some(column) = column {
            values = values.as_struct_opt()?.column_by_name(column)?;
        }
        if let Some(times) = values.as_primitive_opt::<TimestampMicrosecondType>() {
            return times.is_valid(row).then(|| times.value(row));
        }
        if let Some(small) = values.as_primitive_opt::<Int32Type>() {
            return small.is_valid(row).then(|| small.value(row).into());
        }
        let counts = values.as_primitive_opt::<Int64Type>()?;
        counts.is_valid(row).then(|| counts.value(row))
    }
}

/// The file that the log of `table` calls `name`. The log is untrusted input, so the file must lie
/// in the table, whose URL is `root`.
///
/// # Errors
/// If it lies outside.
pub(super) fn resolve(name: &str, root: &Url, table: &Place) -> Result<Place> {
    let url = root.join(name).with_context(|| format!("the log names a file {name:?}"))?;
    table.find(&url).with_context(|| format!("the log names the file {name:?}, outside the lake {table}"))
}
