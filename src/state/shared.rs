//! What the dataflow tells the rest of the process: the charts of the newest complete epoch, those of the last commit, and
//! how the run is doing.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;

use reprise_dataflows::query::Answer;
use reprise_dataflows::{Epoch, Tick};
use tokio::sync::watch;

use super::charts::{AsOf, Changes, Charts};
use super::durable::{CommittedCut, Durable};
use super::metrics::Metrics;
use super::pending_queries::PendingQueries;
use super::rejects::{self, Rejects};
use super::status::{OpenTransaction, PartitionStatus, Phase, Status};
use crate::kafka::Extent;
use crate::lake::sink::Committed;
use crate::process::memory::Parts;
use crate::process::wall::wall_ms;
use crate::report::rejected::{NewestRejected, RejectedRecord};
use crate::report::{KafkaReport, PartitionReport, ProcessReport, Report};

/// What the dataflow tells and HTTP answers from.
pub struct State {
    charts: RwLock<Charts>,
    durable: Mutex<Durable>,
    status: RwLock<Status>,
    /// The newest report of each partition.
    partitions: RwLock<BTreeMap<i32, PartitionReport>>,
    /// What the lake has committed.
    committed: RwLock<BTreeMap<i32, i64>>,
    /// The newest dead letters of all workers.
    rejected: Mutex<NewestRejected>,
    /// When the next commit is due; `None` when there is nothing to commit.
    commit_due: Mutex<Option<Instant>>,
    /// Why this process cannot write for the moment.
    paused: Mutex<Option<String>>,
    /// The newest report of each process.
    processes: Mutex<BTreeMap<usize, ProcessReport>>,
    /// Offsets that were missing in the lake before this run.
    missing_before: AtomicU64,
    /// Whether `/readyz` says so.
    pub ready: AtomicBool,
    /// Whether Kafka has said lately that it holds no play that has not been read.
    all_seen: AtomicBool,
    /// What each worker holds of what was read and is not in the lake.
    uncommitted_bytes: Mutex<BTreeMap<usize, u64>>,
    /// Which start of the lake's writer this is.
    incarnation: AtomicI64,
    memory_max_bytes: AtomicU64,
    pub queries: PendingQueries,
    epochs: watch::Sender<Epoch>,
    /// The run is over.
    is_closed: AtomicBool,
    pub metrics: Metrics,
    /// Messages that have been published to the changelog.
    pub changelog_published: AtomicU64,
}

impl State {
    pub fn new(charts: Charts) -> Self {
        let (durable, status, partitions, committed) = Default::default();
        let (rejected, commit_due, paused, processes, missing_before) = Default::default();
        let (ready, all_seen) = Default::default();
        let (incarnation, memory_max_bytes, queries, epochs, is_closed, metrics) = Default::default();
        Self {
            charts: RwLock::new(charts),
            durable,
            status,
            partitions,
            committed,
            rejected,
            commit_due,
            paused,
            processes,
            missing_before,
            ready,
            all_seen,
            uncommitted_bytes: Mutex::default(),
            incarnation,
            memory_max_bytes,
            queries,
            epochs,
            is_closed,
            metrics,
            changelog_published: AtomicU64::new(0),
        }
    }

    /// Like the other three, it goes on after a panic elsewhere: what panicked ends the run, and says more than we could.
    pub fn charts(&self) -> RwLockReadGuard<'_, Charts> {
        self.charts.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn charts_mut(&self) -> RwLockWriteGuard<'_, Charts> {
        self.charts.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn status(&self) -> RwLockReadGuard<'_, Status> {
        self.status.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// A copy of the status, with what depends on the present moment.
    pub fn status_now(&self) -> Status {
        let due = *self.commit_due.lock().unwrap_or_else(PoisonError::into_inner);
        let next_commit_ms = due.map(|due| due.saturating_duration_since(Instant::now()).as_millis() as u64);
        Status { next_commit_ms, ..self.status().clone() }
    }

    pub fn status_mut(&self) -> RwLockWriteGuard<'_, Status> {
        self.status.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn durable(&self) -> MutexGuard<'_, Durable> {
        self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The charts at the last commit; none until all of the lake has been counted.
    pub fn durable_charts(&self) -> Option<Arc<Charts>> {
        self.durable().charts()
    }

    /// Which start of the lake's writer this is.
    pub fn incarnation(&self) -> i64 {
        self.incarnation.load(Ordering::Relaxed)
    }

    /// How much this process may hold; 0 if nobody knows.
    pub fn memory_max_bytes(&self) -> u64 {
        self.memory_max_bytes.load(Ordering::Relaxed)
    }

    pub fn limit_memory(&self, max_bytes: u64) {
        self.memory_max_bytes.store(max_bytes, Ordering::Relaxed);
    }

    /// The run is start number `incarnation` of the lake's writer, and begins with what the lake holds at `as_of`.
    pub fn opened(&self, incarnation: i64, as_of: AsOf) {
        self.incarnation.store(incarnation, Ordering::Relaxed);
        self.charts_mut().set_as_of(AsOf { lake_version: as_of.lake_version, ..AsOf::default() });
        self.durable().open(as_of);
    }

    /// An epoch is complete: its changes are folded in, under its clock if it had a tick, and whoever waits for it is told.
    pub fn advance(&self, epoch: Epoch, tick: Option<Tick>, changes: Changes, answers: Vec<Answer>) {
        let mut charts = self.charts_mut();
        let clock_us = tick.map_or(charts.as_of().clock_us, |tick| tick.clock_us);
        self.durable().advance(tick, &changes, &charts);
        charts.apply(changes);
        let as_of = AsOf { epoch, clock_us, ..charts.as_of() };
        charts.set_as_of(as_of);
        drop(charts);
        self.queries.complete(as_of, answers);
        self.epochs.send_replace(epoch);
        self.metrics.totals.epochs.add(1);
        let freshness_ms = self.metrics.served(epoch, wall_ms());
        let mut status = self.status_mut();
        (status.epoch, status.clock_us) = (epoch, clock_us);
        status.freshness_ms = freshness_ms.or(status.freshness_ms);
    }

    /// No more epochs are to come.
    pub fn close(&self) {
        self.queries.close();
        self.is_closed.store(true, Ordering::Relaxed);
        self.epochs.send_modify(|_| {});
    }

    /// The newest complete epoch, and a wake-up for each, also when no more are to come.
    pub fn epochs(&self) -> watch::Receiver<Epoch> {
        self.epochs.subscribe()
    }

    /// Whether no more epochs are to come.
    pub fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Relaxed)
    }

    /// When the next commit is due; `None` when there is nothing to commit.
    pub fn commit_is_due(&self, at: Option<Instant>) {
        *self.commit_due.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }

    /// Whether the charts of the lake are served, and whether those of all that Kafka had when its end was reached.
    pub fn ticked(&self, rebuilt: bool, caught_up: bool) {
        if rebuilt && !self.ready.load(Ordering::Relaxed) {
            // No live epoch has been folded in yet, or the durable charts would be there already.
            let charts = self.charts();
            self.durable().rebuilt(&charts);
            drop(charts);
            self.ready.store(true, Ordering::Release);
            self.status_mut().ready = true;
        }
        let phase = match (self.ready.load(Ordering::Relaxed), caught_up) {
            (false, _) => Phase::Rebuilding,
            (true, false) => Phase::CatchingUp,
            (true, true) => Phase::Live,
        };
        let before = self.status();
        if (before.caught_up, before.phase) != (caught_up, phase) {
            drop(before);
            let mut status = self.status_mut();
            (status.caught_up, status.phase) = (caught_up, phase);
        }
    }

    /// Where the lake was when the run began.
    pub fn began(&self, offsets: &BTreeMap<i32, i64>, missing: u64) {
        self.committed.write().unwrap_or_else(PoisonError::into_inner).clone_from(offsets);
        self.missing_before.store(missing, Ordering::Relaxed);
        self.status_mut().missing = missing;
    }

    /// The next offset of each partition after those that are safe in the lake.
    pub fn committed_offsets(&self) -> BTreeMap<i32, i64> {
        self.committed.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A commit is in the log.
    pub fn committed(&self, commit: &Committed) {
        let Committed { cut, version, plays, dead_letters, files, bytes, ref offsets } = *commit;
        let totals = &self.metrics.totals;
        // A cut that says nothing new adds no version.
        if self.status().lake_version < Some(version) {
            totals.commits.add(1);
            self.metrics.committed();
        }
        totals.commit_plays.add(plays);
        totals.commit_files.add(files);
        totals.commit_bytes.add(bytes);
        self.durable().committed(CommittedCut { cut, version });
        let mut charts = self.charts_mut();
        let as_of = AsOf { lake_version: Some(version), ..charts.as_of() };
        charts.set_as_of(as_of);
        drop(charts);
        self.committed.write().unwrap_or_else(PoisonError::into_inner).clone_from(offsets);
        let mut status = self.status_mut();
        status.lake_version = Some(version);
        status.lake_plays += plays;
        status.lake_dead_letters += dead_letters;
        status.uncommitted_plays = status.accepted.saturating_sub(totals.commit_plays.load());
        for partition in &mut status.partitions {
            partition.committed_offset = offsets.get(&partition.partition).copied().or(partition.committed_offset);
        }
    }

    /// This process cannot write, for a reason, or it can again.
    pub fn pause(&self, reason: Option<String>) {
        *self.paused.lock().unwrap_or_else(PoisonError::into_inner) = reason;
        self.show_pauses(&self.processes.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Why this process cannot write for the moment.
    pub fn paused(&self) -> Option<String> {
        self.paused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What of this process's memory can be measured.
    pub fn memory_parts(&self) -> Parts {
        let uncommitted = self.uncommitted_bytes.lock().unwrap_or_else(PoisonError::into_inner);
        Parts {
            answers_bytes: self.metrics.http.held_bytes.load(Ordering::Relaxed),
            uncommitted_bytes: uncommitted.values().sum(),
        }
    }

    /// A worker of this process holds so many bytes that are not in the lake yet.
    pub fn holds_uncommitted(&self, worker: usize, bytes: u64) {
        self.uncommitted_bytes.lock().unwrap_or_else(PoisonError::into_inner).insert(worker, bytes);
    }

    /// A source or a process has reported.
    pub fn reported(&self, report: Report) {
        match report {
            Report::Lake(_) => {}
            Report::Kafka(kafka) => self.reported_partitions(kafka),
            Report::Process(process) => self.reported_process(process),
        }
    }

    fn reported_process(&self, report: ProcessReport) {
        let mut processes = self.processes.lock().unwrap_or_else(PoisonError::into_inner);
        processes.insert(report.process, report);
        self.status_mut().exchanged_bytes = processes.values().map(|process| process.sent_bytes).sum();
        self.show_pauses(&processes);
    }

    /// What process 0 has reported of itself may be old: the last tick may have gone by.
    fn show_pauses(&self, processes: &BTreeMap<usize, ProcessReport>) {
        let others = processes.values().filter(|report| report.process > 0);
        let mut others =
            others.filter_map(|report| Some(format!("process {}: {}", report.process, report.paused.as_ref()?)));
        let paused = self.paused().or_else(|| others.next());
        self.status_mut().paused = paused;
    }

    fn reported_partitions(&self, report: KafkaReport) {
        let KafkaReport { partitions: reports, closed, times, rejected, .. } = report;
        self.rejected.lock().unwrap_or_else(PoisonError::into_inner).extend(rejected);
        let freshness_ms = closed.and_then(|(epoch, oldest_ms)| self.metrics.closed(epoch, oldest_ms));
        let committed = self.committed_offsets();
        let mut partitions = self.partitions.write().unwrap_or_else(PoisonError::into_inner);
        partitions.extend(reports.into_iter().map(|report| (report.partition, report)));
        let mut status = self.status_mut();
        status.freshness_ms = freshness_ms.or(status.freshness_ms);
        self.metrics.totals.window_misses.add(times.missed);
        self.metrics.totals.missed_by_us.add(times.missed_by_us);
        status.accepted = partitions.values().map(|partition| partition.accepted).sum();
        status.uncommitted_plays = status.accepted.saturating_sub(self.metrics.totals.commit_plays.load());
        status.holes = partitions.values().map(|partition| partition.holes).sum();
        let missing: u64 = partitions.values().map(|partition| partition.missing).sum();
        status.missing = self.missing_before.load(Ordering::Relaxed) + missing;
        status.dead_letters.clear();
        for (reason, count) in partitions.values().flat_map(|partition| &partition.dead_letters) {
            *status.dead_letters.entry(reason.clone()).or_default() += count;
        }
        let has_none = status.accepted == 0 && status.lake_plays == 0;
        let most = if has_none { self.most_rejected(&status) } else { None };
        let before = (has_none && status.lake_dead_letters > 0).then(|| rejects::none_before(status.lake_dead_letters));
        let since = most.map(|most| rejects::no_plays(status.dead_letters.values().sum(), &most));
        status.no_plays = since.or(before);
        for report in partitions.values() {
            let partition = status.partition(report.partition);
            (partition.start_offset, partition.next_offset) = (report.start, report.next);
            // The broker's word may be older than the report.
            partition.end_offset = partition.end_offset.map(|end| end.max(report.next));
            // What the run has found in its lake is committed too.
            partition.committed_offset = partition.committed_offset.or(committed.get(&report.partition).copied());
        }
        status.measure_lag();
    }

    /// The newest `limit` dead letters of this run that are still in memory, newest first.
    pub fn newest_dead_letters(&self, limit: usize) -> Vec<RejectedRecord> {
        self.rejected.lock().unwrap_or_else(PoisonError::into_inner).newest(limit).cloned().collect()
    }

    /// What most of the dead letters of `status` are.
    pub fn most_rejected(&self, status: &Status) -> Option<Rejects> {
        let rejected = self.rejected.lock().unwrap_or_else(PoisonError::into_inner);
        rejects::most(&status.topic, &status.dead_letters, rejected.newest(usize::MAX))
    }

    /// The broker does not say where the partitions end, for a reason.
    pub fn kafka_is_silent(&self, reason: String) {
        self.status_mut().kafka_silent = Some(reason);
    }

    /// The broker has said where the partitions end, and whether a transaction hides what comes next. `all_seen` means that it has told
    /// of all partitions and hides nothing.
    pub fn measured(&self, extents: &BTreeMap<i32, Extent>, open: Option<OpenTransaction>, all_seen: bool) {
        let mut status = self.status_mut();
        (status.kafka_silent, status.open_transaction) = (None, open);
        for (partition, extent) in extents {
            status.partition(*partition).end_offset = Some(extent.end);
        }
        status.measure_lag();
        self.all_seen(all_seen && status.lag == Some(0));
    }

    /// Notes whether Kafka has said that it holds no play that has not been read.
    pub fn all_seen(&self, all_seen: bool) {
        self.all_seen.store(all_seen, Ordering::Relaxed);
    }

    /// Whether Kafka may hold plays that have not been read, as far as is known.
    pub fn has_unread(&self) -> bool {
        !self.all_seen.load(Ordering::Relaxed)
    }
}

impl Status {
    fn partition(&mut self, partition: i32) -> &mut PartitionStatus {
        let place = self.partitions.partition_point(|known| known.partition < partition);
        if self.partitions.get(place).is_none_or(|known| known.partition != partition) {
            self.partitions.insert(place, PartitionStatus { partition, ..PartitionStatus::default() });
        }
        &mut self.partitions[place]
    }

    fn measure_lag(&mut self) {
        for partition in &mut self.partitions {
            partition.lag = partition.end_offset.map(|end| (end - partition.next_offset).max(0));
        }
        let lags = self.partitions.iter().map(|partition| partition.lag);
        self.lag = lags.sum::<Option<i64>>().filter(|_| !self.partitions.is_empty());
    }
}
