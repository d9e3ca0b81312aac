//! Queries that HTTP has put to the workers and that are not answered yet.
//!
//! HTTP adds a query, worker 0 puts it into the dataflow with its next tick, and the findings of
//! all workers are complete when that epoch is. An answer therefore holds for one epoch, the same
//! as the charts at that moment.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use reprise_dataflows::Epoch;
use reprise_dataflows::query::{Answer, Finding, Query, QueryKind};
use tokio::sync::oneshot;

use super::charts::AsOf;

/// The most queries that may be pending at the same time.
const OPEN_MAX: usize = 256;
/// The most queries that one epoch takes: each costs the workers time, which delays the epoch's
/// plays.
const EPOCH_MAX: usize = 32;
/// The least time between two queries that scan every track: each takes every worker some
/// milliseconds.
const COSTLY_INTERVAL: Duration = Duration::from_millis(50);

/// The answer to a query.
#[derive(Debug)]
pub struct Findings {
    /// The epoch and clock that the answer holds for.
    pub as_of: AsOf,
    /// The findings of all workers, in no order.
    pub found: Vec<Finding>,
}

/// The queries that are not answered yet.
#[derive(Default)]
pub struct PendingQueries(Mutex<Open>);

#[derive(Default)]
struct Open {
    last_id: u64,
    answered: u64,
    /// When the last query that scans every track was taken.
    costly_at: Option<Instant>,
    /// Whether the run is over, so that no query will be answered any more.
    closed: bool,
    /// Queries that no epoch has taken yet, by id.
    waiting: BTreeMap<u64, PendingQuery>,
    /// Queries that are in the dataflow, by id.
    in_flight: BTreeMap<u64, PendingQuery>,
}

struct PendingQuery {
    kind: QueryKind,
    epoch: Epoch,
    found: Vec<Finding>,
    answer: oneshot::Sender<Findings>,
}

impl PendingQueries {
    /// Adds a query; `None` if too many are pending. If the run is over, or ends before the answer,
    /// the receiver's channel is closed.
    pub fn submit(&self, kind: QueryKind) -> Option<oneshot::Receiver<Findings>> {
        let mut open = self.open();
        // A client that has disconnected makes room.
        open.waiting.retain(|_, pending| !pending.answer.is_closed());
        if open.waiting.len() + open.in_flight.len() >= OPEN_MAX {
            return None;
        }
        let (answer, answered) = oneshot::channel();
        if open.closed {
            return Some(answered);
        }
        open.last_id += 1;
        let id = open.last_id;
        open.waiting.insert(id, PendingQuery { kind, epoch: 0, found: Vec::new(), answer });
        Some(answered)
    }

    /// Whether any query waits for an epoch.
    pub fn are_waiting(&self) -> bool {
        !self.open().waiting.is_empty()
    }

    /// Ends the run: drops all pending queries, which closes the channels of their answers.
    pub fn close(&self) {
        let mut open = self.open();
        open.closed = true;
        open.waiting.clear();
        open.in_flight.clear();
    }

    /// The number of queries that have been answered.
    pub fn answered(&self) -> u64 {
        self.open().answered
    }

    /// Takes the queries that go into the dataflow with `epoch`.
    pub fn begin(&self, epoch: Epoch) -> Vec<Query> {
        let mut open = self.open();
        open.waiting.retain(|_, pending| !pending.answer.is_closed());
        let now = Instant::now();
        let mut may_be_costly = open.costly_at.is_none_or(|at| now.duration_since(at) >= COSTLY_INTERVAL);
        let mut fits = |kind: &QueryKind| !is_costly(kind) || std::mem::take(&mut may_be_costly);
        let fitting = open.waiting.iter().filter(|(_, pending)| fits(&pending.kind)).map(|(id, _)| *id);
        let taken: Vec<u64> = fitting.take(EPOCH_MAX).collect();
        let mut queries = Vec::new();
        for id in taken {
            let Some(mut pending) = open.waiting.remove(&id) else { continue };
            pending.epoch = epoch;
            if is_costly(&pending.kind) {
                open.costly_at = Some(now);
            }
            queries.push(Query { id, kind: pending.kind.clone() });
            open.in_flight.insert(id, pending);
        }
        queries
    }

    /// Sends the answers of all queries up to the epoch of `as_of`, which the charts have reached.
    /// `answers` are what the workers have found since the last call.
    pub fn complete(&self, as_of: AsOf, answers: Vec<Answer>) {
        let mut open = self.open();
        for Answer { id, found } in answers {
            if let Some(pending) = open.in_flight.get_mut(&id) {
                pending.found.push(found);
            }
        }
        if open.in_flight.is_empty() {
            return;
        }
        let pending = std::mem::take(&mut open.in_flight).into_iter();
        let (done, later): (BTreeMap<_, _>, _) = pending.partition(|(_, pending)| pending.epoch <= as_of.epoch);
        open.in_flight = later;
        open.answered += done.len() as u64;
        for PendingQuery { found, answer, .. } in done.into_values() {
            // Fails if the client has disconnected.
            let _ = answer.send(Findings { as_of, found });
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_costly(kind: &QueryKind) -> bool {
    matches!(kind, QueryKind::Search { .. } | QueryKind::Artist { .. } | QueryKind::Window { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn track() -> QueryKind {
        QueryKind::Track("S1".to_owned())
    }

    fn as_of(epoch: u64) -> AsOf {
        AsOf { epoch, ..AsOf::default() }
    }

    #[test]
    fn answers_come_with_their_epoch() {
        let queries = PendingQueries::default();
        let mut first = queries.submit(track()).unwrap();
        assert!(queries.are_waiting());
        let pending = queries.begin(10);
        let mut second = queries.submit(track()).unwrap();
        assert_eq!((pending.len(), queries.begin(11).len(), queries.are_waiting()), (1, 1, false));
        queries.complete(as_of(9), Vec::new());
        assert!(first.try_recv().is_err());
        queries.complete(as_of(10), vec![Answer { id: pending[0].id, found: Finding::KnownFrom(3) }]);
        let findings = first.try_recv().unwrap();
        assert_eq!((findings.as_of.epoch, findings.found), (10, vec![Finding::KnownFrom(3)]));
        assert!(second.try_recv().is_err());
        queries.complete(as_of(11), Vec::new());
        assert_eq!(second.try_recv().unwrap().found, []);
    }

    #[test]
    fn an_epoch_takes_a_limited_number() {
        let queries = PendingQueries::default();
        let window =
            || QueryKind::Window { end_us: 0, scope: reprise_dataflows::rules::definition::Scope::Global, limit: 1 };
        let costly: Vec<_> = (0..3).map(|_| queries.submit(window()).unwrap()).collect();
        let others: Vec<_> = (0..EPOCH_MAX).map(|_| queries.submit(track()).unwrap()).collect();
        assert_eq!(queries.begin(1).len(), EPOCH_MAX);
        assert_eq!(queries.begin(2).len(), 1);
        assert_eq!(queries.begin(3).len(), 0);
        std::thread::sleep(COSTLY_INTERVAL);
        assert_eq!(queries.begin(4).len(), 1);
        drop((costly, others));
        assert_eq!(queries.begin(5).len(), 0);
        assert!(!queries.are_waiting());
    }

    #[test]
    fn the_end_of_a_run_closes_every_channel() {
        let queries = PendingQueries::default();
        let (mut pending, mut waiting) = (queries.submit(track()).unwrap(), queries.submit(track()).unwrap());
        assert_eq!(queries.begin(1).len(), 2);
        queries.close();
        let mut late = queries.submit(track()).unwrap();
        for answer in [&mut pending, &mut waiting, &mut late] {
            assert_eq!(answer.try_recv().err(), Some(oneshot::error::TryRecvError::Closed));
        }
    }

    #[test]
    fn a_disconnected_client_makes_room() {
        let queries = PendingQueries::default();
        let waiting: Vec<_> = (0..OPEN_MAX).map(|_| queries.submit(track()).unwrap()).collect();
        assert!(queries.submit(track()).is_none());
        drop(waiting);
        assert!(queries.submit(track()).is_some());
    }
}
