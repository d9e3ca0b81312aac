//! Tests of traffic as a whole: the plays without a broker, and runs against librdkafka's mock
//! cluster.

use crate::generate::plays::Mix;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use crate::intake::{EVENT_BYTES_MAX, Rejection, TEXT_BYTES_MAX};
use rdkafka::Message;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::Value;

use super::plays::{LongTail, Period, Record};
use super::*;

const SECOND_US: i64 = 1_000_000;
/// 2026-11-01T00:00:00Z.
const START_US: i64 = 1_793_491_200 * SECOND_US;

fn dirty() -> Mix {
    Mix { seed: 42, start_us: Some(START_US), late: 0.05, duplicates: 0.1, malformed: 0.2, ..Mix::default() }
}

fn take(mix: Mix, records: usize) -> Vec<(Record, Vec<u8>)> {
    let (mut plays, mut value) = (Plays::new(mix, START_US, 1000.0), Vec::new());
    (0..records).map(|_| (plays.next(START_US, &mut value), value.clone())).collect()
}

/// What is wrong with a value, found independently of our decoder.
fn flaw(value: &[u8]) -> Option<Rejection> {
    let Ok(text) = str::from_utf8(value) else { return Some(Rejection::NotUtf8) };
    if value.is_empty() || value.len() > EVENT_BYTES_MAX {
        return Some(if value.is_empty() { Rejection::Empty } else { Rejection::TooLarge });
    }
    // serde_json gives up at 128 levels.
    let event: Value = match serde_json::from_str(text) {
        Ok(event) => event,
        Err(error) if error.to_string().contains("recursion limit") => return Some(Rejection::TooDeep),
        Err(_) => return Some(Rejection::NotJson),
    };
    let Some(event) = event.as_object() else { return Some(Rejection::NotJson) };
    let strings = ["song_id", "title", "artist", "user_id", "timestamp", "device", "country"];
    let fields = strings.iter().chain(&["duration_ms", "completed"]);
    if fields.clone().any(|&name| event.get(name).is_none_or(Value::is_null)) || event["song_id"] == "" {
        return Some(Rejection::MissingField);
    }
    let (duration, completed) = (&event["duration_ms"], &event["completed"]);
    if !strings.iter().all(|&name| event[name].is_string()) || !duration.is_i64() || !completed.is_boolean() {
        return Some(Rejection::WrongType);
    }
    if strings.iter().any(|&name| event[name].as_str().unwrap().len() > TEXT_BYTES_MAX) {
        return Some(Rejection::TextTooLong);
    }
    if !(0..1 << 31).contains(&duration.as_i64().unwrap()) {
        return Some(Rejection::BadDuration);
    }
    let Some(time_us) = time_us(&event["timestamp"]) else { return Some(Rejection::BadTimestamp) };
    match time_us {
        ..946_684_800_000_000 => Some(Rejection::TooOld),
        time_us if time_us > START_US + 86_400 * SECOND_US => Some(Rejection::TooFarAhead),
        _ => None,
    }
}

fn time_us(timestamp: &Value) -> Option<i64> {
    let time = jiff::civil::DateTime::strptime("%Y-%m-%d %H:%M:%S", timestamp.as_str()?).ok()?;
    Some(time.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_microsecond())
}

/// Asserts that `count` of `all` is the share `expected`, within five standard deviations.
fn assert_share(what: &str, count: usize, all: usize, expected: f64) {
    let deviation = (expected * (1.0 - expected) / all as f64).sqrt();
    let share = count as f64 / all as f64;
    assert!((share - expected).abs() <= 5.0 * deviation, "{what}: {share}, not {expected}");
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let mix = Mix { history: Some(Period { length_us: 86_400 * SECOND_US, records: 5000 }), ..dirty() };
    let tail = Mix { long_tail: Some(LongTail { songs: 5000, skew: 1.1 }), ..mix.clone() };
    let swaying = Mix { cycle_plays: Some(1000), ..tail.clone() };
    for mix in [mix, tail, swaying] {
        let first = take(mix.clone(), 10_000);
        assert!(first == take(mix.clone(), 10_000));
        assert!(first != take(Mix { seed: 43, ..mix }, 10_000));
    }
}

#[test]
fn records_match_their_kind() {
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for (record, value) in take(dirty(), 50_000) {
        let expected = match record.kind {
            RecordKind::Play | RecordKind::Late | RecordKind::Duplicate => None,
            RecordKind::Malformed(rejection) => Some(rejection),
            RecordKind::Tombstone => continue,
        };
        assert_eq!(flaw(&value), expected, "{}", String::from_utf8_lossy(&value[..value.len().min(300)]));
        *reasons.entry(expected.map_or("play", Rejection::as_str)).or_default() += 1;
    }
    assert_eq!(reasons.len(), 13, "{reasons:?}");
    assert!(reasons["too_deep"] <= 3 && reasons["too_large"] <= 3);
}

#[test]
fn shares_are_those_that_were_asked_for() {
    let records = take(dirty(), 100_000);
    let count = |wanted: fn(RecordKind) -> bool| records.iter().filter(|(record, _)| wanted(record.kind)).count();
    let malformed = count(|kind| matches!(kind, RecordKind::Malformed(_) | RecordKind::Tombstone));
    assert_share("malformed", malformed, records.len(), 0.2);
    assert_share("duplicates", count(|kind| kind == RecordKind::Duplicate), records.len(), 0.1);
    assert_share(
        "late",
        count(|kind| kind == RecordKind::Late),
        count(|kind| matches!(kind, RecordKind::Play | RecordKind::Late)),
        0.05,
    );
}

#[test]
fn plays_are_like_those_of_the_reference() {
    let plays: Vec<Value> = take(Mix { users: 50, ..Mix::default() }, 60_000)
        .iter()
        .map(|(_, value)| serde_json::from_slice(value).unwrap())
        .collect();
    let share = |name: &str, wanted: Value, expected: f64| {
        let count = plays.iter().filter(|play| play[name] == wanted).count();
        assert_share(name, count, plays.len(), expected);
    };
    share("completed", true.into(), 0.7);
    share("device", "mobile".into(), 0.58);
    share("device", "tablet".into(), 0.07);
    let distinct =
        |name: &str| plays.iter().map(|play| play[name].to_string()).collect::<std::collections::BTreeSet<_>>();
    assert_eq!((distinct("song_id").len(), distinct("country").len(), distinct("device").len()), (50, 10, 4));
    let users = distinct("user_id");
    assert_eq!(
        (users.len(), users.first().unwrap().as_str(), users.last().unwrap().as_str()),
        (50, "\"U1000\"", "\"U1049\"")
    );
    for play in &plays {
        assert!((30_000..=300_000).contains(&play["duration_ms"].as_i64().unwrap()));
        assert_eq!(play.as_object().unwrap().len(), 9);
    }
}

#[test]
fn late_plays_lie_a_minute_to_six_hours_back_and_others_go_on_steadily() {
    for (index, (record, value)) in
        take(Mix { late: 0.3, start_us: Some(START_US), ..Mix::default() }, 5000).iter().enumerate()
    {
        let event: Value = serde_json::from_slice(value).unwrap();
        // Live plays are 1 ms apart, and written in whole seconds.
        let back_s = (index / 1000) as i64 - (time_us(&event["timestamp"]).unwrap() - START_US) / SECOND_US;
        match record.kind {
            RecordKind::Late => assert!((60..=6 * 3600).contains(&back_s), "{back_s}"),
            _ => assert_eq!(back_s, 0),
        }
    }
}

#[test]
fn a_history_ends_where_live_plays_begin() {
    let period = Period { length_us: 30 * 86_400 * SECOND_US, records: 1000 };
    let (mut plays, mut value) =
        (Plays::new(Mix { history: Some(period), ..Mix::default() }, START_US, 1.0), Vec::new());
    let mut next = |now_us| {
        plays.next(now_us, &mut value);
        let event: Value = serde_json::from_slice(&value).unwrap();
        (START_US - time_us(&event["timestamp"]).unwrap(), plays.history_left())
    };
    let ages_us: Vec<i64> = (0..1000).map(|_| next(START_US).0).collect();
    assert!(ages_us[0] > 29 * 86_400 * SECOND_US && ages_us[0] <= 30 * 86_400 * SECOND_US);
    assert!(ages_us[999] > 0 && ages_us[999] < 6 * 3600 * SECOND_US);
    assert_eq!(next(START_US + 5 * SECOND_US), (-5 * SECOND_US, 0));
}

/// A broker with the topic. Without it the run would wait for the mock's missing admin API first.
fn cluster() -> MockCluster<'static, DefaultProducerContext> {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("song-plays", 3, 1).unwrap();
    cluster
}

/// Everything in `topic`, by partition and in order; `None` is a record without a value.
fn read(brokers: &str, topic: &str, partitions: &[u64]) -> Vec<Vec<Option<Vec<u8>>>> {
    let consumer: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", brokers).set("group.id", "test").create().unwrap();
    let mut assignment = TopicPartitionList::new();
    for partition in 0..partitions.len() {
        assignment.add_partition_offset(topic, partition as i32, Offset::Beginning).unwrap();
    }
    consumer.assign(&assignment).unwrap();
    let (mut values, mut left) = (vec![Vec::new(); partitions.len()], partitions.iter().sum::<u64>());
    let deadline = Instant::now() + Duration::from_secs(30);
    while left > 0 && Instant::now() < deadline {
        let Some(message) = consumer.poll(Duration::from_millis(100)) else { continue };
        let message = message.unwrap();
        assert!(message.timestamp().to_millis().unwrap() > START_US / 1000);
        values[message.partition() as usize].push(message.payload().map(<[u8]>::to_vec));
        left -= 1;
    }
    values
}

#[test]
fn every_record_arrives_in_order_in_the_partition_of_its_key() {
    let cluster = cluster();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("plays.jsonl");
    let traffic = Traffic { mix: dirty(), rate: None, count: Some(5000), out: Some(out.clone()), ..Traffic::default() };
    let brokers = cluster.bootstrap_servers();
    let summary = send(&traffic, &brokers, &AtomicBool::new(false), |_| false, |_| ()).unwrap();

    let catalogue = catalogue::Catalogue::fifty();
    let (mut expected, mut good, mut bad) = (vec![Vec::new(); summary.partitions.len()], Vec::new(), 0);
    let mut plays = Plays::new(dirty(), 0, STEP_WITHOUT_RATE_US);
    for _ in 0..5000 {
        let mut value = Vec::new();
        let record = plays.next(0, &mut value);
        let partition = topic::partition_of(catalogue.id(record.song), expected.len());
        expected[partition].push((record.kind != RecordKind::Tombstone).then(|| value.clone()));
        match record.kind {
            RecordKind::Malformed(_) | RecordKind::Tombstone => bad += 1,
            _ => good.extend([value, b"\n".to_vec()].concat()),
        }
    }
    assert!(read(&brokers, "song-plays", &summary.partitions) == expected);
    assert_eq!(summary.partitions.iter().sum::<u64>(), 5000);
    assert!(std::fs::read(&out).unwrap() == good);
    let lines = std::fs::read_to_string(folder.path().join("plays.jsonl.bad")).unwrap();
    assert_eq!((lines.lines().count() as u64, bad), (summary.malformed, summary.malformed));
    assert!(lines.lines().all(|line| serde_json::from_str::<Value>(line).unwrap()["reason"].is_string()));
}

#[test]
fn a_hold_and_a_stop_are_obeyed_within_a_burst() {
    // Here the topic is missing: the mock has no admin API, and creates a topic when metadata is
    // requested by its name.
    let cluster = MockCluster::new(1).unwrap();
    let traffic = Traffic { rate: None, ..Traffic::default() };
    let stop = AtomicBool::new(false);
    let (mut seen, mut held) = (0, 0);
    let hold = |partitions: &[u64]| {
        seen = partitions.iter().sum();
        held += u32::from(seen >= 1000);
        stop.store(held == 5, Ordering::Relaxed);
        seen >= 1000
    };
    let summary = send(&traffic, &cluster.bootstrap_servers(), &stop, hold, |_| ()).unwrap();
    assert_eq!((summary.sent, held), (seen, 5));
    assert!((1000..1000 + BURST_MAX).contains(&summary.sent));
}

#[test]
fn a_history_is_sent_once_if_that_is_asked() {
    let cluster = cluster();
    let history = Some(Period { length_us: 3600 * SECOND_US, records: 500 });
    let mix = Mix { history, ..Mix::default() };
    let traffic = Traffic { mix, history_once: true, rate: Some(1000.0), ..Traffic::default() };
    // How many records of the history were still to come after one record had been sent.
    let left_after_one = |traffic: &Traffic| {
        let mut left = None;
        let one = Traffic { count: Some(1), ..traffic.clone() };
        let progress = |progress: &SendProgress| left = left.max(Some(progress.history_left));
        send(&one, &cluster.bootstrap_servers(), &AtomicBool::new(false), |_| false, progress).unwrap();
        left
    };
    assert_eq!(left_after_one(&traffic), Some(499), "an empty topic gets its history");
    assert_eq!(left_after_one(&traffic), Some(0), "a restart adds none");
    let again = Traffic { history_once: false, ..traffic };
    assert_eq!(left_after_one(&again), Some(499), "unless it is not asked for");
}

#[test]
fn a_rate_is_kept() {
    let cluster = cluster();
    let traffic = Traffic { rate: Some(2000.0), duration: Some(Duration::from_millis(1500)), ..Traffic::default() };
    let summary = send(&traffic, &cluster.bootstrap_servers(), &AtomicBool::new(false), |_| false, |_| ()).unwrap();
    // A slow machine sends fewer records, but none may send more than the rate allows.
    assert!((300..=3200).contains(&summary.sent), "{}", summary.sent);
}

#[test]
fn a_record_that_cannot_be_delivered_fails_the_run() {
    let cluster = cluster();
    let options = [("message.timeout.ms", "500"), ("linger.ms", "5")];
    let client_options = options.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
    let traffic = Traffic { rate: Some(1000.0), count: Some(60_000), client_options, ..Traffic::default() };
    let mut down = false;
    let hold = |partitions: &[u64]| {
        // Bursts differ in size, so the test cannot wait for an exact total.
        if !down && partitions.iter().sum::<u64>() >= 500 {
            cluster.broker_down(1).unwrap();
            down = true;
        }
        false
    };
    let error = send(&traffic, &cluster.bootstrap_servers(), &AtomicBool::new(false), hold, |_| ()).unwrap_err();
    assert!(error.to_string().contains("could not be delivered to topic 'song-plays'"), "{error:#}");
}

#[test]
fn brokers_that_cannot_be_reached_are_named() {
    let started = Instant::now();
    let stop = AtomicBool::new(false);
    let error = send(&Traffic::default(), "127.0.0.1:1", &stop, |_| false, |_| ()).unwrap_err();
    assert!(format!("{error:#}").contains("cannot reach Kafka at 127.0.0.1:1"), "{error:#}");
    assert!(started.elapsed() < Duration::from_secs(15));
}
