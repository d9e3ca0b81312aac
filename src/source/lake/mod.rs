//! The source that reads plays from the lake: an operator over ticks that reads a worker's share of
//! the Parquet files.
//!
//! It reads in the epochs of [`Stage::Rebuild`]: the charts of a run begin with the plays of its
//! lake, and the charts of a replay have no others.

mod foreign;
mod groups;
mod left_out;
mod opened;
mod pages;
mod reader;

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use reprise_dataflows::operators::{Outputs, TickedSource, Turn, by_tick};
use reprise_dataflows::play::PlayBatch;
use reprise_dataflows::rules::plan::Plan;
use reprise_dataflows::{Epoch, Stage, Tick};
use timely::dataflow::StreamVec;
use tracing::warn;

use crate::intake::Intake;
use crate::lake::LakeFile;
use crate::report::times::EventTimes;
use crate::report::{LakeReport, Report};
use crate::source::Source;

pub use left_out::LeftOut;
pub use reader::{Counted, Reader, Selection, latest_times};

/// The most rows of one epoch on one worker. The number is large because the summary of an epoch
/// has a cost of its own, whatever the number of plays.
const EPOCH_ROWS_MAX: u64 = 16 << 20;

/// The progress of reading the lake, for the progress bar and the log.
#[derive(Debug, Default)]
pub struct ReadProgress {
    /// Rows read so far.
    pub rows: AtomicU64,
    /// Rows of all files that are to be read.
    pub rows_total: u64,
    /// Rows that this process has read and that are no plays, or are in the wrong folder.
    pub left_out: Mutex<LeftOut>,
    /// Workers of this process that have read all of their files.
    pub workers_done: AtomicUsize,
    /// The number of workers after which the log reports what was left out. `None` in a replay,
    /// which prints the report below its progress bar.
    pub workers_to_report: Option<usize>,
}

impl ReadProgress {
    /// Notes that a worker has read all of its files and has left out `left_out`.
    fn done(&self, left_out: LeftOut) {
        let mut all = self.left_out.lock().unwrap_or_else(PoisonError::into_inner);
        all.merge(left_out);
        if Some(self.workers_done.fetch_add(1, Ordering::Relaxed) + 1) == self.workers_to_report {
            all.notes().iter().for_each(|note| warn!("{note}"));
        }
    }
}

/// The files of one worker: a range of hours with about the same number of bytes for each worker,
/// so that most (track, day) counts are made by one worker alone. The newest day comes first,
/// because it decides the title of a track, so the titles of older days need not be compared.
pub fn share<'a>(files: impl Iterator<Item = &'a LakeFile>, worker: usize, workers: usize) -> Vec<LakeFile> {
    let mut files: Vec<&LakeFile> = files.collect();
    files.sort_by_key(|file| std::cmp::Reverse((file.day, file.hour)));
    let bytes: u128 = files.iter().map(|file| u128::from(file.size_bytes)).sum();
    let mut before = 0;
    let mut owner_of_next = |file: &LakeFile| {
        let middle = before + u128::from(file.size_bytes) / 2;
        before += u128::from(file.size_bytes);
        ((middle * workers as u128 / bytes.max(1)) as usize).min(workers - 1)
    };
    files.into_iter().filter(|file| owner_of_next(file) == worker).cloned().collect()
}

/// Reads the plays of `files` that `selection` selects, in the epochs of [`Stage::Rebuild`]. If a
/// file cannot be read, the error goes to `fail`, which ends the process.
pub fn lake<'scope>(
    ticks: StreamVec<'scope, Epoch, Tick>,
    worker: usize,
    files: Vec<LakeFile>,
    plan: &Plan,
    selection: Selection,
    progress: Arc<ReadProgress>,
    fail: impl Fn(anyhow::Error) + 'static,
) -> Source<'scope> {
    let times = selection.times.clone();
    let reader = Reader::new(files, plan.clone(), selection);
    let reading = Reading { worker, reader, times, progress, fail, rows: 0, is_done: false };
    let Ok((intakes, reports)) = by_tick("Lake", ticks, |_waker| Ok::<_, Infallible>(reading));
    Source { intakes, reports }
}

struct Reading<F> {
    worker: usize,
    reader: Reader,
    /// Event times of plays that have been read and not reported yet.
    times: Option<EventTimes>,
    progress: Arc<ReadProgress>,
    fail: F,
    /// Rows read in the open epoch.
    rows: u64,
    /// Whether all files have been read, and that was reported.
    is_done: bool,
}

impl<F: Fn(anyhow::Error) + 'static> TickedSource for Reading<F> {
    type Outputs = (Arc<Intake>, Report);

    fn begin(&mut self, _tick: &Tick) {
        self.rows = 0;
    }

    fn end(&mut self, _tick: &Tick, _emit: <Self::Outputs as Outputs<Epoch>>::Emit<'_>) {}

    fn turn(&mut self, tick: &Tick, (intakes, reports): <Self::Outputs as Outputs<Epoch>>::Emit<'_>) -> Turn {
        if tick.stage != Stage::Rebuild || self.is_done || self.rows >= EPOCH_ROWS_MAX {
            // This epoch has all the rows that it may have.
            return Turn::Done;
        }
        let piece = match self.reader.next_piece() {
            Ok(piece) => piece,
            Err(error) => {
                (self.fail)(error);
                return Turn::Woken;
            }
        };
        self.is_done = piece.is_none();
        if self.is_done {
            self.progress.done(self.reader.take_left_out());
        }
        let rows = piece.as_ref().map_or(0, |piece| piece.rows);
        self.rows += rows;
        self.progress.rows.fetch_add(rows, Ordering::Relaxed);
        if let Some(times) = &mut self.times {
            let plays = piece.iter().flat_map(|piece| &piece.plays);
            plays.filter_map(PlayBatch::timestamps_us).flatten().for_each(|event_us| times.add(*event_us));
        }
        for plays in piece.into_iter().flat_map(|piece| piece.plays) {
            intakes(Arc::new(Intake { plays: Some(plays), ..Intake::default() }));
        }
        if self.is_done || self.rows >= EPOCH_ROWS_MAX {
            let times = self.times.as_mut().map(EventTimes::take).unwrap_or_default();
            reports(Report::Lake(LakeReport { worker: self.worker, rows: self.rows, times, done: self.is_done }));
        }
        Turn::Next
    }
}

#[cfg(test)]
mod tests;
