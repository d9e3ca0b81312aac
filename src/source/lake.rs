//! The lake → plays: an operator over ticks that reads a worker's share of the Parquet files.
//!
//! It reads in the epochs of [`Stage::Rebuild`], so that the charts of a run begin with what its lake has, and those of a
//! replay are the lake's alone.

mod foreign;
mod groups;
mod hybrid;
mod left_out;
mod pages;
mod reader;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use reprise_dataflows::plan::Plan;
use reprise_dataflows::play::PlayBatch;
use reprise_dataflows::{Epoch, Stage, Tick};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use tracing::warn;

use super::times::EventTimes;
use super::{Intake, LakeReport, Report, Source};
use crate::lake::LakeFile;

pub use left_out::LeftOut;
pub use reader::{Counted, Reader, Selection, latest_times};

/// What one epoch may bring, on one worker: many plays, since the summary of an epoch is what costs, whatever it summarises.
const EPOCH_ROWS_MAX: u64 = 16 << 20;

/// Rows read so far, of how many; for people who wait.
#[derive(Debug, Default)]
pub struct Progress {
    pub rows: AtomicU64,
    pub rows_total: u64,
    /// What this process has read and not counted, because it is no play.
    pub left_out: Mutex<LeftOut>,
    /// Workers of this process that have read all of their files.
    pub workers_done: AtomicUsize,
    /// The log says what was left out when so many workers are done. A replay says it itself, below its progress bar.
    pub said_after: Option<usize>,
}

impl Progress {
    /// A worker has read all of its files, and left some rows out.
    fn done(&self, left_out: LeftOut) {
        let mut all = self.left_out.lock().unwrap_or_else(PoisonError::into_inner);
        all.merge(left_out);
        if Some(self.workers_done.fetch_add(1, Ordering::Relaxed) + 1) == self.said_after {
            all.notes().iter().for_each(|note| warn!("{note}"));
        }
    }
}

/// The files of one worker: those of a range of hours, of about as many bytes as the others'. Most buckets
/// that plays count in are then counted by one worker alone. The newest day comes first, since it decides
/// what a track is called, and what older days call it need not be looked at then.
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
    let mut times = selection.times.clone();
    let mut reader = Reader::new(files, plan.clone(), selection);
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
                // What it was to bring, it has brought.
                open = None;
                return;
            }
            let piece = match reader.next_piece() {
                Ok(piece) => piece,
                Err(error) => return fail(error),
            };
            reported_done = piece.is_none();
            if reported_done {
                progress.done(reader.take_left_out());
            }
            let read = piece.as_ref().map_or(0, |piece| piece.rows);
            rows += read;
            progress.rows.fetch_add(read, Ordering::Relaxed);
            if let Some(times) = &mut times {
                let plays = piece.iter().flat_map(|piece| &piece.plays);
                plays.filter_map(PlayBatch::timestamps_us).flatten().for_each(|event_us| times.add(*event_us));
            }
            for plays in piece.into_iter().flat_map(|piece| piece.plays) {
                let intake_of = Intake { plays: Some(plays), ..Intake::default() };
                intakes_output.activate().session(intake).give(Arc::new(intake_of));
            }
            if reported_done || rows >= EPOCH_ROWS_MAX {
                let times = times.as_mut().map(EventTimes::take).unwrap_or_default();
                let lake = LakeReport { worker, rows, times, done: reported_done };
                reports_output.activate().session(report).give(Report::Lake(lake));
            }
            activator.activate();
        }
    });
    Source { intakes, reports }
}

#[cfg(test)]
mod tests;
