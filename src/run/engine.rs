//! Assembles and runs the dataflow: on each worker, the sources, the charts, the lake's writers and
//! the served state.
//!
//! `run` and `replay` differ in the sources and sinks around [`build`], never in the dataflow that
//! it makes.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, anyhow};
use reprise_dataflows::query::{Query, QueryKind};
use reprise_dataflows::rules::definition::Definitions;
use reprise_dataflows::rules::plan::Plan;
use reprise_dataflows::{Epoch, Stage, Tick, build};
use serde::{Deserialize, Serialize};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::vec::{Broadcast, Map};
use timely::dataflow::operators::{Concat, Input, Inspect, Operator, Probe};
use timely::dataflow::{InputHandle, ProbeHandle, Scope, StreamVec};
use timely::worker::Worker;

use super::mode::Mode;
use super::tick::{Now, Pace, Ticker};
use crate::checkpoint::Checkpoint;
use crate::checkpoint::checkpoint;
use crate::cluster::Team;
use crate::cluster::link::Link;
use crate::cluster::orders::{apply_orders, report_process};
use crate::intake::Intake;
use crate::kafka::TopicConfig;
use crate::lake::sink::{self, Committed};
use crate::lake::store::Place;
use crate::lake::{Committer, DiskFullRetry, Gathering, LakeFile};
use crate::process::shutdown::Order;
use crate::process::shutdown::Shutdown;
use crate::report::ProcessReport;
use crate::report::Report;
use crate::report::times::EventTimes;
use crate::source::Source;
use crate::source::kafka::{AddedPartitions, Share, kafka};
use crate::source::lake::{Counted, ReadProgress, Selection, lake, share};
use crate::state::State;
use crate::state::feed;

/// The longest sleep of a worker that has nothing to do.
const PARK_MAX: Duration = Duration::from_millis(20);

/// Everything that the workers share.
pub struct Engine {
    /// The workers of this process and the connections to the other processes.
    pub team: Arc<Team>,
    /// The charts.
    pub definitions: Arc<Definitions>,
    /// The intervals of epochs and commits.
    pub pace: Pace,
    /// The last committed epoch.
    pub last_epoch: Option<Epoch>,
    /// The clock of `last_epoch`, in µs since 1970.
    pub clock_us: Option<i64>,
    /// The checkpoint that the charts begin with, if any.
    pub checkpoint: Option<Arc<Checkpoint>>,
    /// The part of the lake that `checkpoint` has counted and that is not read again.
    pub counted: Option<Arc<Counted>>,
    /// The files of the lake, once for each worker of this process. Each worker takes one copy, so
    /// the list is freed once all have begun.
    pub files: Mutex<Vec<Arc<[LakeFile]>>>,
    /// The event times to read from the lake, in µs since 1970.
    pub times_us: Range<i64>,
    /// How much of the lake has been read.
    pub progress: Arc<ReadProgress>,
    /// The Kafka source and the lake that is written, or a replay.
    pub mode: Mode<Live>,
    /// The state that is served.
    pub state: Arc<State>,
    /// Requests that the run commit what it has read, and end.
    pub shutdown: Shutdown,
    /// Ends a process that cannot continue. Does not return.
    pub fail: fn(anyhow::Error),
}

/// The Kafka source and the lake that is written.
pub struct Live {
    /// The topic that is read.
    pub broker: TopicConfig,
    /// Partition and first offset to read, for all partitions.
    pub starts: Vec<(i32, i64)>,
    /// When the newest record that the lake has of each partition arrived, in µs since 1970.
    pub seen_us: BTreeMap<i32, i64>,
    /// Partitions that are added to the topic during the run.
    pub found: Arc<AddedPartitions>,
    /// Continue past offsets that Kafka no longer has.
    pub accept_gap: bool,
    /// The lake's folder.
    pub lake: Place,
    /// The number of this writer of the lake, which distinguishes it from earlier ones.
    pub incarnation: i64,
    /// The wait of writers and committer while the disk is full.
    pub retry: DiskFullRetry,
    /// The rendezvous of this process's writers at a cut.
    pub gathering: Arc<Gathering>,
    /// Taken by worker 0. `None` in the processes without worker 0.
    pub committer: Mutex<Option<Committer>>,
}

/// The probes and reports from which worker 0 decides on ticks.
struct Watched {
    served: ProbeHandle<Epoch>,
    committed: ProbeHandle<Epoch>,
    reports: Rc<RefCell<VecDeque<Report>>>,
}

type Sender<T> = InputHandle<Epoch, CapacityContainerBuilder<Vec<T>>>;

/// The inputs by which worker 0 controls all workers.
struct Inputs {
    epochs: Sender<EpochInput>,
    orders: Sender<Order>,
}

/// The tick of an epoch and the queries that it answers. Both share one input, because each input
/// adds a cost to every epoch.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct EpochInput {
    tick: Tick,
    queries: Vec<Query>,
}

impl Inputs {
    /// Begins an epoch and closes it to further input.
    fn begin(&mut self, tick: Tick, queries: Vec<Query>) {
        self.epochs.advance_to(tick.epoch);
        self.epochs.send(EpochInput { tick, queries });
        self.epochs.advance_to(tick.epoch + 1);
        self.orders.advance_to(tick.epoch + 1);
    }
}

/// `files`, once for each of `workers` workers.
pub fn for_each_worker(files: &[LakeFile], workers: usize) -> Mutex<Vec<Arc<[LakeFile]>>> {
    Mutex::new(vec![files.into(); workers])
}

impl Engine {
    /// Runs until everything has been read and committed, or a shutdown is requested.
    ///
    /// # Errors
    /// If a worker thread dies.
    pub fn run(self) -> Result<()> {
        let engine = Arc::new(self);
        let working = engine.clone();
        let guards = engine.team.start(move |worker| {
            if let Err(error) = working.work(worker) {
                (working.fail)(error);
            }
        });
        for outcome in guards?.join() {
            outcome.map_err(|error| anyhow!("a worker of the dataflow died: {error}"))?;
        }
        Ok(())
    }

    fn work(&self, worker: &mut Worker) -> Result<()> {
        let mut inputs = Inputs { epochs: Sender::new(), orders: Sender::new() };
        let watched = worker.dataflow(|scope| self.assemble(scope, &mut inputs))?;
        if worker.index() == 0 {
            self.issue_ticks(worker, inputs, &watched);
        } else {
            drop(inputs);
        }
        while worker.has_dataflows() {
            worker.step_or_park(Some(PARK_MAX));
        }
        Ok(())
    }

    /// Builds this worker's part of the dataflow.
    fn assemble<'scope>(&self, scope: Scope<'scope, Epoch>, inputs: &mut Inputs) -> Result<Watched> {
        let plan = Plan::new(&self.definitions);
        let epochs = scope.input_from(&mut inputs.epochs).broadcast();
        let ticks = epochs.clone().map(|input| input.tick);
        let queries = epochs.flat_map(|input| input.queries);
        let committed = ProbeHandle::new();
        apply_orders(scope.input_from(&mut inputs.orders).broadcast(), self.shutdown.clone());

        let stored = self.stored(ticks.clone(), &plan);
        let mut plays = stored.intakes.flat_map(|intake| intake.plays.clone());
        let mut reports = stored.reports.concat(self.reports_of_process(ticks.clone()));
        if let Some(live) = self.mode.live() {
            let source = self.live(live, ticks.clone())?;
            plays = plays.concat(source.intakes.clone().flat_map(|intake| intake.plays.clone()));
            reports = reports.concat(source.reports);
            self.store(live, source.intakes, ticks.clone(), &committed)?;
        }
        let tallied = checkpoint(ticks.clone(), self.checkpoint.clone(), self.fail);
        let charts = build(&self.definitions, ticks.clone(), plays, tallied, queries, None);

        let served = ProbeHandle::new();
        feed(charts, ticks, self.state.clone()).probe_with(&served);
        Ok(Watched { served, committed, reports: gather(reports) })
    }

    /// The reports about this process, which its first worker sends.
    fn reports_of_process<'scope>(&self, ticks: StreamVec<'scope, Epoch, Tick>) -> StreamVec<'scope, Epoch, Report> {
        let reports_process = ticks.scope().index() % self.team.threads == 0;
        let (process, links) = (self.team.process(), self.team.links());
        let (shutdown, state) = (self.shutdown.clone(), self.state.clone());
        let report = move || ProcessReport {
            process,
            shutdown: shutdown.order(),
            paused: state.paused(),
            sent_bytes: links.iter().map(Link::sent_bytes).sum(),
        };
        report_process(ticks, reports_process.then_some(report))
    }

    /// The source that reads the lake.
    fn stored<'scope>(&self, ticks: StreamVec<'scope, Epoch, Tick>, plan: &Plan) -> Source<'scope> {
        let (worker, workers) = (ticks.scope().index(), ticks.scope().peers());
        let window = self.clock_us.map(|clock_us| self.definitions.trending.window(clock_us));
        // A run continues from its clock, so plays after it will enter the window.
        let window_us = match (window, &self.mode) {
            (Some((start, _)), Mode::Run(_)) => Some(start..i64::MAX),
            (Some((start, end)), Mode::Replay) => Some(start..end),
            (None, Mode::Run(_)) => Some(i64::MIN..i64::MAX),
            (None, Mode::Replay) => None,
        };
        let is_replay = self.mode.is_replay();
        let times = window.filter(|_| !is_replay).zip(self.clock_us).map(|((start_us, _), clock_us)| {
            let mut times = EventTimes::new(self.definitions.trending.window_us);
            times.at(clock_us, start_us);
            times
        });
        let selection = Selection {
            times_us: self.times_us.clone(),
            window_us,
            is_window_fixed: is_replay,
            times,
            counted: self.counted.clone(),
            // A run can be queried for any track at any time; a replay needs titles only for its
            // charts.
            late_titles: is_replay.then_some(self.fail),
        };
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        let files = share(files.iter().filter(|file| selection.wants(file)), worker, workers);
        lake(ticks, worker, files, plan, selection, self.progress.clone(), self.fail)
    }

    /// The source that reads this worker's partitions.
    fn live<'scope>(&self, live: &Live, ticks: StreamVec<'scope, Epoch, Tick>) -> Result<Source<'scope>> {
        let (worker, workers) = (ticks.scope().index(), ticks.scope().peers());
        let share = Share {
            worker,
            workers,
            starts: live.starts.clone(),
            seen_us: live.seen_us.clone(),
            found: live.found.clone(),
            uncommitted_bytes_max: 2 * self.pace.buffer_bytes,
            accept_gap: live.accept_gap,
            trending: self.definitions.trending.clone(),
        };
        let state = self.state.clone();
        let source = kafka(ticks, &live.broker, share, self.shutdown.clone())?;
        let reports = source.reports.inspect(move |report| {
            if let Report::Kafka(kafka) = report {
                state.holds_uncommitted(kafka.worker, kafka.uncommitted_bytes);
            }
        });
        Ok(Source { reports, ..source })
    }

    /// The writers and the committer, which store in the lake what was read.
    fn store<'scope>(
        &self,
        live: &Live,
        intakes: StreamVec<'scope, Epoch, Arc<Intake>>,
        ticks: StreamVec<'scope, Epoch, Tick>,
        committed: &ProbeHandle<Epoch>,
    ) -> Result<()> {
        let worker = ticks.scope().index();
        let writer = sink::writer(&live.lake, live.incarnation, worker, &live.retry, &live.gathering)?;
        let first = worker == 0;
        let committer = first.then(|| live.committer.lock().unwrap_or_else(PoisonError::into_inner).take()).flatten();
        let written = sink::write(intakes, ticks, writer, self.fail)?;
        let commits = sink::commit(written, committer, live.retry.clone(), self.fail)?;
        let state = self.state.clone();
        commits.inspect(move |commit: &Committed| state.committed(commit)).probe_with(committed);
        Ok(())
    }

    /// Worker 0's loop: handles the reports and issues the ticks.
    fn issue_ticks(&self, worker: &mut Worker, mut inputs: Inputs, watched: &Watched) {
        let pace = Pace { window_us: self.definitions.trending.window_us, ..self.pace.clone() };
        let mut ticker = Ticker::new(self.mode.kind(), pace, worker.peers(), self.last_epoch, self.clock_us);
        let (mut last_epoch, mut last_cut, mut first_live) = (None, None, None);
        // The epoch in which the ends of all partitions were reached.
        let mut ended_in = None;
        let mut shutdown_sent = false;
        loop {
            for report in watched.reports.borrow_mut().drain(..) {
                ticker.report(&report, Instant::now());
                self.handle_report(report);
            }
            if let Some(order) = self.shutdown.order().filter(|_| !shutdown_sent) {
                inputs.orders.send(order);
                inputs.orders.flush();
                shutdown_sent = true;
            }
            let complete_before = watched.served.with_frontier(|frontier| frontier.first().copied());
            let now = Now {
                instant: Instant::now(),
                wall_us: wall_us(),
                complete_before: complete_before.unwrap_or(Epoch::MAX),
                committed: last_cut.is_none_or(|cut| !watched.committed.less_equal(&cut)),
                has_queries: self.state.queries.are_waiting(),
                unread: self.state.has_unread(),
                stop: self.shutdown.is_due(),
            };
            if let Some(tick) = ticker.next(now) {
                self.state.metrics.began(tick.epoch, tick.cut.is_some());
                let mut queries = self.state.queries.begin(tick.epoch);
                if self.mode.is_replay() && tick.stage == Stage::Stop {
                    let track_ids = self.state.charts().track_ids();
                    queries.push(Query { id: 0, kind: QueryKind::Titles { track_ids } });
                }
                inputs.begin(tick, queries);
                last_epoch = Some(tick.epoch);
                last_cut = tick.cut.map(|_| tick.epoch).or(last_cut);
                if tick.stage == Stage::Live {
                    first_live.get_or_insert(tick.epoch);
                }
            }
            let rebuilt = first_live.is_some_and(|epoch| now.complete_before >= epoch);
            ended_in = ended_in.or(last_epoch).filter(|_| ticker.caught_up());
            self.state.commit_is_due(ticker.commit_due(&now));
            self.state.ticked(rebuilt, ended_in.is_some_and(|epoch| now.complete_before > epoch));
            if ticker.is_over() {
                self.state.close();
                return;
            }
            worker.step_or_park(Some(ticker.park_max(now.instant)));
        }
    }

    /// Handles one report.
    fn handle_report(&self, report: Report) {
        match &report {
            Report::Process(ProcessReport { process, shutdown: Some(order), .. })
                if *process != self.team.process() =>
            {
                self.shutdown.apply(match order {
                    Order::Stop => Order::Stop,
                    Order::Fail(reason) => Order::Fail(format!("process {process}: {reason}")),
                });
            }
            // Workers of this process add their rows to `progress` themselves.
            Report::Lake(lake) if lake.worker >= self.team.threads => {
                self.progress.rows.fetch_add(lake.rows, Ordering::Relaxed);
            }
            _ => {}
        }
        self.state.reported(report);
    }
}

/// Sends all reports to worker 0.
fn gather(reports: StreamVec<'_, Epoch, Report>) -> Rc<RefCell<VecDeque<Report>>> {
    let gathered = Rc::new(RefCell::new(VecDeque::new()));
    let into = gathered.clone();
    reports.sink(Exchange::new(|_: &Report| 0), "Reports", move |(input, _)| {
        input.for_each(|_, data| into.borrow_mut().extend(data.drain(..)));
    });
    gathered
}

fn wall_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64)
}
