//! `/v1/stream`: server-sent events that keep a client's copy of a list up to date, by sending what
//! has changed.
//!
//! ```text
//!  epochs ──► a task per watched list ──► events ──► a bounded queue per client ──► socket
//! ```
//!
//! An event is made once, however many clients watch its list. The task of a list looks at the
//! charts when an epoch is complete, but no more often than the clients have asked for, and less
//! often the more clients and lists there are, so that all streams together cost a bounded share of
//! the one thread that serves. The queue of a client that does not read becomes full; the client is
//! sent to reload, its stream ends, and no other client is slowed down.
//!
//! An event's id is `incarnation-epoch-sequence`. A client that reconnects with the id of its last
//! event gets the events since, if they are still kept, or else whole lists.

mod body;
mod client;
mod list;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use tokio::sync::{mpsc, watch};

use super::budget::{Budget, Share};
use super::connections::ClientAddress;
use crate::state::State;
use crate::state::metrics::Total;
pub use body::Body;
use client::Client;
use list::List;
pub use list::{EventId, Watched};

/// The media type of a stream.
pub const MEDIA_TYPE: &str = "text/event-stream";
/// The most clients at the same time.
pub const CLIENTS_MAX: usize = 2000;
/// The most lists that are watched at the same time: each is a task.
pub const LISTS_MAX: usize = 256;
/// The least time between two looks at a list, by default.
pub const EVERY: Duration = Duration::from_millis(100);
/// The values that a client may ask for instead.
pub const INTERVALS: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(60);
/// The most events that wait for one client.
const QUEUE_EVENTS: usize = 64;
/// The pause between two looks at a list, for each client of any list. With it all streams take a
/// small part of a core, and other requests do not wait long. With a thousand clients, events are
/// sent twice a second.
const PER_CLIENT: Duration = Duration::from_micros(400);
/// The pause in addition to that, for each chart that any list watches.
const PER_CHART: Duration = Duration::from_micros(200);
/// Pauses are accumulated until they are this long: timers tick at 1 ms, and so a lone client gets
/// every epoch at once.
const PAUSE_MIN: Duration = Duration::from_millis(5);
/// The clients of a list that are sent events in one go. Writing to a thousand sockets in one go
/// would keep the thread from other requests, and the processor from the dataflow.
const GROUP: usize = 32;
/// The pause before the next group, which leaves the thread to other requests.
const GROUP_PAUSE: Duration = Duration::from_millis(2);
/// The time between two events with the status.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);
/// After this much silence a comment is sent: proxies close a connection that has been silent for a
/// minute.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// How long a list without clients is kept for clients that reconnect.
const KEPT: Duration = Duration::from_secs(30);

/// All lists that are watched.
pub struct Streams {
    state: Arc<State>,
    budget: Budget,
    lists: Mutex<HashMap<Watched, Arc<Mutex<List>>>>,
    /// The number of clients that are connected.
    pub clients: Arc<AtomicU64>,
    /// The number of charts that all lists together watch.
    charts: AtomicU64,
    /// The number of lists that keep events.
    kept_lists: Arc<AtomicU64>,
}

/// Why a client gets no stream.
#[derive(Debug, PartialEq, Eq)]
pub enum Full {
    /// [`CLIENTS_MAX`] clients are connected.
    Clients,
    /// [`LISTS_MAX`] lists are watched, and the client asks for another.
    Lists,
    /// The budget for answers has no memory for the lists that the client lacks, for this reason.
    Memory(&'static str),
}

impl Streams {
    /// Streams of the charts and the status in `state`. Their events count in `budget`.
    pub fn new(state: Arc<State>, budget: Budget) -> Arc<Self> {
        let clients = state.metrics.http.stream_clients.clone();
        let (lists, charts, kept_lists) = Default::default();
        Arc::new(Self { state, budget, lists, clients, charts, kept_lists })
    }

    /// Begins a stream of `watched` for `client`, from the event after `last` if that is still
    /// kept. Must be called on the thread that serves, in whose runtime the task of the list is
    /// spawned.
    ///
    /// # Errors
    /// If there are too many clients or lists, or memory is short.
    pub fn open(
        self: &Arc<Self>,
        client: ClientAddress,
        watched: Watched,
        last: Option<EventId>,
    ) -> Result<Body, Full> {
        if self.clients.load(Ordering::Relaxed) >= CLIENTS_MAX as u64 {
            return Err(Full::Clients);
        }
        let mut lists = lock(&self.lists);
        if !lists.contains_key(&watched) && lists.len() >= LISTS_MAX {
            return Err(Full::Lists);
        }
        let list = lists.entry(watched).or_insert_with_key(|watched| {
            let list = Arc::new(Mutex::new(self.list(watched.clone())));
            self.charts.fetch_add(watched.charts.len() as u64, Ordering::Relaxed);
            tokio::spawn(run_list(self.clone(), watched.clone(), list.clone(), self.state.epochs()));
            list
        });
        let mut list = lock(list);
        let before = list.since(last).into_iter().map(|event| self.budget.hold(Share::Answers, client, event));
        let before: Vec<Bytes> = before.collect::<Result<_, _>>().map_err(Full::Memory)?;
        let (queue, queued) = mpsc::channel(QUEUE_EVENTS);
        let is_slow = Arc::<AtomicBool>::default();
        list.clients.push(Client { queue, is_slow: is_slow.clone() });
        Ok(Body::new(before, queued, is_slow, &self.clients))
    }

    fn list(&self, watched: Watched) -> List {
        List::new(watched, self.state.clone(), self.budget.clone(), self.kept_lists.clone())
    }

    /// How long to pause between two looks at a list, so that the thread has time for other work.
    fn pause(&self) -> Duration {
        let times = |count: &AtomicU64| u32::try_from(count.load(Ordering::Relaxed)).unwrap_or(u32::MAX);
        PER_CLIENT.saturating_mul(times(&self.clients)) + PER_CHART.saturating_mul(times(&self.charts))
    }

    /// Sends `events` to each of `clients`. Returns those that are still connected and fast enough.
    async fn send_events(
        &self,
        reloads: &Total,
        mut clients: Vec<Client>,
        events: &[Bytes],
        is_short: bool,
    ) -> Vec<Client> {
        let mut sent = Vec::with_capacity(clients.len());
        while !clients.is_empty() {
            let group = clients.drain(clients.len().saturating_sub(GROUP)..);
            sent.extend(group.filter(|client| {
                !client.queue.is_closed() && events.iter().all(|event| client.send(event, reloads, is_short))
            }));
            if !events.is_empty() && !clients.is_empty() {
                tokio::time::sleep(GROUP_PAUSE).await;
            }
        }
        sent
    }

    /// Removes a list if it has no clients, and returns whether it had none.
    fn remove_idle(&self, watched: &Watched) -> bool {
        let mut lists = lock(&self.lists);
        let is_idle = lists.get(watched).is_some_and(|list| lock(list).clients.is_empty());
        if is_idle && lists.remove(watched).is_some() {
            self.charts.fetch_sub(watched.charts.len() as u64, Ordering::Relaxed);
        }
        is_idle
    }
}

/// The task of a list: looks at the charts again and again, and sends the list's clients what has
/// changed, until the list has had no clients for [`KEPT`].
async fn run_list(streams: Arc<Streams>, watched: Watched, list: Arc<Mutex<List>>, mut epochs: watch::Receiver<u64>) {
    let (mut last_sent, mut watched_at) = (LastSent { status: None, anything: Instant::now() }, Instant::now());
    let mut pauses = Pauses { due: Instant::now() };
    loop {
        let pause = watched.every.max(pauses.after(Instant::now(), streams.pause()));
        // Even a sleep of zero takes a millisecond.
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        // Epochs come at least every 200 ms, except while a run reads its lake. The timeout lets
        // clients get the status and comments then too.
        let _ = tokio::time::timeout(STATUS_INTERVAL, epochs.changed()).await;
        if streams.state.is_closed() {
            return lock(&list).clients.clear();
        }
        // A client that connects from here on gets the list as it is now.
        let (events, clients) = {
            let mut list = lock(&list);
            (last_sent.events(&mut list, &streams, watched.status), std::mem::take(&mut list.clients))
        };
        let sent = streams
            .send_events(&streams.state.metrics.http.stream_reloads, clients, &events, streams.budget.is_full())
            .await;
        if !sent.is_empty() {
            watched_at = Instant::now();
        }
        lock(&list).clients.extend(sent);
        if watched_at.elapsed() >= KEPT && streams.remove_idle(&watched) {
            return;
        }
    }
}

/// The pauses between looks at a list, accumulated until they are long enough for a timer.
struct Pauses {
    due: Instant,
}

impl Pauses {
    /// How long to pause after a look at `look`, if the looks have to be `share` apart on average.
    fn after(&mut self, look: Instant, share: Duration) -> Duration {
        self.due = self.due.max(look) + share;
        let rest = self.due - look;
        if rest < PAUSE_MIN { Duration::ZERO } else { rest }
    }
}

/// When the clients of a list were last sent something.
struct LastSent {
    /// When they were last sent the status.
    status: Option<Instant>,
    /// When they were last sent anything.
    anything: Instant,
}

impl LastSent {
    /// The events to send now: changes, the status if it is due, and a comment if there has been
    /// silence for too long.
    fn events(&mut self, list: &mut List, streams: &Streams, with_status: bool) -> Vec<Bytes> {
        let mut events = list.changes();
        let now = Instant::now();
        if with_status && self.status.is_none_or(|at| now.duration_since(at) >= STATUS_INTERVAL) {
            events.push(list::status(&streams.state.status_now()));
            self.status = Some(now);
        }
        if events.is_empty() && now.duration_since(self.anything) >= KEEP_ALIVE_INTERVAL {
            events.push(Bytes::from_static(b":\n\n"));
        }
        if !events.is_empty() {
            self.anything = now;
        }
        events
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
