//! The real broker, and what a test does with it beside what the program does: topics, records, transactions.
//!
//! The address is that of `KAFKA_BOOTSTRAP_SERVERS`, as `scripts/test` sets it. Otherwise `scripts/kafka` starts a broker
//! for this process, or finds one that runs already and then leaves it running.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::program::Program;
use super::{eventually, repository, unique};

const ANSWER_MAX: Duration = Duration::from_secs(30);
const VALUE_BYTES_MAX: &str = "4194304";

/// `host:port`.
pub fn servers() -> &'static str {
    static SERVERS: OnceLock<String> = OnceLock::new();
    SERVERS.get_or_init(|| match std::env::var("KAFKA_BOOTSTRAP_SERVERS") {
        Ok(given) if !given.is_empty() => given,
        _ => start(),
    })
}

fn start() -> String {
    let script = repository().join("scripts/kafka");
    let was_running = Program::spawn(Command::new(&script).arg("env")).end().status.success();
    let started = Program::spawn(Command::new(&script).arg("start")).succeed();
    if !was_running {
        stop_at_end(&script);
    }
    started.stdout.trim().to_owned()
}

/// Nothing of ours runs after the last test, so a shell waits for this process to end, which closes the pipe between them.
fn stop_at_end(script: &Path) {
    static SHELL: OnceLock<Child> = OnceLock::new();
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' INT TERM HUP; read -r _; exec \"$0\" stop"]).arg(script);
    shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    SHELL.get_or_init(|| shell.spawn().expect("sh starts"));
}

/// What any client needs.
pub fn config() -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", servers());
    // Room for a value of 2 MB; topics get it too.
    config.set("message.max.bytes", VALUE_BYTES_MAX);
    config
}

/// Makes a topic of its own for a test.
pub fn topic(name: &str, partitions: i32) -> String {
    topic_with(name, partitions, &[])
}

/// Makes a topic with options of the broker.
pub fn topic_with(name: &str, partitions: i32, options: &[(&str, &str)]) -> String {
    let name = unique(name);
    create(&name, partitions, options).expect("the topic is made");
    name
}

fn create(name: &str, partitions: i32, options: &[(&str, &str)]) -> Result<(), RDKafkaErrorCode> {
    let admin: AdminClient<DefaultClientContext> = config().create().expect("an admin client");
    let new = NewTopic::new(name, partitions, TopicReplication::Fixed(1)).set("max.message.bytes", VALUE_BYTES_MAX);
    let new = options.iter().fold(new, |new, (option, value)| new.set(option, value));
    let created = block_on(admin.create_topics([&new], &patient())).expect("the broker answers");
    created.into_iter().try_for_each(|created| created.map(drop).map_err(|(_, error)| error))?;
    wait_for_leaders(&admin, name, partitions);
    Ok(())
}

/// Deletes a topic, with all that it holds.
pub fn delete(topic: &str) {
    let admin: AdminClient<DefaultClientContext> = config().create().expect("an admin client");
    let deleted = block_on(admin.delete_topics(&[topic], &patient())).expect("the broker answers");
    deleted.into_iter().for_each(|deleted| drop(deleted.expect("the topic is deleted")));
}

/// Makes a topic again that was deleted.
pub fn make_again(topic: &str, partitions: i32) {
    eventually("the topic is made again", || create(topic, partitions, &[]).ok());
}

fn patient() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(ANSWER_MAX)).request_timeout(Some(ANSWER_MAX))
}

/// What a consumer group says that it has read of a topic.
pub fn committed(group: &str, topic: &str) -> BTreeMap<i32, i64> {
    let consumer: BaseConsumer = config().set("group.id", group).create().expect("a consumer");
    let mut asked = TopicPartitionList::new();
    for partition in ends(topic).into_keys() {
        asked.add_partition(topic, partition);
    }
    let committed = consumer.committed_offsets(asked, ANSWER_MAX).expect("the broker answers");
    let committed = committed.elements().into_iter().filter_map(|found| match found.offset() {
        Offset::Offset(offset) => Some((found.partition(), offset)),
        _ => None,
    });
    committed.collect()
}

/// Gives a topic more partitions, so that it has `partitions`.
pub fn add_partitions(topic: &str, partitions: i32) {
    let admin: AdminClient<DefaultClientContext> = config().create().expect("an admin client");
    let new = NewPartitions::new(topic, partitions as usize);
    let added = block_on(admin.create_partitions([&new], &patient())).expect("the broker answers");
    added.into_iter().for_each(|added| drop(added.expect("the partitions are added")));
    wait_for_leaders(&admin, topic, partitions);
}

fn wait_for_leaders(admin: &AdminClient<DefaultClientContext>, topic: &str, partitions: i32) {
    eventually("all partitions have leaders", || {
        let metadata = admin.inner().fetch_metadata(Some(topic), ANSWER_MAX).ok()?;
        let ready = metadata.topics().first()?.partitions().iter().filter(|partition| partition.leader() >= 0).count();
        (ready == partitions as usize).then_some(())
    });
}

/// What the broker has as an option of a topic.
pub fn option(topic: &str, name: &str) -> String {
    let admin: AdminClient<DefaultClientContext> = config().create().expect("an admin client");
    let topic = ResourceSpecifier::Topic(topic);
    let described = block_on(admin.describe_configs([&topic], &patient())).expect("the broker answers");
    let options = described.into_iter().next().expect("an answer").expect("the options of the topic");
    options.get(name).and_then(|option| option.value.clone()).expect("the option has a value")
}

/// Deletes all records of a partition before `offset`, as retention does.
pub fn delete_before(topic: &str, partition: i32, offset: i64) {
    let admin: AdminClient<DefaultClientContext> = config().create().expect("an admin client");
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset(topic, partition, Offset::Offset(offset)).expect("an offset");
    block_on(admin.delete_records(&offsets, &patient())).expect("the broker deletes records");
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
}

/// A producer whose records are all or none, once `commit` or `abort` says so.
pub fn transactional() -> BaseProducer {
    transactional_as(&unique("transaction"))
}

/// Likewise; any earlier one of the same `id` is shut out.
pub fn transactional_as(id: &str) -> BaseProducer {
    let producer: BaseProducer = config().set("transactional.id", id).create().expect("a transactional producer");
    producer.init_transactions(ANSWER_MAX).expect("the broker knows transactions");
    producer
}

/// Sends values to a partition, in order, and waits until they have arrived. The key of each is its place among them.
pub fn send<V: AsRef<[u8]>>(producer: &BaseProducer, topic: &str, partition: i32, values: impl IntoIterator<Item = V>) {
    for (index, value) in values.into_iter().enumerate() {
        let key = index.to_string();
        let record = BaseRecord::to(topic).partition(partition).key(&key).payload(value.as_ref());
        producer.send(record).map_err(|(error, _)| error).expect("room in the queue of the producer");
    }
    producer.flush(ANSWER_MAX).expect("the records arrive");
}

/// Sends values outside of any transaction.
pub fn produce<V: AsRef<[u8]>>(topic: &str, partition: i32, values: impl IntoIterator<Item = V>) {
    let producer: BaseProducer = config().create().expect("a producer");
    send(&producer, topic, partition, values);
}

pub fn commit(producer: &BaseProducer) {
    producer.commit_transaction(ANSWER_MAX).expect("the transaction commits");
}

pub fn abort(producer: &BaseProducer) {
    producer.abort_transaction(ANSWER_MAX).expect("the transaction aborts");
}

/// How many records a partition holds, which are fewer than its offsets where there are holes.
pub fn records(topic: &str, partition: i32) -> usize {
    read(topic, [partition]).len()
}

/// A record of a topic.
pub struct Record {
    pub partition: i32,
    pub key: Vec<u8>,
    pub value: Option<Vec<u8>>,
}

/// All records that a topic holds but those that are not committed, in the order of each partition.
pub fn read_all(topic: &str) -> Vec<Record> {
    read(topic, ends(topic).into_keys())
}

fn read(topic: &str, partitions: impl IntoIterator<Item = i32>) -> Vec<Record> {
    let consumer = config().set("group.id", "test").set("enable.partition.eof", "true").create();
    let consumer: BaseConsumer = consumer.expect("a consumer");
    let mut assignment = TopicPartitionList::new();
    for partition in partitions {
        assignment.add_partition_offset(topic, partition, Offset::Beginning).expect("an offset");
    }
    consumer.assign(&assignment).expect("partitions");
    let (mut records, mut left) = (Vec::new(), assignment.count());
    while left > 0 {
        match consumer.poll(ANSWER_MAX) {
            Some(Ok(record)) => records.push(Record {
                partition: record.partition(),
                key: record.key().unwrap_or_default().to_vec(),
                value: record.payload().map(<[u8]>::to_vec),
            }),
            Some(Err(KafkaError::PartitionEOF(_))) => left -= 1,
            other => panic!("{topic} cannot be read: {other:?}"),
        }
    }
    records
}

/// Where each partition ends for a reader of what is committed.
pub fn ends(topic: &str) -> HashMap<i32, i64> {
    let consumer: BaseConsumer = config().create().expect("a consumer");
    let metadata = consumer.fetch_metadata(Some(topic), ANSWER_MAX).expect("the broker answers");
    let partitions = metadata.topics()[0].partitions().iter().map(|partition| partition.id());
    let end = |partition| {
        let (_, end) = consumer.fetch_watermarks(topic, partition, ANSWER_MAX).expect("the broker answers");
        (partition, end)
    };
    partitions.map(end).collect()
}

/// Whether there is a `topic`.
pub fn exists(topic: &str) -> bool {
    let consumer: BaseConsumer = config().create().expect("a consumer");
    let metadata = consumer.fetch_metadata(None, Duration::from_secs(30)).expect("the broker answers");
    metadata.topics().iter().any(|known| known.name() == topic && !known.partitions().is_empty())
}
