//! `/v1/stream`: server-sent events that keep a list up to date, by what has changed in it.
//!
//! ```text
//!  epochs ──► a task for each list that somebody watches ──► pieces of text ──► a bounded queue for each client ──► socket
//! ```
//!
//! An event is made once, however many watch. A list is looked at when an epoch is complete, but no more often than
//! asked for, and less often the more clients and lists there are, so that all of them together cost a bounded share
//! of the one thread that serves. A client that does not read finds its queue full, is told to load anew, and has
//! slowed down nobody.
//!
//! An event's id is `incarnation-epoch-sequence`. Who comes back with the last id that it has seen gets the events since, if they
//! are still there, or else whole lists.

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

pub const MEDIA_TYPE: &str = "text/event-stream";
/// Clients at the same time.
pub const CLIENTS_MAX: usize = 2000;
/// Lists that are watched at the same time: each is a task.
pub const LISTS_MAX: usize = 256;
/// Between two looks at a list, unless told otherwise, and from when to when it can be told.
pub const EVERY: Duration = Duration::from_millis(100);
pub const INTERVALS: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(60);
/// Events that wait for one client.
const QUEUE_EVENTS: usize = 64;
/// What there is between two looks at a list for each client of any list, and for each list of a chart that is
/// watched: then all of them take a small part of a core, and who waits for another answer does not wait long. A
/// thousand clients hear news twice a second.
const PER_CLIENT: Duration = Duration::from_micros(400);
const PER_CHART: Duration = Duration::from_micros(200);
/// Pauses are added up until they are this long: a timer's grain is a millisecond, and a lone client hears of each epoch at once.
const PAUSE_MIN: Duration = Duration::from_millis(5);
/// Clients of a list that are told at once, and what is left to others before the next: a thousand sockets written to
/// in one go would take the thread from all who ask, and the processor from the dataflow.
const GROUP: usize = 32;
const GROUP_PAUSE: Duration = Duration::from_millis(2);
const STATUS_INTERVAL: Duration = Duration::from_secs(1);
/// Proxies close what has been silent for a minute.
const SILENCE_MAX: Duration = Duration::from_secs(15);
/// How long a list that nobody watches any more is kept for who comes back.
const KEPT: Duration = Duration::from_secs(30);

/// All lists that are watched.
pub struct Streams {
    state: Arc<State>,
    budget: Budget,
    lists: Mutex<HashMap<Watched, Arc<Mutex<List>>>>,
    pub clients: Arc<AtomicU64>,
    /// Charts that are watched, of all lists together.
    charts: AtomicU64,
    /// Lists that keep events.
    kept_lists: Arc<AtomicU64>,
}

/// Why a client gets no stream.
#[derive(Debug, PartialEq, Eq)]
pub enum Full {
    Clients,
    Lists,
    /// The budget for answers has no room for the lists that the client lacks, for this reason.
    Memory(&'static str),
}

impl Streams {
    /// Streams of what `state` says, in the budget for answers.
    pub fn new(state: Arc<State>, budget: Budget) -> Arc<Self> {
        let clients = state.metrics.http.stream_clients.clone();
        let (lists, charts, kept_lists) = Default::default();
        Arc::new(Self { state, budget, lists, clients, charts, kept_lists })
    }

    /// Streams to `client` what `watched` says, from the event after `last` if that is known. Called on the thread that serves.
    ///
    /// # Errors
    /// When too many watch already, or memory is short.
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
            tokio::spawn(keep(self.clone(), watched.clone(), list.clone(), self.state.epochs()));
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

    /// How long to wait between two looks at a list, for the sake of all others.
    fn pause(&self) -> Duration {
        let times = |count: &AtomicU64| u32::try_from(count.load(Ordering::Relaxed)).unwrap_or(u32::MAX);
        PER_CLIENT.saturating_mul(times(&self.clients)) + PER_CHART.saturating_mul(times(&self.charts))
    }

    /// Sends `events` to each of `clients`. Gives those that are still there, and fast enough.
    async fn tell(&self, reloads: &Total, mut clients: Vec<Client>, events: &[Bytes], is_short: bool) -> Vec<Client> {
        let mut told = Vec::with_capacity(clients.len());
        while !clients.is_empty() {
            let group = clients.drain(clients.len().saturating_sub(GROUP)..);
            told.extend(group.filter(|client| {
                !client.queue.is_closed() && events.iter().all(|event| client.send(event, reloads, is_short))
            }));
            if !events.is_empty() && !clients.is_empty() {
                tokio::time::sleep(GROUP_PAUSE).await;
            }
        }
        told
    }

    fn forget(&self, watched: &Watched) -> bool {
        let mut lists = lock(&self.lists);
        let is_idle = lists.get(watched).is_some_and(|list| lock(list).clients.is_empty());
        if is_idle && lists.remove(watched).is_some() {
            self.charts.fetch_sub(watched.charts.len() as u64, Ordering::Relaxed);
        }
        is_idle
    }
}

/// Looks at a list again and again, and sends its clients what has changed, until nobody watches it any more.
async fn keep(streams: Arc<Streams>, watched: Watched, list: Arc<Mutex<List>>, mut epochs: watch::Receiver<u64>) {
    let (mut news, mut watched_at) = (News { told_status: None, spoke: Instant::now() }, Instant::now());
    let mut rest = Rest { due: Instant::now() };
    loop {
        let pause = watched.every.max(rest.after(Instant::now(), streams.pause()));
        // Even a sleep of no time takes a millisecond.
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        // Epochs come at least every 200 ms, but for a run that reads its lake; clients are told that we live all the same.
        let _ = tokio::time::timeout(STATUS_INTERVAL, epochs.changed()).await;
        if streams.state.is_closed() {
            return lock(&list).clients.clear();
        }
        // Who comes from here on gets the list as it is now.
        let (events, clients) = {
            let mut list = lock(&list);
            (news.of(&mut list, &streams, watched.status), std::mem::take(&mut list.clients))
        };
        let told =
            streams.tell(&streams.state.metrics.http.stream_reloads, clients, &events, streams.budget.is_full()).await;
        if !told.is_empty() {
            watched_at = Instant::now();
        }
        lock(&list).clients.extend(told);
        if watched_at.elapsed() >= KEPT && streams.forget(&watched) {
            return;
        }
    }
}

/// What the looks at a list leave to others, saved up until there is enough for a timer.
struct Rest {
    due: Instant,
}

impl Rest {
    /// How long to wait after a look, each of which is to leave `share` to others.
    fn after(&mut self, look: Instant, share: Duration) -> Duration {
        self.due = self.due.max(look) + share;
        let rest = self.due - look;
        if rest < PAUSE_MIN { Duration::ZERO } else { rest }
    }
}

/// When the clients of a list were told something.
struct News {
    told_status: Option<Instant>,
    spoke: Instant,
}

impl News {
    /// The events that tell what is new.
    fn of(&mut self, list: &mut List, streams: &Streams, with_status: bool) -> Vec<Bytes> {
        let mut events = list.look();
        let now = Instant::now();
        if with_status && self.told_status.is_none_or(|at| now.duration_since(at) >= STATUS_INTERVAL) {
            events.push(list::status(&streams.state.status_now()));
            self.told_status = Some(now);
        }
        if events.is_empty() && now.duration_since(self.spoke) >= SILENCE_MAX {
            events.push(Bytes::from_static(b":\n\n"));
        }
        if !events.is_empty() {
            self.spoke = now;
        }
        events
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
