//! Plays by the UTC hour of their event time: each hour is a partition of the table.
//!
//! Live traffic lies in one hour almost always, and in two when that ends. What lies in more hours than can grow at once is
//! gathered hour by hour across batches, so that a month of history read at once becomes one piece per hour, not one per hour and
//! batch.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::{filter_record_batch, interleave_record_batch};
use arrow::datatypes::TimestampMicrosecondType;
use reprise_dataflows::play::HOUR_US;

/// Rows that are gathered into one batch: bounds the memory, and the bytes of a text column.
const GATHERED_ROWS_MAX: usize = 1 << 16;

/// Plays grouped by hour, most of them not copied yet.
#[derive(Default)]
pub struct Hours {
    hours: BTreeMap<i64, Hour>,
    mixed: Vec<RecordBatch>,
}

/// The hours since 1970 that plays of a batch lie in.
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

/// The plays of a batch that lie in an hour since 1970.
pub fn only(batch: &RecordBatch, hour: i64) -> Result<RecordBatch> {
    let hours = timestamps_us(batch)?.iter().map(|at| at.div_euclid(HOUR_US));
    let is_in_hour: BooleanArray = hours.map(|other| Some(other == hour)).collect();
    Ok(filter_record_batch(batch, &is_in_hour)?)
}

fn timestamps_us(batch: &RecordBatch) -> Result<&[i64]> {
    let column = batch.column_by_name("timestamp");
    let column = column.and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
    Ok(column.context("a batch of plays lacks its timestamps")?.values())
}

#[derive(Default)]
struct Hour {
    whole: Vec<RecordBatch>,
    /// Batch and row in `mixed`.
    rows: Vec<(usize, usize)>,
}

impl Hours {
    pub fn insert(&mut self, batch: RecordBatch) -> Result<()> {
        let hours = of(&batch)?;
        let (Some(hour), Some(last)) = (hours.first(), hours.last()) else { return Ok(()) };
        if hour == last {
            self.hours.entry(*hour).or_default().whole.push(batch);
            return Ok(());
        }
        let timestamps = timestamps_us(&batch)?;
        let mut row = 0;
        for run in timestamps.chunk_by(|a, b| a.div_euclid(HOUR_US) == b.div_euclid(HOUR_US)) {
            let hour = self.hours.entry(run[0].div_euclid(HOUR_US)).or_default();
            hour.rows.extend((row..row + run.len()).map(|row| (self.mixed.len(), row)));
            row += run.len();
        }
        self.mixed.push(batch);
        Ok(())
    }

    /// The hours since 1970 that have plays, with their plays, in order of time.
    pub fn iter(&self) -> impl Iterator<Item = (i64, impl Iterator<Item = Result<RecordBatch>>)> {
        let mixed: Vec<&RecordBatch> = self.mixed.iter().collect();
        self.hours.iter().map(move |(hour, plays)| {
            let mixed = mixed.clone();
            let gathered = plays
                .rows
                .chunks(GATHERED_ROWS_MAX)
                .map(move |rows| interleave_record_batch(&mixed, rows).context("cannot gather the plays of an hour"));
            (*hour, plays.whole.iter().cloned().map(Ok).chain(gathered))
        })
    }
}
