//! The dataflow with the world around it: sources, charts, lake and what is served, put together on every worker.
//!
//! `run` and `replay` differ in what they put around [`build`], never in it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::Range;
use std::path::PathBuf;
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

use super::tick::{Now, Pace, Ticker};
use crate::checkpoint::Checkpoint;
use crate::checkpoint::checkpoint;
use crate::cluster::Team;
use crate::cluster::link::Link;
use crate::cluster::orders::{obey, pulse};
use crate::intake::Intake;
use crate::kafka::TopicConfig;
use crate::lake::sink::{self, Committed};
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

/// How long a worker sleeps at most when there is nothing to do.
const PARK_MAX: Duration = Duration::from_millis(20);

/// Everything that the workers need to know.
pub struct Engine {
    pub team: Arc<Team>,
    pub definitions: Arc<Definitions>,
    pub pace: Pace,
    /// The last epoch that was committed, and its clock.
    pub last_epoch: Option<Epoch>,
    pub clock_us: Option<i64>,
    /// The plays of the lake that the charts begin with: what a checkpoint has counted, and what it has not.
    pub checkpoint: Option<Arc<Checkpoint>>,
    pub counted: Option<Arc<Counted>>,
    /// The files of the lake, once for each worker of this process: each takes one, and the list is gone when all have.
    pub files: Mutex<Vec<Arc<[LakeFile]>>>,
    pub times_us: Range<i64>,
    pub progress: Arc<ReadProgress>,
    /// What is read after the lake, and where it is kept; a replay has none.
    pub live: Option<Live>,
    pub state: Arc<State>,
    /// What makes the run commit what it has, and end.
    pub shutdown: Shutdown,
    /// What ends a run that cannot go on. It does not return.
    pub fail: fn(anyhow::Error),
}

/// Kafka, and the lake that is written.
pub struct Live {
    pub broker: TopicConfig,
    /// The offset to begin at, of every partition.
    pub starts: Vec<(i32, i64)>,
    /// Partitions that are found later.
    pub found: Arc<AddedPartitions>,
    pub accept_gap: bool,
    pub lake: PathBuf,
    pub incarnation: i64,
    /// Where writers and committer wait while the disk is full.
    pub retry: DiskFullRetry,
    /// Where the writers of this process meet at a cut.
    pub gathering: Arc<Gathering>,
    /// Taken by worker 0; the processes without it have none.
    pub committer: Mutex<Option<Committer>>,
}

/// What worker 0 watches while it mints ticks.
struct Watched {
    served: ProbeHandle<Epoch>,
    committed: ProbeHandle<Epoch>,
    reports: Rc<RefCell<VecDeque<Report>>>,
}

type Sender<T> = InputHandle<Epoch, CapacityContainerBuilder<Vec<T>>>;

/// What worker 0 says to all workers.
struct Inputs {
    beginnings: Sender<Beginning>,
    orders: Sender<Order>,
}

/// What holds for an epoch, and what is asked in it. Together, because each input costs every epoch something.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Beginning {
    tick: Tick,
    queries: Vec<Query>,
}

impl Inputs {
    /// Begins an epoch. Nothing more is to come for it then.
    fn begin(&mut self, tick: Tick, queries: Vec<Query>) {
        self.beginnings.advance_to(tick.epoch);
        self.beginnings.send(Beginning { tick, queries });
        self.beginnings.advance_to(tick.epoch + 1);
        self.orders.advance_to(tick.epoch + 1);
    }
}

/// `files`, for so many workers.
pub fn for_each_worker(files: &[LakeFile], workers: usize) -> Mutex<Vec<Arc<[LakeFile]>>> {
    Mutex::new(vec![files.into(); workers])
}

impl Engine {
    /// Runs until everything is read and committed, or `stop` is set.
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
        let mut inputs = Inputs { beginnings: Sender::new(), orders: Sender::new() };
        let watched = worker.dataflow(|scope| self.assemble(scope, &mut inputs))?;
        if worker.index() == 0 {
            self.mint(worker, inputs, &watched);
        } else {
            drop(inputs);
        }
        while worker.has_dataflows() {
            worker.step_or_park(Some(PARK_MAX));
        }
        Ok(())
    }

    /// The graph of a worker.
    fn assemble<'scope>(&self, scope: Scope<'scope, Epoch>, inputs: &mut Inputs) -> Result<Watched> {
        let plan = Plan::new(&self.definitions);
        let beginnings = scope.input_from(&mut inputs.beginnings).broadcast();
        let ticks = beginnings.clone().map(|beginning| beginning.tick);
        let queries = beginnings.flat_map(|beginning| beginning.queries);
        let committed = ProbeHandle::new();
        obey(scope.input_from(&mut inputs.orders).broadcast(), self.shutdown.clone());

        let stored = self.stored(ticks.clone(), &plan);
        let mut plays = stored.intakes.flat_map(|intake| intake.plays.clone());
        let mut reports = stored.reports.concat(self.pulse(ticks.clone()));
        if let Some(live) = &self.live {
            let source = self.live(live, ticks.clone())?;
            plays = plays.concat(source.intakes.clone().flat_map(|intake| intake.plays.clone()));
            reports = reports.concat(source.reports);
            self.store(live, source.intakes, ticks.clone(), &committed)?;
        }
        let tallied = checkpoint(ticks.clone(), self.checkpoint.clone(), self.fail);
        let charts = build(&self.definitions, ticks.clone(), plays, tallied, queries);

        let served = ProbeHandle::new();
        feed(charts, ticks, self.state.clone()).probe_with(&served);
        Ok(Watched { served, committed, reports: gather(reports) })
    }

    /// What the first worker of each process says of it.
    fn pulse<'scope>(&self, ticks: StreamVec<'scope, Epoch, Tick>) -> StreamVec<'scope, Epoch, Report> {
        let speaks = ticks.scope().index() % self.team.threads == 0;
        let (process, links) = (self.team.process(), self.team.links());
        let (shutdown, state) = (self.shutdown.clone(), self.state.clone());
        let look = move || ProcessReport {
            process,
            shutdown: shutdown.order(),
            paused: state.paused(),
            sent_bytes: links.iter().map(Link::sent_bytes).sum(),
        };
        pulse(ticks, speaks.then_some(look))
    }

    /// The source that reads the lake.
    fn stored<'scope>(&self, ticks: StreamVec<'scope, Epoch, Tick>, plan: &Plan) -> Source<'scope> {
        let (worker, workers) = (ticks.scope().index(), ticks.scope().peers());
        let window = self.clock_us.map(|clock_us| self.definitions.trending.window(clock_us));
        // A run goes on from its clock, so what lies after it will enter the window.
        let window_us = match (window, &self.live) {
            (Some((start, _)), Some(_)) => Some(start..i64::MAX),
            (Some((start, end)), None) => Some(start..end),
            (None, live) => live.as_ref().map(|_| i64::MIN..i64::MAX),
        };
        let is_replay = self.live.is_none();
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
            // A run can be asked about any track at any time; a replay says what is in its charts.
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

    /// The way of what was read into the lake.
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

    /// Worker 0's loop: hears what the sources report, and mints the ticks.
    fn mint(&self, worker: &mut Worker, mut inputs: Inputs, watched: &Watched) {
        let pace = Pace { window_us: self.definitions.trending.window_us, ..self.pace.clone() };
        let mut ticker = Ticker::new(pace, worker.peers(), self.last_epoch, self.clock_us);
        let (mut last_epoch, mut last_cut, mut first_live) = (None, None, None);
        // The epoch in which Kafka was read to its end.
        let mut ended_in = None;
        let mut ordered = false;
        loop {
            for report in watched.reports.borrow_mut().drain(..) {
                ticker.report(&report, Instant::now());
                self.hear(report);
            }
            if let Some(order) = self.shutdown.order().filter(|_| !ordered) {
                inputs.orders.send(order);
                inputs.orders.flush();
                ordered = true;
            }
            let complete_before = watched.served.with_frontier(|frontier| frontier.first().copied());
            let now = Now {
                instant: Instant::now(),
                wall_us: wall_us(),
                complete_before: complete_before.unwrap_or(Epoch::MAX),
                committed: last_cut.is_none_or(|cut| !watched.committed.less_equal(&cut)),
                asked: self.state.queries.are_waiting(),
                unread: self.state.has_unread(),
                stop: self.shutdown.is_due(),
            };
            if let Some(tick) = ticker.next(now) {
                self.state.metrics.began(tick.epoch, tick.cut.is_some());
                let mut queries = self.state.queries.begin(tick.epoch);
                if self.pace.replay && tick.stage == Stage::Stop {
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
            worker.step_or_park(Some(ticker.patience(now.instant)));
        }
    }

    /// Takes in what worker 0 is told.
    fn hear(&self, report: Report) {
        match &report {
            Report::Process(ProcessReport { process, shutdown: Some(order), .. })
                if *process != self.team.process() =>
            {
                self.shutdown.obey(match order {
                    Order::Stop => Order::Stop,
                    Order::Fail(reason) => Order::Fail(format!("process {process}: {reason}")),
                });
            }
            // Our own workers have counted theirs.
            Report::Lake(lake) if lake.worker >= self.team.threads => {
                self.progress.rows.fetch_add(lake.rows, Ordering::Relaxed);
            }
            _ => {}
        }
        self.state.reported(report);
    }
}

/// Brings all reports to worker 0.
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
