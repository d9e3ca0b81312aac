//! A list that clients watch: the cells as the clients know them, and the events that changes
//! become.

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

/// The most events that a list keeps for clients that reconnect.
const KEPT_EVENTS: usize = 256;
/// The most bytes of these events. If there are many lists, each keeps less: together they have one
/// share of the budget.
const KEPT_BYTES: usize = 1 << 20;

/// What a client watches. Clients that watch the same share one list.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Watched {
    /// The indices of charts, of each of which the newest period is watched.
    pub charts: Vec<u32>,
    /// The scope, which is the same for all charts.
    pub scope: Scope,
    /// The most entries of each cell; all by default.
    pub limit: Option<usize>,
    /// The least time between two looks at the charts.
    pub every: Duration,
    /// Whether the status of the run is sent as well, once a second.
    pub status: bool,
}

/// Identifies an event among those of a list, and orders them. Its text is
/// `incarnation-epoch-sequence`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventId {
    /// The incarnation of the run.
    pub incarnation: i64,
    /// The epoch that the event is true for.
    pub epoch: u64,
    /// The number of the event among those of the same epoch, from 0.
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

/// What has changed in a cell: the data of a `change` event.
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
    /// The number of entries that the cell has now.
    length: usize,
    /// The entries that differ from those that had their rank before.
    entries: Vec<&'a Entry>,
}

/// A list that clients watch, with the newest of its events.
pub struct List {
    watched: Watched,
    state: Arc<State>,
    budget: Budget,
    /// The clients that get the events.
    pub clients: Vec<Client>,
    /// The `as_of` of the charts at the last look.
    looked_at: Option<AsOf>,
    /// The cells as the clients know them. Empty while the charts of the lake are incomplete.
    cells: Vec<ChartCell>,
    /// The id of the newest event, or that of the list before its first event.
    pub(super) last: EventId,
    /// The newest events, the oldest of them first.
    pub(super) events: VecDeque<(EventId, Bytes)>,
    /// The bytes of `events`.
    events_bytes: usize,
    /// The id before the first of `events`.
    events_after: EventId,
    /// The number of all lists.
    lists: Arc<AtomicU64>,
}

impl Drop for List {
    fn drop(&mut self) {
        self.lists.fetch_sub(1, Ordering::Relaxed);
    }
}

impl List {
    /// A list of the charts as they are now, without clients. `lists` counts all lists, which share
    /// the budget for events.
    pub fn new(watched: Watched, state: Arc<State>, budget: Budget, lists: Arc<AtomicU64>) -> Self {
        // Checked before the charts are read. In the other order, incomplete charts could be read,
        // become complete, and pass the check.
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

    /// The events that a client lacks after `last`: the events since, if all of them are kept,
    /// or else the whole cells.
    pub fn since(&self, last: Option<EventId>) -> Vec<Bytes> {
        // An id of another list may lie between two ids of this one, so only ids that this list has
        // given count.
        let is_ours = |id: &EventId| *id == self.events_after || self.events.iter().any(|(other, _)| other == id);
        match last.filter(is_ours) {
            Some(last) => self.events.iter().filter(|(id, _)| *id > last).map(|(_, event)| event.clone()).collect(),
            None => {
                // Only the last cell carries the id: a client that has got only some of the cells
                // must not continue from it.
                let ends = (1..=self.cells.len()).map(|count| (count == self.cells.len()).then_some(self.last));
                ends.zip(&self.cells).map(|(id, cell)| event("cell", id, cell)).collect()
            }
        }
    }

    /// Looks at the charts, and returns the events of what has changed since the last look.
    pub fn changes(&mut self) -> Vec<Bytes> {
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
            // The text is in memory once. It counts in the share for answers while it waits for a
            // client, and in the share for events while it is kept, so that kept events take no
            // memory from answers.
            self.events.push_back((self.last, self.budget.count(Share::Events, event.clone())));
            events.push(self.budget.count(Share::Answers, event));
        }
        // Each list has an equal part of the share for events and trims itself, so a busy list
        // takes nothing from the others.
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

/// The event with the status of the run. It has no id: a client that reconnects gets the next one.
pub fn status(status: &Status) -> Bytes {
    event("status", None, status)
}

fn event(name: &str, id: Option<EventId>, data: &impl Serialize) -> Bytes {
    let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
    // Our own types always serialise to JSON, on one line.
    let data = json::to_vec(data).unwrap_or_default();
    [format!("event: {name}\n{id}data: ").as_bytes(), &data, b"\n\n"].concat().into()
}
