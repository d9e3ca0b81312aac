//! The configuration of Kafka clients, the consumers, and requests about the topic.

pub mod topics;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;

/// How long a broker may take to answer before it counts as unreachable.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Options that must not be changed: that no play is lost or counted twice depends on them.
const FIXED: [&str; 4] =
    ["auto.offset.reset", "enable.auto.commit", "enable.auto.offset.store", "enable.partition.eof"];
/// The default addresses of the brokers.
pub const DEFAULT_SERVERS: &str = "localhost:9092";
/// The default name of the consumer group.
pub const DEFAULT_GROUP: &str = "reprise";
/// The most waiting events of librdkafka that are read to explain why no answer came.
pub const EVENTS_MAX: usize = 100;

/// The addresses of a cluster, a topic, and the client options. Not `Debug`: the options may
/// contain a password.
#[derive(Clone)]
pub struct TopicConfig {
    /// `host:port` of the brokers, separated by commas.
    pub servers: String,
    /// The name of the topic.
    pub topic: String,
    /// The consumer group under which offsets are published, for tools that measure lag. No
    /// consumer joins it.
    pub group: String,
    /// librdkafka options by name; they override our own.
    pub options: Vec<(String, String)>,
}

/// A consumer of plays.
pub type Consumer = BaseConsumer<Listener>;

/// Keeps the last error that librdkafka reported, for the message about a failed request.
/// librdkafka reports it again with every attempt, hundreds of times in a moment, so it is not
/// logged each time.
#[derive(Default)]
pub struct Listener(Mutex<Option<String>>);

impl Listener {
    /// `error`, and the last error that librdkafka reported.
    pub fn explain(&self, error: &KafkaError) -> String {
        let code = error.rdkafka_error_code().map_or_else(|| error.to_string(), |code| code.to_string());
        self.last_error().map_or_else(|| code.clone(), |last| format!("{code}; {last}"))
    }

    /// The last error that librdkafka reported, if any.
    pub fn last_error(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ClientContext for Listener {
    fn error(&self, error: KafkaError, reason: &str) {
        // The end of a partition is no error, and "all brokers are down" gives no reason.
        let code = error.rdkafka_error_code();
        let has_reason = !matches!(error, KafkaError::PartitionEOF(_))
            && !matches!(code, Some(RDKafkaErrorCode::PartitionEOF | RDKafkaErrorCode::AllBrokersDown));
        if has_reason {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.to_owned());
        }
    }
}

impl ConsumerContext for Listener {}

/// The error for a client that cannot be created. Hides the value of the option at fault, which
/// librdkafka repeats and which may be a password.
pub fn creation_error(error: KafkaError) -> anyhow::Error {
    match error {
        KafkaError::ClientConfig(_, description, name, value) => {
            let hidden = if value.is_empty() { description } else { description.replace(&value, "…") };
            anyhow!("the Kafka option {name} is not possible: {hidden}")
        }
        error => anyhow!(error).context("cannot make a Kafka client"),
    }
}

/// The offsets that a partition holds: `[first, end)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The lowest offset that the broker still has.
    pub first: i64,
    /// The offset that the next record will have.
    pub end: i64,
}

/// Checks that librdkafka knows all `options` and accepts their values.
///
/// # Errors
/// For the first option that it does not accept.
pub fn check_options(options: &[(String, String)]) -> Result<()> {
    let mut config = ClientConfig::new();
    config.extend(options.iter().cloned());
    config.create_native_config().map(drop).map_err(creation_error)
}

impl TopicConfig {
    /// Checks that librdkafka accepts the options, and that none is one of those that must not be
    /// changed.
    ///
    /// # Errors
    /// For the first option that may not be set, or not to this value.
    pub fn check_options(&self) -> Result<()> {
        if let Some((name, _)) = self.options.iter().find(|(name, _)| FIXED.contains(&name.as_str())) {
            bail!("the Kafka option {name} cannot be changed: it guarantees that no play is lost or counted twice");
        }
        check_options(&self.options)
    }

    /// A topic with the default group and no options.
    pub fn new(servers: &str, topic: &str) -> Self {
        let (servers, topic, group) = (servers.to_owned(), topic.to_owned(), DEFAULT_GROUP.to_owned());
        Self { servers, topic, group, options: Vec::new() }
    }

    /// A consumer whose partitions are assigned explicitly.
    ///
    /// # Errors
    /// If librdkafka does not know an option, or does not accept its value.
    pub fn consumer(&self) -> Result<Consumer> {
        self.consumer_with(&[])
    }

    /// A consumer with `special` options, which override all others.
    ///
    /// # Errors
    /// Like those of [`TopicConfig::consumer`].
    pub fn consumer_with(&self, special: &[(&str, &str)]) -> Result<Consumer> {
        // librdkafka needs a group name even for explicit assignment.
        self.client(Some(&self.group), special)
    }

    /// A client for metadata requests only. It has no group, since leaving a group takes a tenth of
    /// a second.
    ///
    /// # Errors
    /// Like those of [`TopicConfig::consumer`].
    pub fn metadata_consumer(&self) -> Result<Consumer> {
        self.client(None, &[])
    }

    /// A client for metadata requests that also sees records of open transactions: the ends that it
    /// reports are the high watermarks.
    ///
    /// # Errors
    /// Like those of [`TopicConfig::consumer`].
    pub fn uncommitted_consumer(&self) -> Result<Consumer> {
        self.client(None, &[("isolation.level", "read_uncommitted")])
    }

    fn client(&self, group: Option<&str>, special: &[(&str, &str)]) -> Result<Consumer> {
        let mut config = ClientConfig::new();
        if let Some(group) = group {
            config.set("group.id", group);
        }
        config
            .set("bootstrap.servers", &self.servers)
            .set("client.id", "reprise")
            // Progress is recorded only in the lake's log.
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            // A missing offset must be reported, never skipped.
            .set("auto.offset.reset", "error")
            // End-of-partition events tell a run that it has caught up, and reveal holes at the
            // end.
            .set("enable.partition.eof", "true")
            // By default fetching pauses for up to a second after the local queue was full, which
            // leaves a fast pipeline idle.
            .set("fetch.queue.backoff.ms", "5")
            .set("fetch.message.max.bytes", "2097152")
            // Enough for the time of one fetch. Each waiting message takes several hundred bytes,
            // and is out of the CPU cache when it is processed.
            .set("queued.min.messages", "10000")
            .set("queued.max.messages.kbytes", "24576");
        config.extend(self.options.iter().cloned());
        for (name, value) in special {
            config.set(*name, *value);
        }
        config.create_with_context(Listener::default()).map_err(creation_error)
    }

    /// The ids of the topic's partitions, in order.
    ///
    /// # Errors
    /// If the topic does not exist or cannot be read, or no broker answers.
    pub fn partitions(&self, consumer: &Consumer) -> Result<Vec<i32>> {
        match self.find(consumer, ANSWER_TIMEOUT) {
            Ok(Some(partitions)) => Ok(partitions),
            Ok(None) => bail!(
                "topic {} does not exist on {}: create it, or let `reprise generate --brokers {} --topic {}` create and fill it",
                self.topic,
                self.servers,
                self.servers,
                self.topic
            ),
            Err(KafkaError::Global(error)) => bail!("topic {} on {} cannot be read: {error}", self.topic, self.servers),
            Err(error) => Err(self.unreachable(consumer, &error)),
        }
    }

    /// The ids of the topic's partitions, in order; `None` if the broker answers that the topic
    /// does not exist.
    ///
    /// # Errors
    /// [`KafkaError::Global`] if the broker answers with another error about the topic; other
    /// errors mean that no broker answers within `timeout`.
    pub fn find(&self, consumer: &Consumer, timeout: Duration) -> Result<Option<Vec<i32>>, KafkaError> {
        Ok(self.leaders(consumer, timeout)?.map(|leaders| leaders.into_keys().collect()))
    }

    /// The topic's partitions as in [`Self::find`], each with the id of its leader; negative if it
    /// has none.
    fn leaders(&self, consumer: &Consumer, timeout: Duration) -> Result<Option<BTreeMap<i32, i32>>, KafkaError> {
        let metadata = consumer.fetch_metadata(Some(&self.topic), timeout)?;
        let Some(topic) = metadata.topics().iter().find(|topic| topic.name() == self.topic) else { return Ok(None) };
        match topic.error().map(RDKafkaErrorCode::from) {
            None => {}
            Some(RDKafkaErrorCode::UnknownTopicOrPartition) => return Ok(None),
            Some(error) => return Err(KafkaError::Global(error)),
        }
        let leaders = topic.partitions().iter().map(|partition| (partition.id(), partition.leader()));
        let leaders: BTreeMap<i32, i32> = leaders.collect();
        Ok((!leaders.is_empty()).then_some(leaders))
    }

    /// The cluster's id. A lake records it, so that it is fed by the same cluster every time.
    ///
    /// # Errors
    /// If no broker tells it within [`ANSWER_TIMEOUT`].
    pub fn cluster_id(&self, consumer: &Consumer) -> Result<String> {
        let id = consumer.client().fetch_cluster_id(ANSWER_TIMEOUT);
        id.with_context(|| format!("{} does not return the id of its cluster", self.servers))
    }

    /// The topic's id, which tells it from a topic that was deleted and created again under the
    /// same name. `None` if the cluster gives topics no ids.
    ///
    /// The request goes to the leader of one of its partitions, because consumers read from there.
    ///
    /// # Errors
    /// [`KafkaError::Global`] if the topic does not exist or has no leader, or the leader does not
    /// answer; other errors if no broker answers.
    pub fn topic_id(&self, consumer: &Consumer, timeout: Duration) -> Result<Option<String>, KafkaError> {
        let partitions = self.leaders(consumer, timeout)?.unwrap_or_default();
        let leader = partitions.into_values().find(|leader| *leader >= 0);
        let leader = leader.ok_or(KafkaError::Global(RDKafkaErrorCode::UnknownTopicOrPartition))?;
        reprise_kafka::topic_id(consumer.client(), &self.topic, leader, timeout).map_err(KafkaError::Global)
    }

    /// The offsets that each of `partitions` holds.
    ///
    /// # Errors
    /// If they are not received within `timeout`, which holds for each partition.
    pub fn extents(&self, consumer: &Consumer, partitions: &[i32], timeout: Duration) -> Result<BTreeMap<i32, Extent>> {
        let extent = |partition: &i32| {
            let (first, end) = consumer.fetch_watermarks(&self.topic, *partition, timeout).with_context(|| {
                format!("{} does not return the offsets of {}/{partition}", self.servers, self.topic)
            })?;
            Ok((*partition, Extent { first, end }))
        };
        partitions.iter().map(extent).collect()
    }

    fn unreachable(&self, consumer: &Consumer, error: &KafkaError) -> anyhow::Error {
        // librdkafka reports errors only when polled, one event at a time.
        for _ in 0..EVENTS_MAX {
            drop(consumer.poll(Duration::ZERO));
        }
        anyhow!(
            "no Kafka broker answers at {} within {} s ({}): is it running, and is the address right? `scripts/kafka start` \
             starts one here, and `reprise demo` needs none",
            self.servers,
            ANSWER_TIMEOUT.as_secs(),
            consumer.context().explain(error)
        )
    }
}
