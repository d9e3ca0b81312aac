//! Receiving from librdkafka's mock cluster. The program's own tests receive from a real broker.

use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::BaseConsumer;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer as _};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};
use reprise_kafka::{KafkaNotice, Receiver};

const PATIENCE: Duration = Duration::from_secs(20);
const TOPIC: &str = "plays";

/// A receiver of the partitions `0..partitions`, each from its first offset.
fn receiver(servers: &str, partitions: i32) -> Receiver<rdkafka::consumer::DefaultConsumerContext> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", servers)
        .set("group.id", "test")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "true")
        .create()
        .unwrap();
    let mut assignment = TopicPartitionList::new();
    for partition in 0..partitions {
        assignment.add_partition_offset(TOPIC, partition, Offset::Offset(0)).unwrap();
    }
    let mut receiver = Receiver::new(consumer).unwrap();
    receiver.assign(&assignment).unwrap();
    receiver
}

/// The key and the value of a record of the tests; either is missing now and then.
fn record(partition: i32, offset: i64) -> (Option<String>, Option<String>) {
    ((offset % 3 > 0).then(|| format!("k{offset}")), (offset % 5 > 0).then(|| format!("{partition}/{offset}")))
}

/// A cluster whose topic has one partition for each of `lengths`, with that many records.
fn cluster(lengths: &[i64]) -> MockCluster<'static, DefaultProducerContext> {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic(TOPIC, i32::try_from(lengths.len()).unwrap(), 1).unwrap();
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", cluster.bootstrap_servers()).create().unwrap();
    for (partition, &length) in (0..).zip(lengths) {
        for offset in 0..length {
            let (key, value) = record(partition, offset);
            let mut sent = BaseRecord::<str, str>::to(TOPIC).partition(partition).timestamp(1000 + offset);
            sent.key = key.as_deref();
            sent.payload = value.as_deref();
            producer.send(sent).unwrap_or_else(|(error, _)| panic!("{error}"));
        }
    }
    producer.flush(PATIENCE).unwrap();
    cluster
}

#[test]
fn every_message_comes_once_and_in_order_and_then_the_end() {
    let lengths = [1000, 0, 3];
    let cluster = cluster(&lengths);
    let mut receiver = receiver(&cluster.bootstrap_servers(), 3);
    let (mut nexts, mut ends) = ([0_i64; 3], [None; 3]);
    assert_eq!(receiver.fetched_end(TOPIC, 3), None, "it has no such partition");
    let began = Instant::now();
    while ends.iter().any(Option::is_none) {
        assert!(began.elapsed() < PATIENCE, "{nexts:?} of {lengths:?}, {ends:?}");
        match receiver.receive() {
            None => std::thread::sleep(Duration::from_millis(1)),
            Some(Ok(message)) => {
                let (partition, offset) = (message.partition, message.offset);
                assert_eq!(offset, nexts[partition as usize], "the next of {partition}");
                let (key, value) = record(partition, offset);
                let text = |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap());
                assert_eq!((text(message.key), text(message.value)), (key, value), "{partition}/{offset}");
                assert_eq!(message.timestamp_ms, Some(1000 + offset));
                nexts[partition as usize] += 1;
                assert_eq!(receiver.fetched_end(TOPIC, partition), Some(lengths[partition as usize]));
            }
            Some(Err(KafkaNotice::End { partition, offset })) => {
                assert_eq!(offset, nexts[partition as usize], "the end of {partition}");
                ends[partition as usize] = Some(offset);
            }
            Some(Err(error)) => panic!("{error:?}"),
        }
    }
    assert_eq!(nexts, lengths);
}

/// Messages are released whether they were received, only taken out of librdkafka, or neither:
/// destroying a consumer would wait forever for a message that is still held.
#[test]
fn it_ends_with_messages_on_the_way() {
    let cluster = cluster(&[30_000]);
    let servers = cluster.bootstrap_servers();
    let (done, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for round in 0..40 {
            let mut receiver = receiver(&servers, 1);
            let mut count = 0;
            while count < round * 50 {
                count += usize::from(matches!(receiver.receive(), Some(Ok(_))));
            }
            drop(receiver);
            done.send(round).unwrap();
        }
    });
    for round in 0..40 {
        assert_eq!(ended.recv_timeout(PATIENCE), Ok(round));
    }
}

#[test]
fn it_says_that_no_broker_answers() {
    // Nothing listens on port 1.
    let mut receiver = receiver("127.0.0.1:1", 1);
    let began = Instant::now();
    let (mut refused, mut all_down) = (false, false);
    while !(refused && all_down) {
        assert!(began.elapsed() < PATIENCE, "refused: {refused}, all down: {all_down}");
        match receiver.receive() {
            None => std::thread::sleep(Duration::from_millis(1)),
            Some(Err(KafkaNotice::Error { code: RDKafkaErrorCode::AllBrokersDown, .. })) => all_down = true,
            Some(Err(KafkaNotice::Error { reason, .. })) => refused |= reason.contains("refused"),
            Some(other) => panic!("{other:?}"),
        }
    }
}
