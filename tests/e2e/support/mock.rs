//! librdkafka's mock cluster, which can be told to misbehave, with a topic and what was sent to it.
//!
//! Only for faults that a real broker cannot be asked for. The mock is not a broker to trust, and a producer that it fails
//! may send a record twice. So the truth is what another consumer finds in it when the trouble is over.

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
use super::{PATIENCE, eventually, lake, log};

pub const TOPIC: &str = "faults";
pub const PARTITIONS: i32 = 3;

/// Options of all clients.
const IMPATIENT: [&str; 3] = ["socket.timeout.ms=3000", "reconnect.backoff.max.ms=200", "retry.backoff.max.ms=200"];

pub struct Mock {
    pub cluster: MockCluster<'static, DefaultProducerContext>,
    producer: BaseProducer,
    sent: Vec<Play>,
}

/// A client that does not wait long: the mock never answers some of the requests that meet a fault.
fn config(servers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", servers);
    for option in IMPATIENT {
        let (name, value) = option.split_once('=').expect("an option");
        config.set(name, value);
    }
    config
}

impl Mock {
    pub fn new(brokers: i32) -> Self {
        let cluster = MockCluster::new(brokers).expect("a mock cluster");
        cluster.create_topic(TOPIC, PARTITIONS, brokers).expect("a topic");
        let producer = config(&cluster.bootstrap_servers()).create().expect("a producer");
        Self { cluster, producer, sent: Vec::new() }
    }

    /// A `reprise run` over the cluster, with two workers and `options`.
    pub fn run(&self, lake: &Path, options: &[&str]) -> Running {
        let mut words = vec!["-w", "2"];
        IMPATIENT.iter().for_each(|option| words.extend(["-X", option]));
        words.extend(options);
        Running::of(reprise(run_on(&self.cluster.bootstrap_servers(), TOPIC, lake, &words)))
    }

    /// Hands `count` plays to the producer, which sends them when it can.
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
        self.producer.flush(PATIENCE).expect("the records arrive");
    }

    /// Every record that the cluster holds: the play of each partition and offset.
    fn truth(&self) -> BTreeMap<(i32, i64), Play> {
        let mut config = config(&self.cluster.bootstrap_servers());
        config.set("group.id", "truth").set("enable.partition.eof", "true");
        let consumer: BaseConsumer = config.create().expect("a consumer");
        let mut assignment = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            assignment.add_partition_offset(TOPIC, partition, Offset::Offset(0)).expect("an offset");
        }
        consumer.assign(&assignment).expect("partitions");
        let (mut truth, mut ended) = (BTreeMap::new(), BTreeSet::new());
        eventually("the mock is read", || {
            while let Some(polled) = consumer.poll(Duration::from_millis(200)) {
                match polled {
                    Ok(message) => {
                        let number = message.key().and_then(|key| std::str::from_utf8(key).ok()?.parse::<usize>().ok());
                        let play = self.sent[number.expect("a number as key")].clone();
                        truth.insert((message.partition(), message.offset()), play);
                    }
                    Err(KafkaError::PartitionEOF(partition)) => drop(ended.insert(partition)),
                    // There may be errors left that it was told to give.
                    Err(_) => break,
                }
            }
            (ended.len() == PARTITIONS as usize).then_some(())
        });
        truth
    }
}

/// Runs `reprise` over a cluster of `brokers` that has plays before, in and after `trouble`, which it must live through:
/// each offset is in the lake once, the charts equal the brute force, and it has said what `said` says.
#[track_caller]
pub fn survives(brokers: i32, said: &str, trouble: impl FnOnce(&mut Mock, &Running)) {
    let mut mock = Mock::new(brokers);
    let folder = folder();
    let running = mock.run(folder.path(), &["--commit-interval", "300ms"]);
    mock.send(500);
    mock.arrived();
    has_read(&running, 500);
    trouble(&mut mock, &running);
    mock.send(500);
    mock.arrived();
    let truth = mock.truth();
    assert_holds(&mock, running, folder.path(), &truth, said);
}

/// Waits until at least so many plays have been read.
#[track_caller]
pub fn has_read(running: &Running, plays: i64) {
    eventually("the plays are read", || (running.status()["accepted"].as_i64() >= Some(plays)).then_some(()));
}

#[track_caller]
fn assert_holds(mock: &Mock, running: Running, lake: &Path, truth: &BTreeMap<(i32, i64), Play>, said: &str) {
    let ends: BTreeMap<i64, i64> = truth.keys().map(|&(partition, offset)| (partition.into(), offset + 1)).collect();
    eventually("everything is read", || {
        let status = running.status();
        (status["caught_up"] == true && offsets(&status, "next_offset") == ends).then_some(())
    });
    let stderr = running.program.stderr();
    running.stop();
    assert!(stderr.contains(said), "no {said:?} in\n{stderr}");
    let mut found: Vec<_> =
        lake::plays(lake).into_iter().map(|row| ((row.partition, row.offset), row.play.line())).collect();
    found.sort_unstable();
    let expected: Vec<_> = truth.iter().map(|(place, play)| (*place, play.line())).collect();
    assert_eq!(found.len(), expected.len(), "rows in the lake, and records in the topic");
    assert!(found == expected, "the lake has other plays than the topic");
    let users: BTreeSet<&str> = truth.values().map(|play| play.user_id.as_str()).collect();
    assert_eq!(users.len(), mock.sent.len(), "the mock has lost plays");
    let plays: Vec<Play> = truth.values().cloned().collect();
    replay(lake, &[]).assert_equals(&plays, &default_charts());
    log::account(lake);
}
