//! A list that clients watch: what they have been told of it, and how a change of it becomes an event.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Bytes;
use reprise_dataflows::rules::definition::Scope;
use serde::Serialize;

use super::client::Client;
use crate::serve::budget::{Budget, Share};
use crate::state::State;
use crate::state::Status;
use crate::state::charts::{AsOf, ChartCell, Charts, Entry};
use crate::text::json;

/// Events that a list keeps for clients that come back, and their bytes. Where there are many lists, each keeps less: together
/// they have a share of the budget.
const KEPT_EVENTS: usize = 256;
const KEPT_BYTES: usize = 1 << 20;

/// What a client wants to watch. Those who want the same share all but their connections.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Watched {
    /// The newest period of each of these charts.
    pub charts: Vec<u32>,
    pub scope: Scope,
    /// Entries of each; all by default.
    pub limit: Option<usize>,
    /// Between two looks at it, at least.
    pub every: Duration,
    /// With how the run is doing, once a second.
    pub status: bool,
}

/// The place of an event among all: in this run, in this epoch, which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventId {
    pub incarnation: i64,
    pub epoch: u64,
    pub sequence: u32,
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.incarnation, self.epoch, self.sequence)
    }
}

impl FromStr for EventId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split('-');
        let mut part = || parts.next().ok_or(());
        let id = Self {
            incarnation: part()?.parse().map_err(|_| ())?,
            epoch: part()?.parse().map_err(|_| ())?,
            sequence: part()?.parse().map_err(|_| ())?,
        };
        parts.next().is_none().then_some(id).ok_or(())
    }
}

/// What has changed in a cell.
#[derive(Serialize)]
struct Change<'a> {
    chart: &'a str,
    period: &'a str,
    #[serde(rename = "start", with = "crate::text::instant")]
    start_us: Option<i64>,
    #[serde(rename = "end", with = "crate::text::instant")]
    end_us: Option<i64>,
    scope: &'a str,
    as_of: AsOf,
    /// How many entries there are now.
    length: usize,
    /// Those that differ from what had their rank before.
    entries: Vec<&'a Entry>,
}

pub struct List {
    watched: Watched,
    state: Arc<State>,
    budget: Budget,
    pub clients: Vec<Client>,
    /// What the charts were as of the last time.
    looked_at: Option<AsOf>,
    /// As the clients know them. None while the charts of the lake are still being made.
    cells: Vec<ChartCell>,
    pub(super) last: EventId,
    /// The newest events, and what came before the first of them.
    pub(super) events: VecDeque<(EventId, Bytes)>,
    events_bytes: usize,
    events_after: EventId,
    /// How many lists there are.
    lists: Arc<AtomicU64>,
}

impl Drop for List {
    fn drop(&mut self) {
        self.lists.fetch_sub(1, Ordering::Relaxed);
    }
}

impl List {
    pub fn new(watched: Watched, state: Arc<State>, budget: Budget, lists: Arc<AtomicU64>) -> Self {
        // Before they are read: they may become whole meanwhile.
        let is_whole = state.ready.load(Ordering::Acquire);
        let charts = state.charts();
        let cells = if is_whole { cells(&watched, &charts) } else { Vec::new() };
        let last = EventId { incarnation: state.incarnation(), epoch: charts.as_of().epoch, sequence: 0 };
        lists.fetch_add(1, Ordering::Relaxed);
        drop(charts);
        Self {
            watched,
            state,
            budget,
            clients: Vec::new(),
            looked_at: None,
            cells,
            last,
            events: VecDeque::new(),
            events_bytes: 0,
            events_after: last,
            lists,
        }
    }

    /// What a client lacks that has seen `last`: some events, or whole lists.
    pub fn since(&self, last: Option<EventId>) -> Vec<Bytes> {
        // An id of another list may lie between ours, so only those that we have given are known.
        let is_ours = |id: &EventId| *id == self.events_after || self.events.iter().any(|(other, _)| other == id);
        match last.filter(is_ours) {
            Some(last) => self.events.iter().filter(|(id, _)| *id > last).map(|(_, event)| event.clone()).collect(),
            None => {
                // Only with the last of the lists does a client know what the id says that it knows.
                let ends = (1..=self.cells.len()).map(|count| (count == self.cells.len()).then_some(self.last));
                ends.zip(&self.cells).map(|(id, cell)| event("cell", id, cell)).collect()
            }
        }
    }

    /// Looks at the charts. Gives the events of what has changed since the last time.
    pub fn look(&mut self) -> Vec<Bytes> {
        if !self.state.ready.load(Ordering::Acquire) {
            return Vec::new();
        }
        let charts = self.state.charts();
        if self.looked_at.replace(charts.as_of()) == Some(charts.as_of()) {
            return Vec::new();
        }
        let (cells, epoch) = (cells(&self.watched, &charts), charts.as_of().epoch);
        drop(charts);
        let before = std::mem::replace(&mut self.cells, cells);
        if before.is_empty() {
            self.last = EventId { epoch, sequence: 0, ..self.last };
            self.events_after = self.last;
            return self.since(None);
        }
        let mut events = Vec::new();
        for (before, after) in before.iter().zip(&self.cells) {
            let Some(change) = change(before, after) else { continue };
            let epoch = after.as_of.epoch;
            let sequence = if self.last.epoch == epoch { self.last.sequence + 1 } else { 0 };
            self.last = EventId { epoch, sequence, ..self.last };
            let event = event("change", Some(self.last), &change);
            self.events_bytes += event.len();
            // The text is in memory once. It counts as an answer while a client waits for it, and as a kept event while
            // it is kept, so that what is kept takes no room from answers.
            self.events.push_back((self.last, self.budget.count(Share::Events, event.clone())));
            events.push(self.budget.count(Share::Answers, event));
        }
        // Each list has an equal part of the share, and trims itself: a busy one takes nothing from the others.
        let lists = self.lists.load(Ordering::Relaxed).max(1);
        let kept_bytes = KEPT_BYTES.min((self.budget.max_bytes_of(Share::Events) / lists) as usize);
        while self.events.len() > KEPT_EVENTS || self.events_bytes > kept_bytes {
            let Some((id, event)) = self.events.pop_front() else { break };
            self.events_after = id;
            self.events_bytes -= event.len();
        }
        events
    }
}

fn cells(watched: &Watched, charts: &Charts) -> Vec<ChartCell> {
    let cell =
        |chart: &u32| charts.cell(*chart, &watched.scope, charts.usual(*chart, Some(&watched.scope)), watched.limit);
    watched.charts.iter().map(cell).collect()
}

fn change<'a>(before: &ChartCell, after: &'a ChartCell) -> Option<Change<'a>> {
    let entries = after.entries.iter().enumerate();
    let differing = entries.filter(|(index, entry)| before.entries.get(*index) != Some(entry)).map(|(_, entry)| entry);
    let entries: Vec<&Entry> = differing.collect();
    let has_changed =
        !entries.is_empty() || before.entries.len() != after.entries.len() || before.period != after.period;
    has_changed.then(|| Change {
        chart: &after.chart,
        period: &after.period,
        start_us: after.start_us,
        end_us: after.end_us,
        scope: &after.scope,
        as_of: after.as_of,
        length: after.entries.len(),
        entries,
    })
}

/// How the run is doing. It has no id: who comes back gets the next one.
pub fn status(status: &Status) -> Bytes {
    event("status", None, status)
}

fn event(name: &str, id: Option<EventId>, data: &impl Serialize) -> Bytes {
    let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
    // Our own types always become JSON, on one line.
    let data = json::to_vec(data).unwrap_or_default();
    [format!("event: {name}\n{id}data: ").as_bytes(), &data, b"\n\n"].concat().into()
}
