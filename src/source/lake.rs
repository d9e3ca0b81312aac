//! The lake → plays: an operator over ticks that reads a worker's share of the Parquet files.
//!
//! Only the columns that the charts count by are decoded, and the texts stay in Parquet's own dictionaries. Which day it
//! is, a file's partition tells; event times are decoded only where the trending window or a bound needs them.

use std::collections::VecDeque;
use std::fs::File;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, bail};
use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{DataType, Field, Schema, TimestampMicrosecondType};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use reprise_dataflows::plan::Plan;
use reprise_dataflows::play::{self, PlayBatch};
use reprise_dataflows::{Epoch, Stage, Tick};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use super::{Intake, LakeReport, Report, Source};
use crate::lake::LakeFile;

const BATCH_ROWS: usize = 64 << 10;
/// What one epoch may bring, on one worker: many plays, since the summary of an epoch is what costs.
const EPOCH_ROWS_MAX: u64 = 8 << 20;

/// Which plays of the lake are wanted, and for what.
#[derive(Clone, Debug)]
pub struct Selection {
    /// Event times, in µs.
    pub times_us: Range<i64>,
    /// The trending window at the clock that the charts will have, in µs; plays outside do not need their times.
    pub window_us: Option<Range<i64>>,
}

/// Rows read so far, of how many; for people who wait.
#[derive(Debug, Default)]
pub struct Progress {
    pub rows: AtomicU64,
    pub rows_total: u64,
}

/// The files of one worker: by size, so that all have about as much to do.
pub fn share(files: &[LakeFile], worker: usize, workers: usize) -> Vec<LakeFile> {
    let mut by_size: Vec<&LakeFile> = files.iter().collect();
    by_size.sort_by_key(|file| std::cmp::Reverse(file.size_bytes));
    let mut shares = vec![(0u64, Vec::new()); workers];
    for file in by_size {
        let least = (0..workers).min_by_key(|worker| shares[*worker].0).unwrap_or(0);
        shares[least].0 += file.size_bytes;
        shares[least].1.push(file.clone());
    }
    let mut share = std::mem::take(&mut shares[worker].1);
    share.sort_by_key(|file| (file.day, file.hour));
    share
}

/// Reads the plays of `files` that `selection` wants, in the epochs of [`Stage::Rebuild`]. A file that cannot be read goes
/// to `fail`, which does not return.
pub fn lake<'scope>(
    ticks: StreamVec<'scope, Epoch, Tick>,
    worker: usize,
    files: Vec<LakeFile>,
    plan: &Plan,
    selection: Selection,
    progress: Arc<Progress>,
    fail: impl Fn(anyhow::Error) + 'static,
) -> Source<'scope> {
    let scope = ticks.scope();
    let mut builder = OperatorBuilder::new("Lake".to_owned(), scope);
    let activator = scope.activator_for(builder.operator_info().address);
    let mut input = builder.new_input(ticks, Pipeline);
    let (intakes_output, intakes) = builder.new_output::<Vec<Arc<Intake>>>();
    let (reports_output, reports) = builder.new_output::<Vec<Report>>();
    let mut reader = Reader { files: files.into(), open: None, plan: plan.clone(), selection };
    builder.build(move |_capabilities| {
        let mut intakes_output = OutputBuilder::<_, CapacityContainerBuilder<_>>::from(intakes_output);
        let mut reports_output = OutputBuilder::<_, CapacityContainerBuilder<_>>::from(reports_output);
        let mut open: Option<(Tick, Capability<Epoch>, Capability<Epoch>)> = None;
        let (mut rows, mut reported_done) = (0, false);
        move |frontiers| {
            input.for_each_stamp(|capability, data| {
                if let (Some(intake), Some(report)) = (capability.retain_least(0), capability.retain_least(1)) {
                    for tick in data.flat_map(|data| data.drain(..)) {
                        if open.as_ref().is_none_or(|(last, ..)| last.epoch < tick.epoch) {
                            open = Some((tick, intake.clone(), report.clone()));
                            rows = 0;
                        }
                    }
                }
            });
            if frontiers[0].is_empty() {
                open = None;
            }
            let Some((tick, intake, report)) = &open else { return };
            if tick.stage != Stage::Rebuild || reported_done || rows >= EPOCH_ROWS_MAX {
                return;
            }
            let batch = match reader.next() {
                Ok(batch) => batch,
                Err(error) => return fail(error),
            };
            reported_done = batch.is_none();
            let read = batch.as_ref().map_or(0, |(rows, _)| *rows);
            rows += read;
            progress.rows.fetch_add(read, Ordering::Relaxed);
            if let Some((_, plays)) = batch {
                let intake_of = Intake { plays: Some(plays), ..Intake::default() };
                intakes_output.activate().session(intake).give(Arc::new(intake_of));
            }
            if reported_done || rows >= EPOCH_ROWS_MAX {
                let lake = LakeReport { worker, rows, done: reported_done };
                reports_output.activate().session(report).give(Report::Lake(lake));
            }
            activator.activate();
        }
    });
    Source { intakes, reports }
}

/// Reads one file after the other.
struct Reader {
    files: VecDeque<LakeFile>,
    open: Option<OpenFile>,
    plan: Plan,
    selection: Selection,
}

struct OpenFile {
    path: PathBuf,
    day: i32,
    batches: ParquetRecordBatchReader,
    /// Set if some of its plays may be outside of the selection.
    bounds_us: Option<Range<i64>>,
}

impl Reader {
    /// The next batch, with the number of rows that it was made from; `None` at the end of the last file.
    fn next(&mut self) -> Result<Option<(u64, PlayBatch)>> {
        loop {
            if let Some(open) = &mut self.open
                && let Some(batch) = open.batches.next()
            {
                let path = open.path.display();
                let batch = batch.with_context(|| format!("cannot read {path}, a file of the lake"))?;
                let rows = batch.num_rows() as u64;
                let batch = conform(batch).with_context(|| format!("{path} does not hold plays"))?;
                let batch = match &open.bounds_us {
                    Some(bounds_us) => within(&batch, bounds_us)?,
                    None => batch,
                };
                return Ok(Some((rows, PlayBatch::new(batch, Some(open.day)))));
            }
            match self.files.pop_front() {
                Some(file) => self.open = Some(self.open(&file)?),
                None => return Ok(None),
            }
        }
    }

    fn open(&self, file: &LakeFile) -> Result<OpenFile> {
        let times_us = &self.selection.times_us;
        let inside = match (file.min_timestamp_us, file.max_timestamp_us) {
            (Some(min), Some(max)) => times_us.contains(&min) && times_us.contains(&max),
            _ => *times_us == (i64::MIN..i64::MAX),
        };
        let in_window = self.selection.window_us.as_ref().is_some_and(|window| file.may_hold(window.start, window.end));
        let mut columns = self.plan.columns(in_window);
        if !inside && !columns.contains(&"timestamp") {
            columns.push("timestamp");
        }
        let batches =
            open(file, &columns).with_context(|| format!("cannot read {}, a file of the lake", file.path.display()))?;
        Ok(OpenFile { path: file.path.clone(), day: file.day, batches, bounds_us: (!inside).then(|| times_us.clone()) })
    }
}

/// A reader of some of a file's columns, texts as dictionaries.
fn open(file: &LakeFile, columns: &[&str]) -> Result<ParquetRecordBatchReader> {
    let content = File::open(&file.path)?;
    let metadata = ArrowReaderMetadata::load(&content, ArrowReaderOptions::new())?;
    let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let fields = metadata.schema().fields().iter().map(|field| match field.data_type() {
        DataType::Utf8 => Field::new(field.name(), dictionary.clone(), field.is_nullable()),
        _ => field.as_ref().clone(),
    });
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let metadata =
        ArrowReaderMetadata::try_new(metadata.metadata().clone(), ArrowReaderOptions::new().with_schema(schema))?;
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(content, metadata);
    let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
    Ok(builder.with_projection(mask).with_batch_size(BATCH_ROWS).build()?)
}

/// Casts what another writer has stored in other widths or units, and refuses what cannot be plays.
fn conform(batch: RecordBatch) -> Result<RecordBatch> {
    let wanted = play::schema();
    let mut columns = batch.columns().to_vec();
    let mut fields: Vec<Field> = batch.schema().fields().iter().map(|field| field.as_ref().clone()).collect();
    for (column, field) in columns.iter_mut().zip(&mut fields) {
        let Ok(expected) = wanted.field_with_name(field.name()) else { continue };
        let is_text =
            matches!(field.data_type(), DataType::Dictionary(_, _)) && *expected.data_type() == DataType::Utf8;
        if !is_text && field.data_type() != expected.data_type() {
            *column = cast(column, expected.data_type())?;
            *field = Field::new(field.name(), expected.data_type().clone(), true);
        }
        if !expected.is_nullable() && column.is_nullable() {
            bail!("column {} has rows without a value", field.name());
        }
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

/// The plays whose event time is within `bounds_us`.
fn within(batch: &RecordBatch, bounds_us: &Range<i64>) -> Result<RecordBatch> {
    let times =
        batch.column_by_name("timestamp").and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
    let times = times.context("there is no column timestamp")?;
    let inside = BooleanArray::from_iter(times.values().iter().map(|time| Some(bounds_us.contains(time))));
    Ok(filter_record_batch(batch, &inside)?)
}
