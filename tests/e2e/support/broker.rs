//! The real broker, and the operations that tests do on it directly: topics, records, transactions.
//!
//! The address is `KAFKA_BOOTSTRAP_SERVERS`, which `scripts/test` sets. Without it, `scripts/kafka`
//! starts a broker for this process, or finds a running one and leaves it running.

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

/// How long a broker may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// The largest record value that topics and clients accept, in bytes.
const VALUE_BYTES_MAX: &str = "4194304";

/// The bootstrap address, `host:port`.
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

/// No code of this process runs after the last test. A shell therefore waits for the process to
/// end, which closes the pipe between them, and then stops the broker.
fn stop_at_end(script: &Path) {
    static SHELL: OnceLock<Child> = OnceLock::new();
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' INT TERM HUP; read -r _; exec \"$0\" stop"]).arg(script);
    shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    SHELL.get_or_init(|| shell.spawn().expect("sh starts"));
}

/// The configuration that every client shares.
pub fn config() -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", servers());
    // Large enough for a value of 2 MB; topics get the same limit.
    config.set("message.max.bytes", VALUE_BYTES_MAX);
    config
}

/// Creates a topic whose name starts with `name` and is unique to the test, and returns the name.
pub fn topic(name: &str, partitions: i32) -> String {
    topic_with(name, partitions, &[])
}

/// Like [`topic`], with topic options such as `cleanup.policy`.
pub fn topic_with(name: &str, partitions: i32, options: &[(&str, &str)]) -> String {
    let name = unique(name);
    create(&name, partitions, options).expect("the topic is made");
    name
}

fn create(name: &str, partitions: i32, options: &[(&str, &str)]) -> Result<(), RDKafkaErrorCode> {
    let admin: AdminClient<DefaultClientContext> = config().create().expect("an admin client");
    let new = NewTopic::new(name, partitions, TopicReplication::Fixed(1)).set("max.message.bytes", VALUE_BYTES_MAX);
    let new = options.iter().fold(new, |new, (option, value)| new.set(option, value));
    let created = block_on(admin.create_topics([&new], &admin_options())).expect("the broker answers");
    created.into_iter().try_for_each(|created| created.map(drop).map_err(|(_, error)| error))?;
    wait_for_leaders(&admin, name, partitions);
    Ok(())
}

/// Deletes a topic and its records.
pub fn delete(topic: &str) {
    let admin: AdminClient<DefaultClientContext> = config().create().expect("an admin client");
    let deleted = block_on(admin.delete_topics(&[topic], &admin_options())).expect("the broker answers");
    deleted.into_iter().for_each(|deleted| drop(deleted.expect("the topic is deleted")));
}

/// Creates a topic of this exact name, retrying while the broker still deletes an earlier one.
pub fn recreate(topic: &str, partitions: i32) {
    eventually("the topic is created again", || create(topic, partitions, &[]).ok());
}

fn admin_options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(ANSWER_MAX)).request_timeout(Some(ANSWER_MAX))
}

/// The offsets that a consumer group has committed for a topic, by partition.
pub fn committed(group: &str, topic: &str) -> BTreeMap<i32, i64> {
    let consumer: BaseConsumer = config().set("group.id", group).create().expect("a consumer");
    let mut requested = TopicPartitionList::new();
    for partition in ends(topic).into_keys() {
        requested.add_partition(topic, partition);
    }
    let committed = consumer.committed_offsets(requested, ANSWER_MAX).expect("the broker answers");
    let committed = committed.elements().into_iter().filter_map(|found| match found.offset() {
        Offset::Offset(offset) => Some((found.partition(), offset)),
        _ => None,
    });
    committed.collect()
}

/// Raises the number of a topic's partitions to `partitions`.
pub fn add_partitions(topic: &str, partitions: i32) {
    let admin: AdminClient<DefaultClientContext> = config().create().expect("an admin client");
    let new = NewPartitions::new(topic, partitions as usize);
    let added = block_on(admin.create_partitions([&new], &admin_options())).expect("the broker answers");
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

/// The value of a topic's option.
pub fn option(topic: &str, name: &str) -> String {
    let admin: AdminClient<DefaultClientContext> = config().create().expect("an admin client");
    let topic = ResourceSpecifier::Topic(topic);
    let described = block_on(admin.describe_configs([&topic], &admin_options())).expect("the broker answers");
    let options = described.into_iter().next().expect("an answer").expect("the options of the topic");
    options.get(name).and_then(|option| option.value.clone()).expect("the option has a value")
}

/// Deletes all records of a partition before `offset`, as retention does.
pub fn delete_before(topic: &str, partition: i32, offset: i64) {
    let admin: AdminClient<DefaultClientContext> = config().create().expect("an admin client");
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset(topic, partition, Offset::Offset(offset)).expect("an offset");
    block_on(admin.delete_records(&offsets, &admin_options())).expect("the broker deletes records");
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
}

/// A transactional producer; end each transaction with [`commit`] or [`abort`].
pub fn transactional() -> BaseProducer {
    transactional_as(&unique("transaction"))
}

/// Like [`transactional`], with a given id. Fences any earlier producer of the same `id`.
pub fn transactional_as(id: &str) -> BaseProducer {
    let producer: BaseProducer = config().set("transactional.id", id).create().expect("a transactional producer");
    producer.init_transactions(ANSWER_MAX).expect("the broker knows transactions");
    producer
}

/// Sends values to a partition, in order, and waits until they have arrived. The key of each record
/// is its index among the values.
pub fn send<V: AsRef<[u8]>>(producer: &BaseProducer, topic: &str, partition: i32, values: impl IntoIterator<Item = V>) {
    for (index, value) in values.into_iter().enumerate() {
        let key = index.to_string();
        let record = BaseRecord::to(topic).partition(partition).key(&key).payload(value.as_ref());
        producer.send(record).map_err(|(error, _)| error).expect("room in the queue of the producer");
    }
    producer.flush(ANSWER_MAX).expect("the records arrive");
}

/// Sends values without a transaction.
pub fn produce<V: AsRef<[u8]>>(topic: &str, partition: i32, values: impl IntoIterator<Item = V>) {
    let producer: BaseProducer = config().create().expect("a producer");
    send(&producer, topic, partition, values);
}

/// Commits the open transaction.
pub fn commit(producer: &BaseProducer) {
    producer.commit_transaction(ANSWER_MAX).expect("the transaction commits");
}

/// Aborts the open transaction.
pub fn abort(producer: &BaseProducer) {
    producer.abort_transaction(ANSWER_MAX).expect("the transaction aborts");
}

/// The number of records in a partition, which is smaller than its number of offsets if there are
/// holes.
pub fn records(topic: &str, partition: i32) -> usize {
    read(topic, [partition]).len()
}

/// A record of a topic.
pub struct Record {
    pub partition: i32,
    /// Empty if the record has none.
    pub key: Vec<u8>,
    /// `None` is a tombstone.
    pub value: Option<Vec<u8>>,
}

/// All committed records of a topic, in the order of each partition.
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

/// The end offset of each partition for a consumer that reads committed records.
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

/// Whether a topic of this name exists and has partitions.
pub fn exists(topic: &str) -> bool {
    let consumer: BaseConsumer = config().create().expect("a consumer");
    let metadata = consumer.fetch_metadata(None, Duration::from_secs(30)).expect("the broker answers");
    metadata.topics().iter().any(|known| known.name() == topic && !known.partitions().is_empty())
}
