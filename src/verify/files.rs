//! Compares one file of a lake with what the log says about it.

use anyhow::{Context, Result, ensure};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int32Type, Int64Type, TimeUnit};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use reprise_dataflows::play::{DAY_US, HOUR_US};

use super::coverage::Rows;
use crate::intake::SEEN;
use crate::lake::Bounds;
use crate::lake::footer_checksum::FooterChecksum;
use crate::lake::log_audit::{AuditedFile, LogAudit};

const BATCH_ROWS: usize = 64 << 10;
/// The log truncates times to a millisecond.
const TRUNCATED_US: i64 = 999;

/// Reads a file and compares it with its entry in the log. Returns its rows and the problems. A
/// file that cannot be read to its end counts as empty.
pub fn check(audit: &LogAudit, file: &AuditedFile) -> (Rows, Vec<String>) {
    let mut problems = Vec::new();
    let rows = read(audit, file, &mut problems).unwrap_or_else(|error| {
        problems.push(format!("{error:#}"));
        Rows::default()
    });
    let place = &file.place;
    (rows, problems.into_iter().map(|problem| format!("{place}: {problem}")).collect())
}

fn read(audit: &LogAudit, file: &AuditedFile, problems: &mut Vec<String>) -> Result<Rows> {
    let opened = file.place.open().context("the log names it, but it cannot be opened")?;
    let size_bytes = opened.size_bytes();
    ensure!(size_bytes == file.size_bytes, "it has {size_bytes} bytes, but the log says {}", file.size_bytes);
    let checksum = FooterChecksum::read(&opened)?;
    let metadata = ArrowReaderMetadata::load(&opened, ArrowReaderOptions::new());
    let metadata = metadata.context("it is not a Parquet file, or is damaged")?;
    checksum.check(&opened, metadata.metadata(), |_| true)?;
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(opened, metadata);
    let rows = builder.metadata().file_metadata().num_rows();
    if file.rows.is_some_and(|claimed| claimed != rows) {
        problems.push(format!("it has {rows} rows, but the log says {}", file.rows.unwrap_or_default()));
    }
    let mask = ProjectionMask::columns(builder.parquet_schema(), audit.bounded.iter().copied());
    let reader = builder.with_projection(mask).with_batch_size(BATCH_ROWS).build()?;
    let mut found = FileCheck::new(audit.bounded);
    for batch in reader {
        found.add(&batch.context("it is damaged")?)?;
    }
    if found.rows.count != rows as u64 {
        problems.push(format!("it has {} rows, but its own footer says {rows}", found.rows.count));
    }
    found.compare(file, problems)?;
    Ok(found.rows)
}

/// What was found in the rows of a file.
struct FileCheck {
    rows: Rows,
    columns: &'static [&'static str],
    bounds: Vec<Bounds>,
}

impl FileCheck {
    fn new(columns: &'static [&'static str]) -> Self {
        Self { rows: Rows::default(), columns, bounds: vec![Bounds::default(); columns.len()] }
    }

    fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let column = |name: &str| batch.column_by_name(name).with_context(|| format!("it has no column {name}"));
        let whole = |name: &str| {
            let column = column(name)?;
            ensure!(column.null_count() == 0, "it has rows without {name}");
            Ok(column)
        };
        let partitions =
            whole("kafka_partition")?.as_primitive_opt::<Int32Type>().context("kafka_partition has another type")?;
        let offsets =
            whole("kafka_offset")?.as_primitive_opt::<Int64Type>().context("kafka_offset has another type")?;
        let times = column(self.columns[0])?;
        ensure!(matches!(times.data_type(), DataType::Timestamp(..)), "{} is not a timestamp", self.columns[0]);
        for (bounds, name) in self.bounds.iter_mut().zip(self.columns) {
            // Files of earlier formats lack some columns.
            let Some(column) = batch.column_by_name(name) else { continue };
            let unit = match column.data_type() {
                DataType::Timestamp(unit, _) => *unit,
                _ => TimeUnit::Microsecond,
            };
            ensure!(unit == TimeUnit::Microsecond, "its timestamps are not in µs");
            let values = cast(column, &DataType::Int64)?;
            values.as_primitive::<Int64Type>().iter().for_each(|value| bounds.add(value));
        }
        for (partition, offset) in partitions.values().iter().zip(offsets.values()) {
            self.rows.add(*partition, *offset);
        }
        Ok(())
    }

    fn compare(&self, file: &AuditedFile, problems: &mut Vec<String>) -> Result<()> {
        let same = |found: Option<i64>, claimed: Option<i64>, most_us| {
            claimed.is_none()
                || found.zip(claimed).is_some_and(|(found, claimed)| (0..=most_us).contains(&(found - claimed)))
        };
        for ((column, found), claimed) in self.columns.iter().zip(&self.bounds).zip(&file.bounds) {
            let most_us = if *column == self.columns[0] || *column == SEEN { TRUNCATED_US } else { 0 };
            if !same(found.min, claimed.min, most_us) || !same(found.max, claimed.max, most_us) {
                let shown = |bounds: &Bounds| format!("{:?} to {:?}", bounds.min, bounds.max).replace("Some", "");
                problems.push(format!("its {column} is {}, but the log says {}", shown(found), shown(claimed)));
            }
        }
        let date = file.date.as_deref().context("its folder has no date")?;
        let day: jiff::civil::Date = date.parse().with_context(|| format!("its folder is of the date {date:?}"))?;
        let day_us = i64::from(day.since(jiff::civil::date(1970, 1, 1))?.get_days()) * DAY_US;
        let folder_us = match &file.hour {
            Some(hour) => {
                let hour: i64 = hour.parse().with_context(|| format!("its folder is of the hour {hour:?}"))?;
                day_us + hour * HOUR_US..day_us + (hour + 1) * HOUR_US
            }
            None => day_us..day_us + DAY_US,
        };
        if [self.bounds[0].min, self.bounds[0].max].into_iter().flatten().any(|time_us| !folder_us.contains(&time_us)) {
            problems.push("it has rows whose times do not belong in its folder".to_owned());
        }
        Ok(())
    }
}
