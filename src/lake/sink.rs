//! The operators between the dataflow and the lake: at a cut, the rows that each worker has read
//! become files, and the files of all workers become one commit.
//!
//! ```text
//! every worker:  intakes ─┐
//!                ticks ───┴► [Write] rows ──► writer thread: encodes ── at a cut ──► staged files
//!                                                                                      │ exchange
//! worker 0:          [Commit] once all workers' files are there ──► committer thread ◄─┘
//!                                                     └──► commits
//! ```
//!
//! 1. [`write`] hands rows over as soon as no cut can come before them, so that encoding is spread
//!    over time and rows take less memory. At a cut it has handed over all rows of earlier epochs,
//!    and none of later ones.
//! 2. [`write`] holds the capability of a cut until the cut's files are staged and durable, so the
//!    frontier of its output passes a cut only after every worker has sent its files.
//! 3. [`commit`] holds the capability until the commit is in the log, so the frontier of its output
//!    says what is durable.
//! 4. Encoding and the log run off the dataflow's threads. A thread wakes its operator when it is
//!    done.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use anyhow::{Context, Result};
use reprise_dataflows::operators::{OffThread, off_thread};
use reprise_dataflows::play::PlayBatch;
use reprise_dataflows::{CutPoint, Epoch, Tick};
use serde::{Deserialize, Serialize};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::vec::ToStream;
use timely::scheduling::SyncActivator;

use super::store::Place;
use super::{Committer, Cut, DiskFullRetry, Gathering, NewFile, Writer};
use crate::intake::Intake;
use crate::intake::{DeadLetter, Gap, Position};

/// How many rows are handed to a writer thread at once. Waking the thread for each epoch would cost
/// more than encoding the epoch's rows, and larger pieces would keep the processor from other
/// threads for longer.
const HAND_OVER_ROWS: usize = 1024;

/// The files that a worker has staged for a cut, with the offsets that it has reached.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Written {
    epoch: Epoch,
    clock_us: Option<i64>,
    plays: Vec<NewFile>,
    dead_letters: Vec<NewFile>,
    positions: Vec<Position>,
    gaps: Vec<Gap>,
}

/// A commit that is durable.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The last epoch that is included, and its clock.
    pub cut: CutPoint,
    /// The version of the table of plays.
    pub version: u64,
    /// How many plays it added.
    pub plays: u64,
    /// How many dead letters it added.
    pub dead_letters: u64,
    /// How many files of plays it added.
    pub files: u64,
    /// The size of these files.
    pub bytes: u64,
    /// The next offset of each Kafka partition.
    pub offsets: BTreeMap<i32, i64>,
}

/// A thread with channels for its requests and answers. Each answer comes with the epoch of its
/// request.
struct WorkerThread<Q, A> {
    requests: Sender<(Epoch, Q)>,
    answers: Receiver<(Epoch, Result<A>)>,
}

impl<Q: Send + 'static, A: Send + 'static> WorkerThread<Q, A> {
    /// Starts a thread that answers requests one after the other, and activates the operator of
    /// `activator` with each answer.
    fn open(
        name: &str,
        activator: SyncActivator,
        mut answer: impl FnMut(Q) -> Result<Option<A>> + Send + 'static,
    ) -> Result<Self> {
        let (requests, received) = channel::<(Epoch, Q)>();
        let (answered, answers) = channel();
        let work = move || {
            for (epoch, request) in received {
                let Some(answer) = answer(request).transpose() else { continue };
                if answered.send((epoch, answer)).is_err() || activator.activate().is_err() {
                    return;
                }
            }
        };
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(work)
            .context("a thread for the lake cannot be started")?;
        Ok(Self { requests, answers })
    }

    /// The send fails only if the thread has panicked, and a panic ends the process.
    fn request(&self, epoch: Epoch, request: Q) {
        let _ = self.requests.send((epoch, request));
    }
}

/// Stages each worker's plays and dead letters at every cut. An error of the writer is passed to
/// `fail`, which does not return.
///
/// # Errors
/// If the writer's thread cannot be started.
pub fn write<'scope>(
    intakes: StreamVec<'scope, Epoch, Arc<Intake>>,
    ticks: StreamVec<'scope, Epoch, Tick>,
    writer: Writer,
    fail: impl Fn(anyhow::Error) + 'static,
) -> Result<StreamVec<'scope, Epoch, Written>> {
    off_thread("Write", intakes, Pipeline, ticks, |waker| {
        let thread = WorkerThread::open("reprise-writer", waker, stage(writer))?;
        let (waiting, ready, cuts) = Default::default();
        anyhow::Ok(Writing { thread, fail, waiting, ready, cuts })
    })
}

struct Writing<F> {
    thread: WorkerThread<Work, Written>,
    fail: F,
    /// Intakes by epoch, not handed over yet.
    waiting: BTreeMap<Epoch, Vec<Arc<Intake>>>,
    /// Intakes that no cut can precede any more.
    ready: DueIntakes,
    /// The cuts that have arrived, by the epoch that each begins.
    cuts: BTreeMap<Epoch, CutPoint>,
}

impl<F: Fn(anyhow::Error) + 'static> OffThread for Writing<F> {
    type Update = Arc<Intake>;
    type Query = Tick;
    type Answer = Written;

    fn update(&mut self, epoch: Epoch, mut intakes: Vec<Arc<Intake>>) -> bool {
        self.waiting.entry(epoch).or_default().append(&mut intakes);
        false
    }

    fn query(&mut self, epoch: Epoch, ticks: Vec<Tick>) -> bool {
        let cut = ticks.into_iter().find_map(|tick| tick.cut);
        self.cuts.extend(cut.map(|cut| (epoch, cut)));
        cut.is_some()
    }

    fn hand_over(&mut self, intakes_before: Option<Epoch>, ticks_before: Option<Epoch>) {
        while let Some(first) = self.cuts.first_entry()
            && intakes_before.is_none_or(|before| before >= *first.key())
        {
            let (epoch, cut) = first.remove_entry();
            self.ready.take_before(epoch, &mut self.waiting);
            self.thread.request(epoch, Work::Encode(self.ready.take()));
            self.thread.request(epoch, Work::Stage(cut));
        }
        let next_cut = self.cuts.keys().next().copied();
        let next = next_cut.min(ticks_before).or(next_cut).or(ticks_before).unwrap_or(Epoch::MAX);
        self.ready.take_before(next, &mut self.waiting);
        if self.ready.rows >= HAND_OVER_ROWS {
            self.thread.request(0, Work::Encode(self.ready.take()));
        }
    }

    fn answer(&mut self) -> Option<(Epoch, Written)> {
        let (epoch, written) = self.thread.answers.try_recv().ok()?;
        match written {
            Ok(written) => Some((epoch, written)),
            Err(error) => {
                (self.fail)(error.context("plays cannot be written to the lake"));
                None
            }
        }
    }
}

/// A request to a writer thread.
enum Work {
    Encode(Vec<Arc<Intake>>),
    /// Stage everything that was encoded since the last cut.
    Stage(CutPoint),
}

/// Intakes that belong to the next cut.
#[derive(Default)]
struct DueIntakes {
    intakes: Vec<Arc<Intake>>,
    rows: usize,
}

impl DueIntakes {
    fn take_before(&mut self, epoch: Epoch, waiting: &mut BTreeMap<Epoch, Vec<Arc<Intake>>>) {
        let later = waiting.split_off(&epoch);
        for intake in std::mem::replace(waiting, later).into_values().flatten() {
            self.rows += intake.plays.as_ref().map_or(0, PlayBatch::rows);
            self.intakes.push(intake);
        }
    }

    fn take(&mut self) -> Vec<Arc<Intake>> {
        self.rows = 0;
        std::mem::take(&mut self.intakes)
    }
}

/// The content of a cut besides its plays.
#[derive(Default)]
struct SideOutputs {
    positions: BTreeMap<i32, Position>,
    gaps: Vec<Gap>,
    dead_letters: Vec<DeadLetter>,
}

impl SideOutputs {
    fn add(&mut self, intake: &Intake) {
        for position in &intake.positions {
            if self.positions.get(&position.partition).is_none_or(|other| other.next < position.next) {
                self.positions.insert(position.partition, position.clone());
            }
        }
        self.gaps.extend_from_slice(&intake.gaps);
        self.dead_letters.extend_from_slice(&intake.dead_letters);
    }
}

/// Encodes intakes, and stages their files at a cut.
fn stage(mut writer: Writer) -> impl FnMut(Work) -> Result<Option<Written>> + Send {
    let mut side = SideOutputs::default();
    move |work| {
        let cut = match work {
            Work::Encode(intakes) => {
                for intake in intakes {
                    side.add(&intake);
                    if let Some(plays) = &intake.plays {
                        writer.encode(plays.columns())?;
                    }
                }
                return Ok(None);
            }
            Work::Stage(cut) => cut,
        };
        let SideOutputs { positions, gaps, dead_letters } = std::mem::take(&mut side);
        Ok(Some(Written {
            epoch: cut.epoch,
            clock_us: cut.clock_us,
            plays: writer.stage_plays(cut.epoch).map_err(|error| writer.explain(error))?,
            dead_letters: writer.write_dead_letters(cut.epoch, &dead_letters).map_err(|error| writer.explain(error))?,
            positions: positions.into_values().collect(),
            gaps,
        }))
    }
}

/// Commits the files that all workers have staged for a cut, in one commit. Only worker 0 has a
/// `committer`, which waits in `retry` while the disk is full. An error of the committer is passed
/// to `fail`, which does not return.
///
/// # Errors
/// If the committer's thread cannot be started.
pub fn commit<'scope>(
    written: StreamVec<'scope, Epoch, Written>,
    committer: Option<Committer>,
    retry: DiskFullRetry,
    fail: impl Fn(anyhow::Error) + 'static,
) -> Result<StreamVec<'scope, Epoch, Committed>> {
    let no_queries = None::<()>.to_stream(written.scope());
    off_thread("Commit", written, Exchange::new(|_: &Written| 0), no_queries, |waker| {
        let thread = committer.map(|mut committer| {
            committer.retry_with(&retry);
            WorkerThread::open("reprise-committer", waker, append(committer))
        });
        anyhow::Ok(Committing { thread: thread.transpose()?, fail, cuts: BTreeMap::new() })
    })
}

struct Committing<F> {
    thread: Option<WorkerThread<Vec<Written>, Committed>>,
    fail: F,
    cuts: BTreeMap<Epoch, Vec<Written>>,
}

impl<F: Fn(anyhow::Error) + 'static> OffThread for Committing<F> {
    type Update = Written;
    type Query = ();
    type Answer = Committed;

    fn update(&mut self, epoch: Epoch, mut written: Vec<Written>) -> bool {
        self.cuts.entry(epoch).or_default().append(&mut written);
        true
    }

    fn query(&mut self, _epoch: Epoch, _queries: Vec<()>) -> bool {
        false
    }

    fn hand_over(&mut self, written_before: Option<Epoch>, _queries_before: Option<Epoch>) {
        let Some(thread) = &self.thread else { return };
        while let Some(first) = self.cuts.first_entry()
            && written_before.is_none_or(|before| before > *first.key())
        {
            let (epoch, written) = first.remove_entry();
            thread.request(epoch, written);
        }
    }

    fn answer(&mut self) -> Option<(Epoch, Committed)> {
        let (epoch, committed) = self.thread.as_ref()?.answers.try_recv().ok()?;
        match committed {
            Ok(committed) => Some((epoch, committed)),
            Err(error) => {
                (self.fail)(error.context("what was read cannot be committed to the lake"));
                None
            }
        }
    }
}

/// Commits the cuts, except those that change neither offsets nor the clock.
fn append(mut committer: Committer) -> impl FnMut(Vec<Written>) -> Result<Option<Committed>> + Send {
    let began = committer.progress().clone();
    move |written| {
        let mut cut = Cut { offsets: committer.progress().offsets.clone(), ..Cut::default() };
        for mut written in written {
            (cut.epoch, cut.clock_us) = (written.epoch, written.clock_us);
            cut.plays.append(&mut written.plays);
            cut.dead_letters.append(&mut written.dead_letters);
            written.positions.iter().for_each(|position| cut.reach(position, &began));
            cut.account.gaps.append(&mut written.gaps);
        }
        let (plays, bytes) = (sum(&cut.plays, |file| file.rows), sum(&cut.plays, |file| file.size_bytes));
        let (files, dead_letters) = (cut.plays.len() as u64, sum(&cut.dead_letters, |file| file.rows));
        let point = CutPoint { epoch: cut.epoch, clock_us: cut.clock_us };
        let progress = committer.progress();
        let progress = if cut.offsets == progress.offsets && cut.clock_us == progress.clock_us {
            progress
        } else {
            committer.commit(cut)?
        };
        Ok(Some(Committed {
            cut: point,
            version: progress.version,
            plays,
            dead_letters,
            files,
            bytes,
            offsets: progress.offsets.clone(),
        }))
    }
}

fn sum(files: &[NewFile], value: impl Fn(&NewFile) -> i64) -> u64 {
    files.iter().map(|file| value(file).unsigned_abs()).sum()
}

/// Opens the writer of a worker. It waits in `retry` while the disk is full, and exchanges plays
/// with the other writers of its process in `gathering`.
///
/// # Errors
/// If the lake has another incarnation, or cannot be read.
pub fn writer(
    lake: &Place,
    incarnation: i64,
    worker: usize,
    retry: &DiskFullRetry,
    gathering: &Arc<Gathering>,
) -> Result<Writer> {
    let mut writer =
        Writer::new(lake, incarnation, worker).with_context(|| format!("cannot write to the lake {lake}"))?;
    writer.retry_with(retry.clone());
    writer.gather_in(gathering.clone());
    Ok(writer)
}
