//! Every offset is accounted for as a play, a dead letter, or a hole.

use std::time::Duration;

use rdkafka::producer::Producer;
use serde_json::Value;

use crate::support::charts::default_charts;
use crate::support::fixture::folder;
use crate::support::plays::Play;
use crate::support::running::{Running, offsets, replay, run_to_end};
use crate::support::{broker, eventually, lake};

/// `count` plays of `song`, one second apart.
fn plays(song: &str, count: usize) -> Vec<Play> {
    let first = Play::new(song, "2024-03-01T12:00:00Z");
    let play = |second: usize| Play { time: first.time + jiff::Span::new().seconds(second as i64), ..first.clone() };
    (0..count).map(play).collect()
}

fn json(plays: &[Play]) -> Vec<Vec<u8>> {
    plays.iter().map(Play::json).collect()
}

/// A transaction ends with a marker that takes an offset. The broker writes it some time after the
/// commit returns.
fn wait_for_end(topic: &str, partition: i32, end: i64) {
    eventually("the transaction's marker is written", || (broker::ends(topic)[&partition] == end).then_some(()));
}

fn accounted(status: &Value) -> i64 {
    let dead_letters: i64 = status["dead_letters"].as_object().unwrap().values().filter_map(Value::as_i64).sum();
    status["accepted"].as_i64().unwrap() + status["holes"].as_i64().unwrap() + dead_letters
}

fn consumed(status: &Value) -> i64 {
    let (next, start) = (offsets(status, "next_offset"), offsets(status, "start_offset"));
    next.values().sum::<i64>() - start.values().sum::<i64>()
}

/// Partition 0 ends in a commit marker, 1 in an abort marker, 2 has aborted records in the middle,
/// and 3 is empty.
fn transactions() -> (String, Vec<Play>) {
    let topic = broker::topic("transactions", 4);
    let (a, b, c, aborted) = (plays("a", 30), plays("b", 20), plays("c", 10), plays("aborted", 40));
    broker::produce(&topic, 1, json(&b));
    broker::produce(&topic, 2, json(&c));
    let producer = broker::transactional();
    producer.begin_transaction().unwrap();
    broker::send(&producer, &topic, 0, json(&a));
    broker::commit(&producer);
    producer.begin_transaction().unwrap();
    broker::send(&producer, &topic, 1, json(&aborted));
    broker::send(&producer, &topic, 2, json(&aborted));
    broker::abort(&producer);
    wait_for_end(&topic, 0, 31);
    wait_for_end(&topic, 1, 61);
    wait_for_end(&topic, 2, 51);
    broker::produce(&topic, 2, json(&c));
    (topic, [a, b, c.clone(), c].concat())
}

#[test]
fn markers_and_aborted_records_are_holes() {
    let (topic, plays) = transactions();
    for workers in ["1", "3"] {
        let folder = folder();
        let running = Running::start(&topic, folder.path(), &["-w", workers]);
        let status = running.caught_up(&topic);
        assert_eq!(status["accepted"], plays.len());
        assert_eq!(status["holes"], 1 + 41 + 41, "markers, and aborted records");
        assert_eq!(status["dead_letters"], serde_json::json!({}));
        assert_eq!(accounted(&status), consumed(&status));
        running.stop();
        replay(folder.path(), &[]).assert_equals(&plays, &default_charts());
        lake::assert_holds(folder.path(), &plays);
    }
}

/// The end of such a topic is found on every run, and no record is read twice.
#[test]
fn a_run_ends_at_a_transaction_marker() {
    let (topic, plays) = transactions();
    let folder = folder();
    let first = run_to_end(&topic, folder.path(), &["-w", "1"]);
    first.assert_equals(&plays, &default_charts());
    for workers in ["2", "4"] {
        let again = run_to_end(&topic, folder.path(), &["-w", workers]);
        assert!(again.lines == first.lines, "with {workers} workers, after a restart");
    }
    lake::assert_holds(folder.path(), &plays);
}

/// Records of a transaction are read once it is committed, and only once.
#[test]
fn records_of_an_open_transaction_are_read_after_its_commit() {
    let topic = broker::topic("open", 1);
    let (before, within) = (plays("before", 5), plays("within", 7));
    broker::produce(&topic, 0, json(&before));
    let producer = broker::transactional();
    producer.begin_transaction().unwrap();
    broker::send(&producer, &topic, 0, json(&within));

    let folder = folder();
    run_to_end(&topic, folder.path(), &["-w", "1"]).assert_equals(&before, &default_charts());
    broker::commit(&producer);
    wait_for_end(&topic, 0, 13);
    let all = [before, within].concat();
    run_to_end(&topic, folder.path(), &["-w", "1"]).assert_equals(&all, &default_charts());
    lake::assert_holds(folder.path(), &all);
}

/// Compaction leaves an offset without a record where a later record has the same key.
#[test]
fn compacted_records_are_holes() {
    // Very small segments, eligible for cleaning whenever the broker checks, which is every 15 s.
    let compaction = [("segment.ms", "100"), ("min.cleanable.dirty.ratio", "0.001"), ("cleanup.policy", "compact")];
    let topic = broker::topic_with("compacted", 1, &compaction);
    let play = plays("a", 20);
    for _ in 0..10 {
        broker::produce(&topic, 0, json(&play));
        std::thread::sleep(Duration::from_millis(150));
    }
    broker::produce(&topic, 0, json(&play[..1]));
    eventually("the topic is compacted", || (broker::records(&topic, 0) < 201).then_some(()));
    let folder = folder();
    let running = Running::start(&topic, folder.path(), &[]);
    let status = running.caught_up(&topic);
    assert!(status["holes"].as_i64() > Some(0), "{status}");
    assert_eq!((accounted(&status), consumed(&status)), (201, 201));
    running.stop();
    assert_eq!(status["accepted"], lake::plays(folder.path()).len());
}

#[test]
fn an_empty_topic_accounts_for_zero_offsets() {
    let topic = broker::topic("empty", 3);
    let folder = folder();
    let printed = run_to_end(&topic, folder.path(), &["-w", "2"]);
    assert!(printed.lines.is_empty(), "{:?}", printed.lines);
    assert!(replay(folder.path(), &[]).lines.is_empty());
    let running = Running::start(&topic, folder.path(), &[]);
    let status = running.caught_up(&topic);
    assert_eq!((accounted(&status), consumed(&status)), (0, 0));
    assert_eq!(status["clock"], Value::Null);
    running.stop();
}
