//! Groups plays by the UTC hour of their event time: each hour is a partition of the table.
//!
//! Live traffic almost always lies in one hour, and in two around the end of an hour. A history
//! that is read at once lies in many. Its plays stay in the batches that they were read in, and
//! each hour holds references to its rows; they are gathered when the file of the hour is written.
//! So an hour costs little while it waits, and becomes one piece rather than one for each batch.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::{concat_batches, filter_record_batch, interleave_record_batch};
use arrow::datatypes::TimestampMicrosecondType;
use reprise_dataflows::play::HOUR_US;

/// How many rows are gathered into one batch. Bounds the memory, and the bytes of a text column.
const GATHERED_ROWS_MAX: usize = 1 << 16;
/// Smaller batches are concatenated until they have this many rows: a batch takes a few kilobytes
/// besides its rows.
const BATCH_ROWS_MIN: usize = 1024;
/// An hour with this many rows gets a file of its own that grows as more arrive.
const LARGE_ROWS: usize = 4096;
/// A run of at least this many consecutive rows of a batch is sliced instead of copied.
const SLICE_ROWS_MIN: usize = 1024;

/// Plays grouped by hour, none of them copied yet.
#[derive(Default)]
pub struct Hours {
    hours: BTreeMap<i64, Hour>,
    batches: Vec<RecordBatch>,
    /// Batches that are too small to be kept as they are.
    small: Vec<RecordBatch>,
    small_rows: usize,
    /// Hours that have become large and that [`Hours::take_large`] has not returned.
    large: BTreeSet<i64>,
}

/// The batch and the row of each of its plays, in the order of the batches.
type Hour = Vec<(u32, u32)>;

/// The hours since 1970 of the plays in `batch`.
///
/// # Errors
/// If the batch lacks the time column.
pub fn of(batch: &RecordBatch) -> Result<BTreeSet<i64>> {
    let mut hours = BTreeSet::new();
    let mut last = 0..0;
    for at in timestamps_us(batch)? {
        if !last.contains(at) {
            let hour = at.div_euclid(HOUR_US);
            hours.insert(hour);
            last = hour * HOUR_US..(hour + 1) * HOUR_US;
        }
    }
    Ok(hours)
}

/// The plays of `batch` that lie in `hour`, counted since 1970.
///
/// # Errors
/// If the batch lacks the time column.
pub fn only(batch: &RecordBatch, hour: i64) -> Result<RecordBatch> {
    filter(batch, |other| other == hour)
}

/// The plays of `batch` that lie in none of `hours`, counted since 1970.
///
/// # Errors
/// If the batch lacks the time column.
pub fn except(batch: &RecordBatch, hours: &[i64]) -> Result<RecordBatch> {
    filter(batch, |hour| !hours.contains(&hour))
}

fn filter(batch: &RecordBatch, is_wanted: impl Fn(i64) -> bool) -> Result<RecordBatch> {
    let hours = timestamps_us(batch)?.iter().map(|at| at.div_euclid(HOUR_US));
    let wanted: BooleanArray = hours.map(|hour| Some(is_wanted(hour))).collect();
    Ok(filter_record_batch(batch, &wanted)?)
}

fn timestamps_us(batch: &RecordBatch) -> Result<&[i64]> {
    let column = batch.column_by_name("timestamp");
    let column = column.and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
    Ok(column.context("a batch of plays lacks its timestamps")?.values())
}

impl Hours {
    /// Adds a batch. The other methods see small batches only after [`Hours::settle`].
    ///
    /// # Errors
    /// If small batches cannot be concatenated.
    pub fn insert(&mut self, batch: RecordBatch) -> Result<()> {
        self.small_rows += batch.num_rows();
        self.small.push(batch);
        if self.small_rows >= BATCH_ROWS_MIN { self.settle() } else { Ok(()) }
    }

    /// Groups the batches that were too small so far.
    ///
    /// # Errors
    /// If they cannot be concatenated.
    pub fn settle(&mut self) -> Result<()> {
        let small = std::mem::take(&mut self.small);
        if std::mem::take(&mut self.small_rows) == 0 {
            return Ok(());
        }
        let batch = match <[RecordBatch; 1]>::try_from(small) {
            Ok([batch]) => batch,
            Err(small) => concat_batches(&super::rows::schema(), &small).context("cannot concatenate small batches")?,
        };
        let place = u32::try_from(self.batches.len()).context("too many batches wait for a cut")?;
        let mut row = 0;
        for run in timestamps_us(&batch)?.chunk_by(|a, b| a.div_euclid(HOUR_US) == b.div_euclid(HOUR_US)) {
            let hour = run[0].div_euclid(HOUR_US);
            let rows = self.hours.entry(hour).or_default();
            rows.extend((row..row + run.len() as u32).map(|row| (place, row)));
            if rows.len() >= LARGE_ROWS {
                self.large.insert(hour);
            }
            row += run.len() as u32;
        }
        self.batches.push(batch);
        Ok(())
    }

    /// The first hour since 1970 that has plays.
    pub fn first(&self) -> Option<i64> {
        self.hours.keys().next().copied()
    }

    /// Returns an hour since 1970 that has become large; each hour once.
    pub fn take_large(&mut self) -> Option<i64> {
        self.large.pop_first()
    }

    /// Removes and returns the plays of `hour`, counted since 1970.
    pub fn take(&mut self, hour: i64) -> impl Iterator<Item = Result<RecordBatch>> {
        let rows = self.hours.remove(&hour).unwrap_or_default();
        let (this, mut taken) = (&*self, 0);
        std::iter::from_fn(move || {
            let rest = &rows[taken..];
            let (batch, row) = *rest.first()?;
            let run = rest.partition_point(|(other, _)| *other == batch);
            if run >= SLICE_ROWS_MIN && rest[run - 1].1 - row == run as u32 - 1 {
                taken += run;
                return Some(Ok(this.batches[batch as usize].slice(row as usize, run)));
            }
            let some = &rest[..rest.len().min(GATHERED_ROWS_MAX)];
            taken += some.len();
            Some(this.gather(some))
        })
    }

    /// Adds the plays of `other`.
    ///
    /// # Errors
    /// If its small batches cannot be concatenated.
    pub fn append(&mut self, mut other: Self) -> Result<()> {
        other.settle()?;
        let before = u32::try_from(self.batches.len()).context("too many batches wait for a cut")?;
        self.batches.append(&mut other.batches);
        for (hour, rows) in other.hours {
            self.hours.entry(hour).or_default().extend(rows.into_iter().map(|(batch, row)| (batch + before, row)));
        }
        Ok(())
    }

    /// Removes and returns the hours since 1970 that are `wanted`.
    pub fn split(&mut self, wanted: impl Fn(i64) -> bool) -> Self {
        let mut hours = BTreeMap::new();
        self.hours.retain(|hour, rows| {
            let stays = !wanted(*hour);
            if !stays {
                hours.insert(*hour, std::mem::take(rows));
            }
            stays
        });
        Self { hours, batches: self.batches.clone(), ..Self::default() }
    }

    /// Copies `rows` into one batch. Visits only the batches that contain some of them: there may
    /// be hundreds.
    fn gather(&self, rows: &[(u32, u32)]) -> Result<RecordBatch> {
        let mut batches = Vec::new();
        let mut last = None;
        let mut places = Vec::with_capacity(rows.len());
        for &(batch, row) in rows {
            if last.replace(batch) != Some(batch) {
                batches.push(&self.batches[batch as usize]);
            }
            places.push((batches.len() - 1, row as usize));
        }
        interleave_record_batch(&batches, &places).context("cannot gather the plays of an hour")
    }
}
