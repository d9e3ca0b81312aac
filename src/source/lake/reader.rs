//! Reads files of the lake into batches of plays, restricted to a selection.
//!
//! Only the columns that the charts count by are decoded, and texts stay in Parquet's dictionaries.
//! The day comes from the file's partition; event times are decoded only if the trending window or
//! a bound needs them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::{filter_record_batch, not};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema, TimestampMicrosecondType};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use reprise_dataflows::play::PlayBatch;
use reprise_dataflows::rules::definition::{Definitions, Eligible, ItemKind};
use reprise_dataflows::rules::plan::Plan;

use super::foreign::Foreign;
use super::groups::{Fail, Groups};
use super::left_out::LeftOut;
use super::opened::Opened;
use crate::lake::store::Place;
use crate::lake::{Filing, LakeFile};
use crate::report::times::EventTimes;

const BATCH_ROWS: usize = 64 << 10;

/// The plays of the lake that are to be read, and their use.
#[derive(Clone, Debug)]
pub struct Selection {
    /// The event times of the selected plays, in µs since 1970.
    pub times_us: Range<i64>,
    /// The trending window at the clock that the charts will have, in µs since 1970. Plays outside
    /// of it do not need their event times.
    pub window_us: Option<Range<i64>>,
    /// Whether the clock will not move, as in a replay.
    pub is_window_fixed: bool,
    /// Collects the event times of the window's plays if the clock will follow plays: see
    /// `run::tick`.
    pub times: Option<EventTimes>,
    /// The plays that a checkpoint has counted: only the window needs them.
    pub counted: Option<Arc<Counted>>,
    /// If set, titles are read on request where the file's layout allows it; errors go here.
    pub late_titles: Option<Fail>,
}

/// The plays that a checkpoint holds. They are identified by offset, because compaction replaces
/// files.
#[derive(Clone, Debug, Default)]
pub struct Counted {
    /// Files whose plays are all in the checkpoint. Any other file may hold both kinds of play.
    pub files: HashSet<Place>,
    /// The first offset of each Kafka partition that is not in the checkpoint.
    pub offsets: BTreeMap<i32, i64>,
}

/// A part of a file.
pub struct Piece {
    /// The number of rows that were read for it, plays or not.
    pub rows: u64,
    /// The selected plays.
    pub plays: Vec<PlayBatch>,
}

/// Reads files one after the other.
pub struct Reader {
    files: VecDeque<LakeFile>,
    open: Option<OpenFile>,
    plan: Plan,
    selection: Selection,
    left_out: LeftOut,
}

struct OpenFile {
    place: Place,
    day: i32,
    rows: Rows,
    in_window: bool,
    /// The trending window, if it will not move.
    fixed_window_us: Option<Range<i64>>,
    /// Set if some plays of the file may be outside of the selection.
    bounds_us: Option<Range<i64>>,
    /// Set if some plays of the file may be in a checkpoint.
    counted: Option<Arc<Counted>>,
}

/// The reader of a file.
enum Rows {
    /// A file of ours that is read in full.
    Groups(Groups),
    /// A file of ours of which some plays are selected.
    Batches(ParquetRecordBatchReader),
    /// A file of another tool.
    Foreign(Box<Foreign>),
}

impl Selection {
    /// All plays, each with its event time: for readers that do not count them in charts.
    pub fn with_all_times() -> Self {
        Self {
            times_us: i64::MIN..i64::MAX,
            window_us: Some(i64::MIN..i64::MAX),
            is_window_fixed: false,
            counted: None,
            late_titles: None,
            times: None,
        }
    }

    /// Whether a file may hold selected plays.
    pub fn wants(&self, file: &LakeFile) -> bool {
        !self.is_counted(file) || self.in_window(file)
    }

    fn is_counted(&self, file: &LakeFile) -> bool {
        self.counted.as_ref().is_some_and(|counted| counted.files.contains(&file.place))
    }

    fn in_window(&self, file: &LakeFile) -> bool {
        self.window_us.as_ref().is_some_and(|window| file.may_hold(window.start, window.end))
    }
}

impl Reader {
    /// A reader of the plays of `files` that `selection` selects, with the columns that `plan`
    /// needs.
    pub fn new(files: Vec<LakeFile>, plan: Plan, selection: Selection) -> Self {
        Self { files: files.into(), open: None, plan, selection, left_out: LeftOut::default() }
    }

    /// Takes the counts of rows that were left out, or were in the wrong folder, since the last
    /// call.
    pub fn take_left_out(&mut self) -> LeftOut {
        std::mem::take(&mut self.left_out)
    }

    /// The next piece; `None` at the end of the last file.
    ///
    /// # Errors
    /// If a file cannot be read, is damaged, or lacks a column.
    pub fn next_piece(&mut self) -> Result<Option<Piece>> {
        loop {
            if let Some(open) = &mut self.open
                && let Some(piece) = open.next_piece(&mut self.left_out)?
            {
                return Ok(Some(piece));
            }
            match self.files.pop_front() {
                Some(file) if self.selection.wants(&file) => self.open = Some(self.open(&file)?),
                Some(_) => {}
                None => {
                    // Frees the memory of the queue.
                    self.files = VecDeque::new();
                    return Ok(None);
                }
            }
        }
    }

    fn open(&self, file: &LakeFile) -> Result<OpenFile> {
        let opened = Opened::new(file).with_context(|| unreadable(file))?;
        // A file of ours may have been copied into a foreign table, whose folders do not name its
        // hour.
        if !opened.checksum.is_there() || file.filing != Filing::ByHour {
            return self.open_foreign(opened, file).with_context(|| unreadable(file));
        }
        let times_us = &self.selection.times_us;
        let inside = match (file.min_timestamp_us, file.max_timestamp_us) {
            (Some(min), Some(max)) => times_us.contains(&min) && times_us.contains(&max),
            _ => *times_us == (i64::MIN..i64::MAX),
        };
        let in_window = self.selection.in_window(file);
        let mut columns = self.plan.columns(in_window);
        if !inside && !columns.contains(&"timestamp") {
            columns.push("timestamp");
        }
        let counted = self.selection.counted.clone();
        if counted.is_some() {
            columns.extend(["kafka_partition", "kafka_offset"]);
        }
        let bounds_us = (!inside).then(|| times_us.clone());
        // Artists that are counted cannot be read later.
        let late = self.selection.late_titles.filter(|_| !self.plan.counts(ItemKind::ARTIST));
        let whole = bounds_us.is_none() && counted.is_none();
        let rows = open(opened, file, &columns, whole, late).with_context(|| unreadable(file))?;
        Ok(self.opened(file, rows, bounds_us))
    }

    /// Opens a file that is not in our layout. Its statistics are not trusted as bounds.
    fn open_foreign(&self, opened: Opened, file: &LakeFile) -> Result<OpenFile> {
        let foreign = Foreign::open(opened, file, &self.plan, self.selection.counted.is_some())?;
        let times_us = &self.selection.times_us;
        let bounds_us = (*times_us != (i64::MIN..i64::MAX)).then(|| times_us.clone());
        Ok(self.opened(file, Rows::Foreign(Box::new(foreign)), bounds_us))
    }

    fn opened(&self, file: &LakeFile, rows: Rows, bounds_us: Option<Range<i64>>) -> OpenFile {
        OpenFile {
            place: file.place.clone(),
            day: file.day,
            rows,
            in_window: self.selection.in_window(file),
            fixed_window_us: self.selection.window_us.clone().filter(|_| self.selection.is_window_fixed),
            bounds_us,
            counted: self.selection.counted.clone(),
        }
    }
}

impl OpenFile {
    fn next_piece(&mut self, left_out: &mut LeftOut) -> Result<Option<Piece>> {
        let place = &self.place;
        let context = || format!("cannot read {place}, a file of the lake");
        let (rows, batch, day) = match &mut self.rows {
            Rows::Groups(groups) => {
                let plays = groups.next().with_context(context)?;
                return Ok(plays.map(|plays| Piece { rows: plays.rows() as u64, plays: vec![self.windowed(plays)] }));
            }
            Rows::Batches(batches) => {
                let Some(batch) = batches.next().transpose().with_context(context)? else { return Ok(None) };
                (batch.num_rows() as u64, batch, Some(self.day))
            }
            Rows::Foreign(foreign) => {
                let Some((rows, judged)) = foreign.next(left_out).with_context(context)? else { return Ok(None) };
                (rows, judged.plays, judged.day)
            }
        };
        let batch = match &self.bounds_us {
            Some(bounds_us) => within(&batch, bounds_us)?,
            None => batch,
        };
        let plays = self.split(batch, day).with_context(|| format!("cannot list the changes in {place}"))?;
        Ok(Some(Piece { rows, plays }))
    }

    fn windowed(&self, plays: PlayBatch) -> PlayBatch {
        match &self.fixed_window_us {
            Some(window_us) => plays.with_fixed_window(window_us.clone()),
            None => plays,
        }
    }

    /// Separates the plays to be counted from those that only the window needs.
    fn split(&self, batch: RecordBatch, day: Option<i32>) -> Result<Vec<PlayBatch>> {
        let batch_of = |columns| self.windowed(PlayBatch::new(columns, day));
        let Some(counted) = &self.counted else { return Ok(vec![batch_of(batch)]) };
        let is_new = counted.lacks(&batch)?;
        let new_rows = is_new.true_count();
        if new_rows == batch.num_rows() {
            return Ok(vec![batch_of(batch)]);
        }
        let mut plays = Vec::new();
        if new_rows > 0 {
            plays.push(batch_of(filter_record_batch(&batch, &is_new)?));
        }
        if self.in_window {
            plays.push(batch_of(filter_record_batch(&batch, &not(&is_new)?)?).for_window_only());
        }
        Ok(plays)
    }
}

impl Counted {
    /// A mask of the plays of a batch that are not in the checkpoint.
    fn lacks(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        let column = |name| batch.column_by_name(name).with_context(|| format!("there is no column {name}"));
        let partitions =
            column("kafka_partition")?.as_primitive_opt::<Int32Type>().context("partitions are numbers")?;
        let offsets = column("kafka_offset")?.as_primitive_opt::<Int64Type>().context("offsets are numbers")?;
        let mut last = (0, self.next_of(0));
        let lacks = partitions.values().iter().zip(offsets.values()).map(|(partition, offset)| {
            if *partition != last.0 {
                last = (*partition, self.next_of(*partition));
            }
            *offset >= last.1
        });
        Ok(BooleanArray::from_iter(lacks.map(Some)))
    }

    fn next_of(&self, partition: i32) -> i64 {
        self.offsets.get(&partition).copied().unwrap_or(i64::MIN)
    }
}

fn unreadable(file: &LakeFile) -> String {
    format!("cannot read {}, a file of the lake", file.place)
}

/// A reader of some columns of a file of ours, with texts as dictionaries. Only if the `whole` file
/// is read, titles may be `late`.
fn open(
    mut opened: Opened,
    file: &LakeFile,
    columns: &[&'static str],
    whole: bool,
    late: Option<Fail>,
) -> Result<Rows> {
    if whole {
        opened = match Groups::new(opened, file, columns, late) {
            Ok(groups) => return Ok(Rows::Groups(groups)),
            Err(opened) => opened,
        };
    }
    let Opened { content, checksum, metadata } = opened;
    checksum.check(&content, &metadata, |column| columns.contains(&column))?;
    let metadata = ArrowReaderMetadata::try_new(metadata, ArrowReaderOptions::new())?;
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
    Ok(Rows::Batches(builder.with_projection(mask).with_batch_size(BATCH_ROWS).build()?))
}

/// The event times of the latest plays in `files`, as many as the clock is computed from. Rows that
/// are no plays do not count, so the statistics of a file give only an upper bound.
///
/// # Errors
/// If a file cannot be read.
pub fn latest_times(files: &[LakeFile], definitions: &Definitions) -> Result<EventTimes> {
    let mut candidates: Vec<&LakeFile> = files.iter().filter(|file| file.rows > 0).collect();
    // Files without a bound come first, because they may hold any time.
    candidates.sort_by_key(|file| Reverse(file.max_timestamp_us.unwrap_or(i64::MAX)));
    let mut times = EventTimes::new(definitions.trending.window_us);
    // A plan without charts needs no column except the times.
    let mut nothing = definitions.clone();
    nothing.charts.clear();
    nothing.trending.scopes.clear();
    nothing.trending.eligible = Eligible::All;
    let plan = Plan::new(&nothing);
    for file in candidates {
        if file.max_timestamp_us.is_some_and(|max_us| times.is_full_before(max_us)) {
            break;
        }
        let mut reader = Reader::new(vec![file.clone()], plan.clone(), Selection::with_all_times());
        while let Some(piece) = reader.next_piece()? {
            let found = piece.plays.iter().filter_map(PlayBatch::timestamps_us).flatten();
            found.for_each(|event_us| times.add(*event_us));
        }
    }
    Ok(times)
}

/// The plays whose event time is within `bounds_us`.
fn within(batch: &RecordBatch, bounds_us: &Range<i64>) -> Result<RecordBatch> {
    let times =
        batch.column_by_name("timestamp").and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
    let times = times.context("there is no column timestamp")?;
    let inside = BooleanArray::from_iter(times.values().iter().map(|time| Some(bounds_us.contains(time))));
    Ok(filter_record_batch(batch, &inside)?)
}
