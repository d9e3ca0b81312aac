//! librdkafka's mock cluster, which can inject faults, with one topic and the plays sent to it.
//!
//! Use it only for faults that a real broker cannot produce on request. A producer may send a
//! record twice when the mock fails it, so the expected result is not the list of sent plays but
//! the records that a second consumer finds after the fault.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::charts::default_charts;
use super::fixture::folder;
use super::plays::Play;
use super::program::reprise;
use super::running::{Running, offsets, replay, run_on};
use super::{TIMEOUT, eventually, lake, log};

/// The topic of every mock cluster.
pub const TOPIC: &str = "faults";
/// Its partitions.
pub const PARTITIONS: i32 = 3;

/// Options of all clients. The timeouts are short because the mock never answers some requests that
/// meet a fault.
const SHORT_TIMEOUTS: [&str; 3] =
    ["socket.timeout.ms=3000", "reconnect.backoff.max.ms=200", "retry.backoff.max.ms=200"];

/// A mock cluster, a producer, and the plays that were handed to it.
pub struct Mock {
    /// The cluster, to inject faults into.
    pub cluster: MockCluster<'static, DefaultProducerContext>,
    producer: BaseProducer,
    sent: Vec<Play>,
}

/// The configuration of a client, with short timeouts.
fn config(servers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", servers);
    for option in SHORT_TIMEOUTS {
        let (name, value) = option.split_once('=').expect("an option");
        config.set(name, value);
    }
    config
}

impl Mock {
    /// A cluster of `brokers` brokers with the topic.
    pub fn new(brokers: i32) -> Self {
        let cluster = MockCluster::new(brokers).expect("a mock cluster");
        cluster.create_topic(TOPIC, PARTITIONS, brokers).expect("a topic");
        let producer = config(&cluster.bootstrap_servers()).create().expect("a producer");
        Self { cluster, producer, sent: Vec::new() }
    }

    /// Starts `reprise run` on the cluster, with two workers and `options`.
    pub fn run(&self, lake: &Path, options: &[&str]) -> Running {
        let mut arguments = vec!["-w", "2"];
        SHORT_TIMEOUTS.iter().for_each(|option| arguments.extend(["-X", option]));
        arguments.extend(options);
        Running::of(reprise(run_on(&self.cluster.bootstrap_servers(), TOPIC, lake, &arguments)))
    }

    /// Hands `count` plays to the producer, which sends them as soon as a broker accepts them.
    pub fn send(&mut self, count: usize) {
        for _ in 0..count {
            let number = self.sent.len();
            let play = Play::new(&format!("S{}", number % 17), "2025-05-05T05:05:00Z");
            let time = play.time + jiff::Span::new().seconds((number / 10) as i64);
            let play = Play { user_id: number.to_string(), time, ..play };
            let (value, key) = (play.json(), number.to_string());
            let record = BaseRecord::to(TOPIC).partition(number as i32 % PARTITIONS).key(&key).payload(&value);
            self.producer.send(record).map_err(|(error, _)| error).expect("room in the queue of the producer");
            self.sent.push(play);
        }
        self.producer.poll(Duration::ZERO);
    }

    /// Waits until all that was sent has arrived.
    pub fn arrived(&self) {
        self.producer.flush(TIMEOUT).expect("the records arrive");
    }

    /// The play at each partition and offset of the cluster.
    fn records(&self) -> BTreeMap<(i32, i64), Play> {
        let mut config = config(&self.cluster.bootstrap_servers());
        config.set("group.id", "records").set("enable.partition.eof", "true");
        let consumer: BaseConsumer = config.create().expect("a consumer");
        let mut assignment = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            assignment.add_partition_offset(TOPIC, partition, Offset::Offset(0)).expect("an offset");
        }
        consumer.assign(&assignment).expect("partitions");
        let (mut records, mut ended) = (BTreeMap::new(), BTreeSet::new());
        eventually("the mock is read", || {
            while let Some(polled) = consumer.poll(Duration::from_millis(200)) {
                match polled {
                    Ok(message) => {
                        let number = message.key().and_then(|key| std::str::from_utf8(key).ok()?.parse::<usize>().ok());
                        let play = self.sent[number.expect("a number as key")].clone();
                        records.insert((message.partition(), message.offset()), play);
                    }
                    Err(KafkaError::PartitionEOF(partition)) => drop(ended.insert(partition)),
                    // Some injected errors may still be pending.
                    Err(_) => break,
                }
            }
            (ended.len() == PARTITIONS as usize).then_some(())
        });
        records
    }
}

/// Runs `reprise` on a cluster of `brokers` with plays sent before, during and after `fault`. Every
/// offset must be in the lake once, the charts must equal the brute force, and the log must contain
/// `expected_log`.
#[track_caller]
pub fn survives(brokers: i32, expected_log: &str, fault: impl FnOnce(&mut Mock, &Running)) {
    let mut mock = Mock::new(brokers);
    let folder = folder();
    let running = mock.run(folder.path(), &["--commit-interval", "300ms"]);
    mock.send(500);
    mock.arrived();
    has_read(&running, 500);
    fault(&mut mock, &running);
    mock.send(500);
    mock.arrived();
    let records = mock.records();
    assert_holds(&mock, running, folder.path(), &records, expected_log);
}

/// Waits until at least `plays` plays have been read.
#[track_caller]
pub fn has_read(running: &Running, plays: i64) {
    eventually("the plays are read", || (running.status()["accepted"].as_i64() >= Some(plays)).then_some(()));
}

#[track_caller]
fn assert_holds(mock: &Mock, running: Running, lake: &Path, records: &BTreeMap<(i32, i64), Play>, expected_log: &str) {
    let ends: BTreeMap<i64, i64> = records.keys().map(|&(partition, offset)| (partition.into(), offset + 1)).collect();
    eventually("everything is read", || {
        let status = running.status();
        (status["caught_up"] == true && offsets(&status, "next_offset") == ends).then_some(())
    });
    let stderr = running.program.stderr();
    running.stop();
    assert!(stderr.contains(expected_log), "no {expected_log:?} in\n{stderr}");
    let mut found: Vec<_> =
        lake::plays(lake).into_iter().map(|row| ((row.partition, row.offset), row.play.line())).collect();
    found.sort_unstable();
    let expected: Vec<_> = records.iter().map(|(position, play)| (*position, play.line())).collect();
    assert_eq!(found.len(), expected.len(), "rows in the lake, and records in the topic");
    assert!(found == expected, "the lake has other plays than the topic");
    let users: BTreeSet<&str> = records.values().map(|play| play.user_id.as_str()).collect();
    assert_eq!(users.len(), mock.sent.len(), "the mock has lost plays");
    let plays: Vec<Play> = records.values().cloned().collect();
    replay(lake, &[]).assert_equals(&plays, &default_charts());
    log::account(lake);
}
