//! Sending to librdkafka's mock cluster. The program's own tests send to a real broker.

use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, DefaultProducerContext, Producer as _};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};
use reprise_kafka::Sender;

const PATIENCE: Duration = Duration::from_secs(20);
const TOPIC: &str = "plays";

fn cluster(partitions: i32) -> MockCluster<'static, DefaultProducerContext> {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic(TOPIC, partitions, 1).unwrap();
    cluster
}

fn sender(servers: &str, partitions: usize, queue: &str) -> Sender<DefaultProducerContext> {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", servers)
        .set("queue.buffering.max.messages", queue)
        .set("message.max.bytes", "1000")
        .set("linger.ms", "1")
        .create()
        .unwrap();
    Sender::new(producer, TOPIC, partitions).unwrap()
}

/// The key and the value of each message in the topic, by partition.
fn sent(servers: &str, lengths: &[usize]) -> Vec<Vec<(String, Option<String>)>> {
    let consumer: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", servers).set("group.id", "test").create().unwrap();
    let mut assignment = TopicPartitionList::new();
    for partition in 0..lengths.len() {
        assignment.add_partition_offset(TOPIC, i32::try_from(partition).unwrap(), Offset::Offset(0)).unwrap();
    }
    consumer.assign(&assignment).unwrap();
    let (mut found, began) = (vec![Vec::new(); lengths.len()], Instant::now());
    while found.iter().zip(lengths).any(|(found, &length)| found.len() < length) {
        assert!(began.elapsed() < PATIENCE, "{:?} of {lengths:?}", found.iter().map(Vec::len).collect::<Vec<_>>());
        let Some(message) = consumer.poll(Duration::from_millis(100)) else { continue };
        let message = message.unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        found[message.partition() as usize].push((text(message.key().unwrap()), message.payload().map(text)));
    }
    found
}

/// The queue of the producer is much smaller than what is pushed, so that each call hands over only
/// the first of the remaining messages.
#[test]
fn every_message_arrives_once_and_in_order() {
    let cluster = cluster(3);
    let servers = cluster.bootstrap_servers();
    let mut sender = sender(&servers, 3, "64");
    let (mut pushed, mut refused) = (vec![Vec::new(); 3], 0);
    for number in 0..5000 {
        let partition = if number % 10 < 7 { 0 } else { 1 + number % 2 };
        let (key, value) = (format!("k{number}"), (number % 9 > 0).then(|| "v".repeat(number % 50)));
        sender.push(partition, key.as_bytes(), value.as_deref().map(str::as_bytes));
        pushed[partition].push((key, value));
        if number % 97 == 0 || number == 4999 {
            while !sender.hand_over().unwrap() {
                refused += 1;
                sender.producer().poll(Duration::from_millis(1));
            }
        }
    }
    assert!(refused > 0, "the queue was never full");
    sender.producer().flush(PATIENCE).unwrap();
    let lengths: Vec<usize> = pushed.iter().map(Vec::len).collect();
    assert_eq!(sent(&servers, &lengths), pushed);
}

#[test]
fn a_message_that_is_too_large_is_refused() {
    let cluster = cluster(1);
    let mut sender = sender(&cluster.bootstrap_servers(), 1, "100");
    sender.push(0, b"k", Some(&[b'v'; 2000]));
    assert_eq!(sender.hand_over(), Err(KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge)));
}

#[test]
fn no_topic_has_a_zero_byte_in_its_name() {
    let producer: BaseProducer = ClientConfig::new().create().unwrap();
    assert!(Sender::new(producer, "a\0b", 1).is_err());
}
