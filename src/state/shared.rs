//! The state that all threads share: the charts of the newest complete epoch, the charts of the
//! last commit, and the status of the run.

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
use super::status::{OpenTransaction, Phase, Status};
use crate::kafka::Extent;
use crate::lake::sink::Committed;
use crate::process::memory::Parts;
use crate::process::wall::wall_ms;
use crate::report::rejected::{NewestRejected, RejectedRecord};
use crate::report::{KafkaReport, PartitionReport, ProcessReport, Report};

/// The state of a run. The dataflow and the reports of sources write it; HTTP, the screen, the
/// changelog and the metrics read it.
pub struct State {
    charts: RwLock<Charts>,
    durable: Mutex<Durable>,
    status: RwLock<Status>,
    /// The newest report of each partition.
    partitions: RwLock<BTreeMap<i32, PartitionReport>>,
    /// The next offset of each partition after those in the lake.
    committed: RwLock<BTreeMap<i32, i64>>,
    /// The newest dead letters of all workers.
    rejected: Mutex<NewestRejected>,
    /// When the next commit is due; `None` when there is nothing to commit.
    commit_due: Mutex<Option<Instant>>,
    /// Why this process cannot write at the moment.
    paused: Mutex<Option<String>>,
    /// The newest report of each process.
    processes: Mutex<BTreeMap<usize, ProcessReport>>,
    /// Offsets that were missing in the lake before this run.
    missing_before: AtomicU64,
    /// Whether `/readyz` reports ready: the charts of the lake are served.
    pub ready: AtomicBool,
    /// Whether the last look at Kafka found no unread play.
    all_seen: AtomicBool,
    /// The bytes that each worker has read and that are not in the lake.
    uncommitted_bytes: Mutex<BTreeMap<usize, u64>>,
    /// The number of this start among the lake's writers.
    incarnation: AtomicI64,
    /// The most memory that this process may hold; 0 if unknown.
    memory_max_bytes: AtomicU64,
    /// Queries to the workers that are not answered yet.
    pub queries: PendingQueries,
    epochs: watch::Sender<Epoch>,
    /// Whether the run is over.
    is_closed: AtomicBool,
    /// Counters and histograms.
    pub metrics: Metrics,
    /// Messages that have been published to the changelog.
    pub changelog_published: AtomicU64,
}

impl State {
    /// The state at the start of a run, with `charts` that have no entries yet.
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

    /// The charts of the newest complete epoch. This and every other lock here ignores poisoning:
    /// the panic that poisoned it already ends the run with a better message.
    pub fn charts(&self) -> RwLockReadGuard<'_, Charts> {
        self.charts.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The charts of the newest complete epoch, to be changed.
    pub fn charts_mut(&self) -> RwLockWriteGuard<'_, Charts> {
        self.charts.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The status, without the values that depend on the present moment; see
    /// [`status_now`](Self::status_now).
    pub fn status(&self) -> RwLockReadGuard<'_, Status> {
        self.status.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// A copy of the status, with the values that depend on the present moment.
    pub fn status_now(&self) -> Status {
        let due = *self.commit_due.lock().unwrap_or_else(PoisonError::into_inner);
        let next_commit_ms = due.map(|due| due.saturating_duration_since(Instant::now()).as_millis() as u64);
        Status { next_commit_ms, ..self.status().clone() }
    }

    /// The status, to be changed.
    pub fn status_mut(&self) -> RwLockWriteGuard<'_, Status> {
        self.status.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn durable(&self) -> MutexGuard<'_, Durable> {
        self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The charts at the last commit; `None` until all of the lake has been counted.
    pub fn durable_charts(&self) -> Option<Arc<Charts>> {
        self.durable().charts()
    }

    /// The number of this start among the lake's writers.
    pub fn incarnation(&self) -> i64 {
        self.incarnation.load(Ordering::Relaxed)
    }

    /// The most memory that this process may hold, in bytes; 0 if unknown.
    pub fn memory_max_bytes(&self) -> u64 {
        self.memory_max_bytes.load(Ordering::Relaxed)
    }

    /// Sets the most memory that this process may hold.
    pub fn limit_memory(&self, max_bytes: u64) {
        self.memory_max_bytes.store(max_bytes, Ordering::Relaxed);
    }

    /// Notes that the run has opened the lake as writer number `incarnation`, and that the lake is
    /// at `as_of`.
    pub fn opened(&self, incarnation: i64, as_of: AsOf) {
        self.incarnation.store(incarnation, Ordering::Relaxed);
        self.charts_mut().set_as_of(AsOf { lake_version: as_of.lake_version, ..AsOf::default() });
        self.durable().open(as_of);
    }

    /// Folds in the changes of a complete epoch, under its clock if it had a tick; then sends the
    /// answers of its queries and wakes the readers of [`epochs`](Self::epochs).
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

    /// Ends the run: no more epochs will come, and pending queries are dropped.
    pub fn close(&self) {
        self.queries.close();
        self.is_closed.store(true, Ordering::Relaxed);
        self.epochs.send_modify(|_| {});
    }

    /// The newest complete epoch. The receiver wakes at each epoch, and when the run ends.
    pub fn epochs(&self) -> watch::Receiver<Epoch> {
        self.epochs.subscribe()
    }

    /// Whether the run is over, so that no more epochs will come.
    pub fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Relaxed)
    }

    /// Sets when the next commit is due; `None` when there is nothing to commit.
    pub fn commit_is_due(&self, at: Option<Instant>) {
        *self.commit_due.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }

    /// Updates readiness and phase at a tick. `rebuilt`: the charts of the lake are served.
    /// `caught_up`: every partition has been read to its end once.
    pub fn ticked(&self, rebuilt: bool, caught_up: bool) {
        if rebuilt && !self.ready.load(Ordering::Relaxed) {
            // If a live epoch had been folded in, the durable charts would exist already.
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

    /// Sets where the lake was when the run began: the next offset of each partition, and the
    /// offsets that were missing by then.
    pub fn began(&self, offsets: &BTreeMap<i32, i64>, missing: u64) {
        self.committed.write().unwrap_or_else(PoisonError::into_inner).clone_from(offsets);
        self.missing_before.store(missing, Ordering::Relaxed);
        self.status_mut().missing = missing;
    }

    /// The next offset of each partition after those in the lake.
    pub fn committed_offsets(&self) -> BTreeMap<i32, i64> {
        self.committed.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes that a commit is in the lake's log.
    pub fn committed(&self, commit: &Committed) {
        let Committed { cut, version, plays, dead_letters, files, bytes, ref offsets } = *commit;
        let totals = &self.metrics.totals;
        // A cut without new records or offsets adds no version.
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

    /// Sets why this process cannot write at the moment; `None` if it can.
    pub fn pause(&self, reason: Option<String>) {
        *self.paused.lock().unwrap_or_else(PoisonError::into_inner) = reason;
        self.show_pauses(&self.processes.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Why this process cannot write at the moment; `None` if it can.
    pub fn paused(&self) -> Option<String> {
        self.paused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The parts of this process's memory that are counted.
    pub fn memory_parts(&self) -> Parts {
        let uncommitted = self.uncommitted_bytes.lock().unwrap_or_else(PoisonError::into_inner);
        Parts {
            answers_bytes: self.metrics.http.held_bytes.load(Ordering::Relaxed),
            uncommitted_bytes: uncommitted.values().sum(),
        }
    }

    /// Sets how many bytes a worker of this process has read that are not in the lake yet.
    pub fn holds_uncommitted(&self, worker: usize, bytes: u64) {
        self.uncommitted_bytes.lock().unwrap_or_else(PoisonError::into_inner).insert(worker, bytes);
    }

    /// Takes in a report of a source or of a process.
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

    /// Shows why writing is paused in any process. For process 0 this reads `paused`, because its
    /// last report may be outdated if no more ticks come.
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
            // The broker's end may be older than the report.
            partition.end_offset = partition.end_offset.map(|end| end.max(report.next));
            // Offsets that were in the lake at the start are committed too.
            partition.committed_offset = partition.committed_offset.or(committed.get(&report.partition).copied());
        }
        status.measure_lag();
    }

    /// The newest `limit` dead letters of this run that are still in memory, newest first.
    pub fn newest_dead_letters(&self, limit: usize) -> Vec<RejectedRecord> {
        self.rejected.lock().unwrap_or_else(PoisonError::into_inner).newest(limit).cloned().collect()
    }

    /// The most frequent kind of dead letter in `status`, with an example.
    pub fn most_rejected(&self, status: &Status) -> Option<Rejects> {
        let rejected = self.rejected.lock().unwrap_or_else(PoisonError::into_inner);
        rejects::most(&status.topic, &status.dead_letters, rejected.newest(usize::MAX))
    }

    /// Notes why the ends of the partitions cannot be fetched from Kafka.
    pub fn set_kafka_silent(&self, reason: String) {
        self.status_mut().kafka_silent = Some(reason);
    }

    /// Notes the ends of the partitions as Kafka reports them, and the records behind an open
    /// transaction. `all_seen`: the ends of all partitions are known and no transaction hides
    /// records.
    pub fn set_extents(&self, extents: &BTreeMap<i32, Extent>, open: Option<OpenTransaction>, all_seen: bool) {
        let mut status = self.status_mut();
        (status.kafka_silent, status.open_transaction) = (None, open);
        for (partition, extent) in extents {
            status.partition(*partition).end_offset = Some(extent.end);
        }
        status.measure_lag();
        self.set_all_seen(all_seen && status.lag == Some(0));
    }

    /// Sets whether the last look at Kafka found no unread play.
    pub fn set_all_seen(&self, all_seen: bool) {
        self.all_seen.store(all_seen, Ordering::Relaxed);
    }

    /// Whether Kafka may hold unread plays: true unless the last look found none.
    pub fn has_unread(&self) -> bool {
        !self.all_seen.load(Ordering::Relaxed)
    }
}
