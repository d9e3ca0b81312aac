//! Access to the topic in Kafka: the options of the client, creating the topic, and reading it from
//! its start.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Headers as _, Message};
use rdkafka::producer::{BaseProducer, Producer as _, ProducerContext};
use rdkafka::{Offset, TopicPartitionList};
use tracing::warn;

use super::ledger::Ledger;
use super::publish_error::PublishError;
use crate::kafka::topics as topic;
use crate::kafka::{Listener, TopicConfig, creation_error};

/// The partitions of a topic that we create.
const PARTITIONS: i32 = 4;
/// The options of a topic that we create: segments that are small enough for compaction to come
/// soon, and messages that may hold the longest list of the longest titles, compressed.
const TOPIC_OPTIONS: [(&str, &str); 3] =
    [("cleanup.policy", "compact"), ("segment.bytes", "67108864"), ("max.message.bytes", "8388608")];
/// Reading the topic fails if no message comes for this long.
const SILENCE_MAX: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(100);
/// Options of the producer, unless the user says otherwise.
const PRODUCER_OPTIONS: [(&str, &str); 8] = [
    ("client.id", "reprise-changelog"),
    // The first transaction may hold all cells, and so take long. Brokers allow 15 minutes by
    // default.
    ("transaction.timeout.ms", "300000"),
    ("message.timeout.ms", "60000"),
    ("queue.buffering.max.kbytes", "65536"),
    ("message.max.bytes", "33554432"),
    ("compression.type", "zstd"),
    ("linger.ms", "20"),
    ("delivery.report.only.error", "true"),
];
/// Options of the user that do not reach the producer: options of consumers, of which it would
/// warn, and options that must not be changed.
const LEFT_OUT: [&str; 16] = [
    "acks",
    "check.crcs",
    "consume.callback.max.messages",
    "coordinator.query.interval.ms",
    "enable.idempotence",
    "enable.partition.eof",
    "heartbeat.interval.ms",
    "isolation.level",
    "max.partition.fetch.bytes",
    "max.poll.interval.ms",
    "partition.assignment.strategy",
    "queued.max.messages.kbytes",
    "queued.min.messages",
    "request.required.acks",
    "session.timeout.ms",
    "transactional.id",
];
/// The prefixes of more such options.
const LEFT_OUT_PREFIXES: [&str; 5] = ["auto.", "enable.auto.", "fetch.", "group.", "offset.store."];

/// A producer whose errors a [`Listener`] notes.
pub type Producer = BaseProducer<Listener>;

impl ProducerContext for Listener {
    type DeliveryOpaque = ();

    /// Does nothing: if a message has not been delivered, the commit of its transaction fails.
    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

/// The name of a header of each message, whose value is the topic of the plays that the message
/// counts.
pub const PLAYS: &str = "plays";

/// The topic of the changelog, and how to reach its brokers.
pub struct Client {
    /// The configuration of the plays' topic, with the topic of the changelog in its place.
    broker: TopicConfig,
    /// The topic of the plays.
    plays: String,
}

impl Client {
    /// A client of the changelog's `topic`, on the brokers of `plays`.
    pub fn new(plays: &TopicConfig, topic: &str) -> Self {
        Self { broker: TopicConfig { topic: topic.to_owned(), ..plays.clone() }, plays: plays.topic.clone() }
    }

    /// The topic of the plays that the charts count.
    pub fn plays(&self) -> &str {
        &self.plays
    }

    /// The topic of the changelog.
    pub fn topic(&self) -> &str {
        &self.broker.topic
    }

    /// A configuration of `options`, the brokers, and the options of the user, which win.
    fn config(&self, options: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.broker.servers);
        for (name, value) in options {
            config.set(*name, *value);
        }
        config.extend(self.broker.options.iter().filter(|(name, _)| !is_left_out(name)).cloned());
        config
    }

    /// A transactional producer. The topic has one at a time: the producer that initialises its
    /// transactions last fences out all others.
    ///
    /// # Errors
    /// If librdkafka refuses an option.
    pub fn producer(&self) -> Result<Producer> {
        let mut config = self.config(&PRODUCER_OPTIONS);
        // The id depends on the topic's name alone, so that two instances with the same topic fence
        // each other out, and notice, whatever else differs between them.
        config.set("transactional.id", format!("reprise-changelog-{}", self.topic()));
        config.set("enable.idempotence", "true").set("acks", "all");
        config.create_with_context(Listener::default()).map_err(creation_error)
    }

    /// Creates the topic if it does not exist. Returns the number of its partitions.
    ///
    /// # Errors
    /// If the brokers do not answer, or refuse.
    pub fn ensure(&self, producer: &Producer) -> Result<usize> {
        topic::ensure(producer.client(), &self.config(&[]), self.topic(), PARTITIONS, &TOPIC_OPTIONS)
    }

    /// Warns if the topic's cleanup policy is not `compact`, which keeps the last message of each
    /// key. Not every broker tells the policy.
    pub fn warn_unless_compacted(&self) {
        let topic = self.topic();
        if let Ok(Some(policy)) = topic::option(&self.config(&[]), topic, "cleanup.policy")
            && policy != "compact"
        {
            warn!(
                topic,
                policy,
                "the topic of the changelog is not compacted: it loses charts that have not changed for long, or grows without \
                 end; set its cleanup.policy to compact"
            );
        }
    }

    /// Reads the topic from its start to its current end.
    ///
    /// # Errors
    /// [`PublishError::Final`], if the topic has messages of others, or charts that count the plays of
    /// another topic: neither may be replaced. [`PublishError::Passing`], if the topic cannot be read to
    /// its end.
    pub fn read(&self, partitions: usize) -> Result<Ledger, PublishError> {
        let consumer = self.broker.consumer_with(&[("isolation.level", "read_committed")])?;
        let mut assignment = TopicPartitionList::new();
        let mut left: BTreeSet<i32> = (0..partitions as i32).collect();
        for partition in &left {
            assignment.add_partition_offset(self.topic(), *partition, Offset::Beginning).context("no offset")?;
        }
        consumer.assign(&assignment).context("the topic cannot be read")?;
        let (mut ledger, mut heard) = (Ledger::new(partitions), Instant::now());
        let mut last_error = None;
        while !left.is_empty() {
            match consumer.poll(POLL) {
                Some(Ok(message)) => {
                    heard = Instant::now();
                    let (partition, offset) = (message.partition(), message.offset());
                    if let Some(others) = plays_of(&message).filter(|plays| *plays != self.plays) {
                        return Err(PublishError::Final(anyhow!(
                            "{topic}/{partition} has at offset {offset} charts of the topic {others:?}, and ours are of {ours}: give \
                             --changelog a topic of its own for each lake",
                            topic = self.topic(),
                            ours = self.plays,
                        )));
                    }
                    ledger.read(partition, message.key(), message.payload()).map_err(|error| {
                        let topic = self.topic();
                        PublishError::Final(error.context(format!(
                            "{topic}/{partition} has a message of another program at offset {offset}"
                        )))
                    })?;
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => drop(left.remove(&partition)),
                Some(Err(error)) => last_error = Some(consumer.context().explain(&error)),
                None => {}
            }
            if heard.elapsed() > SILENCE_MAX {
                let last_error = last_error.unwrap_or_else(|| "no answer".to_owned());
                return Err(anyhow!("it cannot be read to its end ({last_error})").into());
            }
        }
        Ok(ledger)
    }
}

/// The topic of the plays that a message counts, if it has the header: earlier versions did not
/// write it.
fn plays_of(message: &impl Message) -> Option<&str> {
    let mut headers = message.headers()?.iter();
    headers.find(|header| header.key == PLAYS).and_then(|header| std::str::from_utf8(header.value?).ok())
}

fn is_left_out(option: &str) -> bool {
    LEFT_OUT.contains(&option) || LEFT_OUT_PREFIXES.iter().any(|prefix| option.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(options: &[(&str, &str)]) -> Client {
        let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Client::new(&TopicConfig { options, ..TopicConfig::new("localhost:1", "plays") }, "charts")
    }

    #[test]
    fn options_of_the_user_win_where_they_make_sense() {
        let options = [("fetch.wait.max.ms", "50"), ("acks", "1"), ("linger.ms", "7"), ("sasl.username", "me")];
        let config = client(&options).config(&PRODUCER_OPTIONS);
        let found = ["fetch.wait.max.ms", "acks", "linger.ms", "sasl.username", "compression.type"];
        assert_eq!(found.map(|name| config.get(name)), [None, None, Some("7"), Some("me"), Some("zstd")]);
    }

    /// An error names the option that is wrong, and does not show its value.
    #[test]
    fn no_error_has_a_value() {
        let error = client(&[("linger.ms", "secret")]).producer().map(drop).unwrap_err();
        let said = format!("{error:#}");
        assert!(said.contains("linger.ms") && !said.contains("secret"), "{said}");
    }
}
