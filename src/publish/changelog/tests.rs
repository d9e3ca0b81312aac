//! A topic in memory, a reader of it, and processes that are killed between any two steps: the
//! reader always holds the charts of one commit, and in the end those of the last commit.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::bail;
use proptest::prelude::*;
use reprise_dataflows::names::catalogue::TrackInfo;
use reprise_dataflows::rules::definition::{Cell, Scope, TRENDING};
use serde_json::Value;

use super::ledger::{Ledger, Message};
use crate::state::charts::tests as fixtures;
use crate::state::charts::tests::{country, info};
use crate::state::charts::{AsOf, Changes, Charts, Filter};

/// The first day of 2026-W47.
const WEEK: i32 = 20_773;
const MINUTE_US: i64 = 60_000_000;

type Record = (String, Option<Vec<u8>>);

/// The committed messages of each partition.
#[derive(Clone, Default)]
struct Topic(Vec<Vec<Record>>);

impl Topic {
    fn new(partitions: usize) -> Self {
        Self(vec![Vec::new(); partitions])
    }

    fn ledger(&self) -> Ledger {
        let mut ledger = Ledger::new(self.0.len());
        for (partition, records) in self.0.iter().enumerate() {
            for (key, value) in records {
                ledger.read(partition as i32, Some(key.as_bytes()), value.as_deref()).unwrap();
            }
        }
        ledger
    }

    fn commit(&mut self, messages: Vec<(i32, Record)>) {
        messages.into_iter().for_each(|(partition, record)| self.0[partition as usize].push(record));
    }

    /// Keeps the last message of each key, and drops tombstones.
    fn compact(&mut self) {
        for records in &mut self.0 {
            let last: BTreeMap<String, Option<Vec<u8>>> = records.drain(..).collect();
            records.extend(last.into_iter().filter(|(_, value)| value.is_some()));
        }
    }

    /// What a reader holds that reads the partitions one after the other, in their order or
    /// backwards.
    fn held(&self, backwards: bool) -> BTreeMap<String, Value> {
        let mut partitions: Vec<_> = self.0.iter().collect();
        if backwards {
            partitions.reverse();
        }
        let mut held = BTreeMap::new();
        for (key, value) in partitions.into_iter().flatten() {
            match value {
                Some(value) => drop(held.insert(key.clone(), serde_json::from_slice(value).unwrap())),
                None => drop(held.remove(key)),
            }
        }
        held.into_iter().map(|(key, cell)| (key, without_as_of(cell))).collect()
    }
}

fn without_as_of(mut cell: Value) -> Value {
    let as_of = cell.as_object_mut().unwrap().remove("as_of").unwrap();
    assert_eq!(as_of["durable"], true);
    cell
}

/// Every cell by its expected key, which is made of its names.
fn cells(charts: &Charts) -> BTreeMap<String, Value> {
    let cells = charts.cells(&Filter::default()).into_iter().map(|cell| serde_json::to_value(cell).unwrap());
    let keyed = |cell: Value| {
        let [chart, scope, period] = ["chart", "scope", "period"].map(|name| cell[name].as_str().unwrap().to_owned());
        let key = if chart == "trending" { format!("trending/{scope}") } else { format!("{chart}/{scope}/{period}") };
        (key, without_as_of(cell))
    };
    cells.map(keyed).collect()
}

/// What a commit changes.
#[derive(Clone, Debug)]
enum Change {
    /// A chart, a scope, a period, an item, and its plays from now on.
    Count(u32, u8, u8, u8, i64),
    /// A track, and which title it has from now on.
    Rename(u8, u8),
    /// How far the clock advances, in µs.
    Clock(i64),
}

/// How an attempt to publish ends.
#[derive(Clone, Copy, Debug)]
enum Attempt {
    Succeeds,
    /// Killed after this number of messages, before the transaction is committed.
    KilledBefore(usize),
    /// Killed after the transaction is committed, before the ledger has noted it.
    KilledAfter,
}

struct Story {
    charts: Arc<Charts>,
    counts: BTreeMap<(u32, u8, u8, u8), i64>,
    titles: BTreeMap<u8, TrackInfo>,
    topic: Topic,
    ledger: Ledger,
    /// What the reader must hold.
    published: BTreeMap<String, Value>,
}

impl Story {
    fn new(partitions: usize) -> Self {
        let (topic, charts) = (Topic::new(partitions), Arc::new(fixtures::charts()));
        let (counts, titles, published) = Default::default();
        Self { ledger: topic.ledger(), charts, counts, titles, topic, published }
    }

    fn commit(&mut self, changes: &[Change]) {
        let (mut folded, mut as_of) = (Changes::default(), self.charts.as_of());
        for change in changes {
            match *change {
                Change::Count(chart, scope, period, item, plays) => {
                    let before = self.counts.insert((chart, scope, period, item), plays).unwrap_or_default();
                    let chart = [0, 1, TRENDING][chart as usize];
                    let scope = match scope {
                        0 => Scope::Global,
                        1 => country("US"),
                        _ => country("a/2026-W47"),
                    };
                    let start_day = if chart == 0 { WEEK - 7 * i32::from(period) } else { 0 };
                    folded.ranked.push(((Cell { chart, start_day, scope }, format!("S{item}")), plays - before));
                }
                Change::Rename(track, title) => {
                    let now = info(&format!("Title {title}"), "Anna");
                    let before = self.titles.insert(track, now.clone());
                    let gone = before.map(|before| ((format!("S{track}"), before), -1));
                    folded.titles.extend(gone.into_iter().chain([((format!("S{track}"), now), 1)]));
                }
                Change::Clock(us) => {
                    as_of.clock_us = Some(as_of.clock_us.unwrap_or(i64::from(WEEK) * 1440 * MINUTE_US) + us);
                }
            }
        }
        let charts = Arc::make_mut(&mut self.charts);
        charts.apply(folded);
        let version = as_of.lake_version.map_or(0, |version| version + 1);
        charts.set_as_of(AsOf { epoch: as_of.epoch + 1, lake_version: Some(version), durable: true, ..as_of });
    }

    fn publish(&mut self, attempt: Attempt) {
        let mut messages = Vec::new();
        let sent = self.ledger.bring_to(&self.charts, |Message { partition, key, value }| {
            if matches!(attempt, Attempt::KilledBefore(most) if messages.len() == most) {
                bail!("killed");
            }
            messages.push((partition, (key.to_owned(), value.map(<[u8]>::to_vec))));
            Ok(())
        });
        if matches!(attempt, Attempt::KilledBefore(_)) {
            return self.restart();
        }
        self.topic.commit(messages);
        self.published = cells(&self.charts);
        match attempt {
            Attempt::KilledAfter => self.restart(),
            _ => drop(self.ledger.note(sent.unwrap())),
        }
    }

    fn restart(&mut self) {
        self.ledger = self.topic.ledger();
    }

    fn check(&self) {
        for backwards in [false, true] {
            assert_eq!(self.topic.held(backwards), self.published);
        }
    }
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        6 => (0..3_u32, 0..3_u8, 0..3_u8, 0..4_u8, 0..3_i64).prop_map(|(a, b, c, d, e)| Change::Count(a, b, c, d, e)),
        1 => (0..4_u8, 0..3_u8).prop_map(|(track, title)| Change::Rename(track, title)),
        1 => (0..2 * MINUTE_US).prop_map(Change::Clock),
    ]
}

fn attempt() -> impl Strategy<Value = Option<Attempt>> {
    prop_oneof![
        Just(None),
        Just(Some(Attempt::Succeeds)),
        (0..6_usize).prop_map(|messages| Some(Attempt::KilledBefore(messages))),
        Just(Some(Attempt::KilledAfter)),
    ]
}

proptest! {
    /// Commits that are published or not, kills at any step, compaction, and partitions that are
    /// added meanwhile.
    #[test]
    fn a_reader_holds_the_charts_of_the_last_commit_that_was_published(
        commits in prop::collection::vec((prop::collection::vec(change(), 0..8), attempt(), any::<[bool; 3]>()), 1..12),
    ) {
        let mut story = Story::new(2);
        for (changes, attempt, [compacts, grows, restarts]) in commits {
            story.commit(&changes);
            if let Some(attempt) = attempt {
                story.publish(attempt);
            }
            story.check();
            if compacts {
                story.topic.compact();
            }
            if grows && restarts {
                story.topic.0.push(Vec::new());
            }
            if restarts {
                story.restart();
            }
        }
        story.publish(Attempt::Succeeds);
        story.check();
        prop_assert_eq!(&story.published, &cells(&story.charts));
        // Then nothing is left to publish, by the ledger in memory as by one that is read from the
        // topic.
        for read in [false, true] {
            if read { story.restart() }
            story.commit(&[]);
            let sent = story.ledger.bring_to(&story.charts, |message| bail!("{message:?}")).unwrap();
            prop_assert_eq!(story.ledger.note(sent), 0);
        }
    }
}

/// A value is the cell as HTTP gives it.
#[test]
fn a_message_is_a_cell_under_its_names() {
    let mut charts = fixtures::filled();
    charts.set_as_of(AsOf { durable: true, ..charts.as_of() });
    let charts = Arc::new(charts);
    let mut messages = Vec::new();
    let ledger = Ledger::new(4);
    let sent = ledger.bring_to(&charts, |message| {
        messages.push((message.key.to_owned(), String::from_utf8(message.value.unwrap().to_vec()).unwrap()));
        Ok(())
    });
    assert!(sent.is_ok());
    let keys: Vec<&str> = messages.iter().map(|(key, _)| &**key).collect();
    let expected = [
        "artists/global/all",
        "trending/global",
        "weekly/US/2026-W47",
        "weekly/global/2026-W46",
        "weekly/global/2026-W47",
    ];
    assert_eq!(keys, expected);
    let cell = charts.cell(0, &country("US"), Some(WEEK), None);
    assert_eq!(messages[2].1, serde_json::to_string(&cell).unwrap());
}

/// Messages that others have written are neither overwritten nor deleted.
#[test]
fn messages_of_others_are_refused() {
    let mut ledger = Ledger::new(1);
    let cell = r#"{"chart":"weekly","scope":"US","period":"2026-W47"}"#;
    for (key, value, complaint) in [
        (None, Some(cell), "key is no text"),
        (Some(&b"\xff"[..]), Some(cell), "key is no text"),
        (Some(b"weekly/US/2026-W47"), Some("{}"), "no cell"),
        (Some(b"weekly/US/2026-W47"), Some("play"), "no cell"),
        (Some(b"weekly/US/2026-W46"), Some(cell), "another cell"),
        (Some(b"S000001"), Some(cell), "another cell"),
    ] {
        let error = ledger.read(0, key, value.map(str::as_bytes)).unwrap_err().to_string();
        assert!(error.contains(complaint), "{error}");
    }
    // A cell that another version of the program has written counts as ours, and is published
    // again.
    ledger.read(0, Some(b"weekly/US/2026-W47"), Some(cell.as_bytes())).unwrap();
    ledger.read(0, Some(b"weekly/DE/2026-W47"), None).unwrap();
}
