//! Streams as their clients see them: a client that applies the events it gets always has the list.

use crate::serve::Http;
use std::collections::BTreeMap;
use std::pin::pin;

use axum::body::HttpBody;
use proptest::prelude::*;
use reprise_dataflows::rules::definition::{Cell, Scope};
use serde_json::Value;

use super::*;
use crate::state::charts::{Changes, tests as fixtures};

const ANYBODY: ClientAddress = ClientAddress(None);

fn watched() -> Watched {
    Watched { charts: vec![0], scope: Scope::Global, limit: Some(4), every: Duration::from_millis(1), status: false }
}

fn http() -> Arc<Http> {
    let state = State::new(fixtures::charts());
    state.ready.store(true, Ordering::Release);
    Arc::new(Http::new(Arc::new(state)))
}

fn play(http: &Http, epoch: u64, song: u8, plays: i64) {
    let cell = Cell { chart: 0, start_day: 20_773, scope: Scope::Global };
    let changes = Changes { ranked: vec![((cell, format!("S{song}")), plays)], ..Changes::default() };
    http.state.advance(epoch, None, changes, Vec::new());
}

/// A client's copy of a list: the entry at each rank, and the id of the last event.
#[derive(Default)]
struct Known {
    entries: BTreeMap<u64, Value>,
    last: Option<EventId>,
}

impl Known {
    fn apply(&mut self, event: &Bytes) {
        let text = std::str::from_utf8(event).unwrap();
        let line = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
        let data: Value = serde_json::from_str(line("data: ").unwrap()).unwrap();
        if line("event: ") == Some("cell") {
            self.entries.clear();
        }
        for entry in data["entries"].as_array().unwrap() {
            self.entries.insert(entry["rank"].as_u64().unwrap(), entry.clone());
        }
        if let Some(length) = data["length"].as_u64() {
            self.entries.retain(|rank, _| *rank <= length);
        }
        self.last = line("id: ").map(|id| id.parse().unwrap()).or(self.last);
    }

    fn check(&self, http: &Http) {
        let cell =
            http.state.charts().cell(0, &Scope::Global, http.state.charts().newest(0, Some(&Scope::Global)), Some(4));
        let expected: Vec<Value> = cell.entries.iter().map(|entry| serde_json::to_value(entry).unwrap()).collect();
        assert_eq!(self.entries.values().cloned().collect::<Vec<_>>(), expected);
    }
}

proptest! {
    /// A client that gets all events, and one that disconnects and reconnects, both have the list.
    #[test]
    fn folding_the_events_gives_the_list(
        plays in prop::collection::vec((0u8..7, 1i64..4, any::<bool>(), any::<bool>()), 1..80),
        away in 0usize..80,
        back in 0usize..400,
    ) {
        let http = http();
        let mut list = http.streams.list(watched());
        let (mut constant, mut other) = (Known::default(), Known::default());
        list.since(None).iter().for_each(|event| constant.apply(event));
        list.since(None).iter().for_each(|event| other.apply(event));
        let mut counts = BTreeMap::<u8, i64>::new();
        for (epoch, (song, plays, looks, falls)) in plays.iter().enumerate() {
            let count = counts.entry(*song).or_default();
            let change = if *falls { -*count } else { *plays };
            *count += change;
            play(&http, epoch as u64 + 1, *song, change);
            if *looks {
                let events = list.changes();
                events.iter().for_each(|event| constant.apply(event));
                if epoch < away {
                    events.iter().for_each(|event| other.apply(event));
                } else if epoch >= back {
                    list.since(other.last).iter().for_each(|event| other.apply(event));
                }
            }
        }
        list.changes().iter().for_each(|event| constant.apply(event));
        list.since(other.last).iter().for_each(|event| other.apply(event));
        constant.check(&http);
        other.check(&http);
    }
}

#[test]
fn an_id_of_another_run_or_one_that_is_forgotten_starts_over() {
    let http = http();
    let mut list = http.streams.list(watched());
    let first = list.last;
    for epoch in 1..=400 {
        play(&http, epoch, 1, 1);
        assert_eq!(list.changes().len(), 1);
    }
    let starts_over = |id: EventId| {
        let events = list.since(Some(id));
        events.len() == 1 && events[0].starts_with(b"event: cell")
    };
    assert!(starts_over(first));
    assert!(starts_over(EventId { sequence: 7, ..list.events[200].0 }));
    assert!(starts_over(EventId { incarnation: list.last.incarnation + 1, ..list.last }));
    assert!(starts_over(EventId { epoch: 1000, ..list.last }));
    assert!(list.since(Some(list.last)).is_empty());
    let (id, _) = list.events[200];
    assert_eq!(list.since(Some(id)).len(), 55);
}

/// However many lists are busy, the events that they keep use only their own share of the budget.
#[test]
fn kept_events_leave_answers_their_room() {
    let http = http();
    http.state.limit_memory(8 << 20);
    let list = |limit| http.streams.list(Watched { limit: Some(limit), ..watched() });
    let mut lists: Vec<List> = (1..=64).map(list).collect();
    for epoch in 1..=300 {
        play(&http, epoch, 1, 1);
        for list in &mut lists {
            assert_eq!(list.changes().len(), 1);
        }
    }
    let (kept, most) = (http.budget.held_bytes_of(Share::Events), http.budget.max_bytes_of(Share::Events));
    assert!(kept <= most && kept > most / 2, "{kept} of {most}");
    assert!(lists.iter().all(|list| !list.events.is_empty()));
    assert!(http.budget.hold(Share::Answers, ANYBODY, Bytes::from(vec![0; 100 << 10])).is_ok());
    // When lists are dropped, the others may keep more.
    lists.truncate(1);
    for epoch in 301..=400 {
        play(&http, epoch, 1, 1);
        lists[0].changes();
    }
    assert!(lists[0].events.len() > 100);
    drop(lists);
    assert_eq!(http.budget.held_bytes(), 0);
}

/// A list is sent once the charts of the lake are complete, not before.
#[test]
fn an_unfinished_epoch_is_not_sent() {
    let http = http();
    http.state.ready.store(false, Ordering::Release);
    let mut list = http.streams.list(watched());
    play(&http, 1, 1, 5);
    assert!(list.since(None).is_empty() && list.changes().is_empty());
    play(&http, 2, 1, 2);
    http.state.ready.store(true, Ordering::Release);
    let events = list.changes();
    let mut known = Known::default();
    events.iter().for_each(|event| known.apply(event));
    known.check(&http);
    assert_eq!((events.len(), list.since(None)), (1, events));
    play(&http, 3, 1, 1);
    let later = list.changes();
    assert_eq!(list.since(known.last), later);
    later.iter().for_each(|event| known.apply(event));
    known.check(&http);
}

#[test]
fn ids_are_read_back_as_they_are_written() {
    let id = EventId { incarnation: 12, epoch: 1_795_400_000_000, sequence: 3 };
    assert_eq!(id.to_string(), "12-1795400000000-3");
    assert_eq!("12-1795400000000-3".parse(), Ok(id));
    for wrong in ["", "1", "1-2", "1-2-3-4", "a-b-c", "1-2--3", "99999999999999999999-1-1"] {
        assert!(wrong.parse::<EventId>().is_err(), "{wrong}");
    }
}

/// The next piece that a client gets; fails if none comes in time.
async fn next(body: &mut Body) -> Option<Bytes> {
    let mut body = pin!(body);
    let frame = std::future::poll_fn(|context| body.as_mut().poll_frame(context));
    let frame = tokio::time::timeout(Duration::from_secs(5), frame).await.unwrap()?;
    frame.unwrap().into_data().ok()
}

#[tokio::test]
async fn a_client_that_does_not_read_is_disconnected_and_slows_no_other() {
    let http = http();
    let open = || http.streams.open(ANYBODY, watched(), None).unwrap();
    let (mut slow, mut fast) = (open(), open());
    let mut known = Known::default();
    known.apply(&next(&mut fast).await.unwrap());
    for epoch in 1..=2 * QUEUE_EVENTS as u64 {
        play(&http, epoch, 1, 1);
        known.apply(&next(&mut fast).await.unwrap());
    }
    known.check(&http);
    let mut last = Bytes::new();
    let mut received = 0;
    while let Some(event) = next(&mut slow).await {
        (last, received) = (event, received + 1);
    }
    assert!(last.starts_with(b"event: reload"), "{last:?}");
    assert_eq!(received, 1 + QUEUE_EVENTS + 1);
    assert_eq!(http.state.metrics.http.stream_reloads.load(), 1);
    drop((slow, fast));
    assert_eq!(http.streams.clients.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn many_clients_get_each_event_once_also_new_ones() {
    let http = http();
    let open = || (http.streams.open(ANYBODY, watched(), None).unwrap(), Known::default());
    let mut clients: Vec<(Body, Known)> = (0..2 * GROUP + 7).map(|_| open()).collect();
    play(&http, 1, 1, 1);
    let (last, known) = clients.last_mut().unwrap();
    while known.last.is_none_or(|last| last.epoch < 1) {
        known.apply(&next(last).await.unwrap());
    }
    // Events are sent to the last clients first, so the others have not got this one yet.
    clients.push(open());
    play(&http, 2, 1, 1);
    for (client, known) in &mut clients {
        while known.last.is_none_or(|last| last.epoch < 2) {
            let before = known.last;
            known.apply(&next(client).await.unwrap());
            assert!(known.last > before, "an event came twice");
        }
        known.check(&http);
    }
    assert_eq!(http.state.metrics.http.stream_reloads.load(), 0);
}

/// The looks at a list are `share` apart on average, however large it is; a look that takes longer
/// than `share` is followed by the next at once.
#[test]
fn updates_keep_their_average_interval() {
    for (share_us, work_us) in [(600, 0), (600, 100), (200, 2000), (400_000, 10), (4_999, 0)] {
        let [share, work] = [share_us, work_us].map(Duration::from_micros);
        let (began, mut now) = (Instant::now(), Instant::now());
        let mut pauses = Pauses { due: now };
        for looks in 1..=1000 {
            let pause = pauses.after(now, share);
            assert!(pause.is_zero() || (PAUSE_MIN..=PAUSE_MIN + share).contains(&pause), "{pause:?}");
            now += pause + work;
            assert!(now - began + PAUSE_MIN >= share * looks);
            assert!(share >= work || pause.is_zero());
        }
    }
}

#[tokio::test]
async fn clients_and_lists_are_limited() {
    let http = http();
    let open = |limit| http.streams.open(ANYBODY, Watched { limit: Some(limit), ..watched() }, None);
    let lists: Vec<Body> = (0..LISTS_MAX).map(|limit| open(limit + 1).unwrap()).collect();
    assert_eq!(open(1 + LISTS_MAX).err(), Some(Full::Lists));
    let clients: Vec<Body> = (lists.len()..CLIENTS_MAX).map(|_| open(1).unwrap()).collect();
    assert_eq!(open(1).err(), Some(Full::Clients));
    drop(clients);
    assert!(open(1).is_ok());
}
