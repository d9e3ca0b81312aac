//! The Kafka cluster as `run` sees it: where it is, what it says of the topic, and the consumers that read from it.

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

/// How long to wait for an answer before the broker counts as unreachable.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Options that exactness rests on.
const FIXED: [&str; 4] =
    ["auto.offset.reset", "enable.auto.commit", "enable.auto.offset.store", "enable.partition.eof"];
/// Where Kafka is unless told otherwise.
pub const DEFAULT_SERVERS: &str = "localhost:9092";
/// What the group is called unless told otherwise.
pub const DEFAULT_GROUP: &str = "reprise";
/// How much of what librdkafka has to say is listened to when it gives no answer.
pub const NEWS_MAX: usize = 100;

/// A cluster, a topic, and how to talk to them. It cannot be printed: a password may be among the options.
#[derive(Clone)]
pub struct TopicConfig {
    /// `host:port`, several separated by commas.
    pub servers: String,
    pub topic: String,
    /// Under which offsets are published, for tools that measure lag. Nobody joins it.
    pub group: String,
    /// librdkafka options by their names; they win over ours.
    pub options: Vec<(String, String)>,
}

/// A consumer of plays.
pub type Consumer = BaseConsumer<Listener>;

/// Keeps what librdkafka last said of its trouble, for the one message about it. It says so again with every attempt,
/// hundreds of times in a moment, so none of that goes to the log by itself.
#[derive(Default)]
pub struct Listener(Mutex<Option<String>>);

impl Listener {
    /// `error`, and what librdkafka last said.
    pub fn explain(&self, error: &KafkaError) -> String {
        let code = error.rdkafka_error_code().map_or_else(|| error.to_string(), |code| code.to_string());
        self.said().map_or_else(|| code.clone(), |said| format!("{code}; {said}"))
    }

    /// What librdkafka last said of its trouble.
    pub fn said(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ClientContext for Listener {
    fn error(&self, error: KafkaError, reason: &str) {
        // The end of a partition is no trouble, and that no broker is left does not say why.
        let code = error.rdkafka_error_code();
        let told = !matches!(error, KafkaError::PartitionEOF(_))
            && !matches!(code, Some(RDKafkaErrorCode::PartitionEOF | RDKafkaErrorCode::AllBrokersDown));
        if told {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.to_owned());
        }
    }
}

impl ConsumerContext for Listener {}

/// Why there is no client. Without the value of the option that it is about, which may be a password; librdkafka repeats it.
pub fn unmade(error: KafkaError) -> anyhow::Error {
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
    pub first: i64,
    pub end: i64,
}

/// Refuses what librdkafka does not know among `options`, or has no such value for.
pub fn check_options(options: &[(String, String)]) -> Result<()> {
    let mut config = ClientConfig::new();
    config.extend(options.iter().cloned());
    config.create_native_config().map(drop).map_err(unmade)
}

impl TopicConfig {
    /// Refuses options that are not possible, or that exactness rests on.
    pub fn check_options(&self) -> Result<()> {
        if let Some((name, _)) = self.options.iter().find(|(name, _)| FIXED.contains(&name.as_str())) {
            bail!("the Kafka option {name} cannot be changed: that no play is lost or counted twice rests on it");
        }
        check_options(&self.options)
    }

    pub fn new(servers: &str, topic: &str) -> Self {
        let (servers, topic, group) = (servers.to_owned(), topic.to_owned(), DEFAULT_GROUP.to_owned());
        Self { servers, topic, group, options: Vec::new() }
    }

    /// A consumer that is assigned its partitions by hand.
    ///
    /// # Errors
    /// If an option is not known to librdkafka or has a wrong value.
    pub fn consumer(&self) -> Result<Consumer> {
        self.consumer_with(&[])
    }

    /// A consumer with `special` options, which win over all others.
    pub fn consumer_with(&self, special: &[(&str, &str)]) -> Result<Consumer> {
        // Assigning by hand needs a group's name.
        self.client(Some(&self.group), special)
    }

    /// A client that only asks what there is. It is in no group, to leave which takes a tenth of a second.
    pub fn asker(&self) -> Result<Consumer> {
        self.client(None, &[])
    }

    /// The same, which sees records of transactions that have not ended too: their ends are the high watermarks.
    ///
    /// # Errors
    /// Like those of [`TopicConfig::consumer`].
    pub fn asker_of_all(&self) -> Result<Consumer> {
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
            // The lake's log is the only place where progress is kept.
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            // An offset that is gone must be heard of, never skipped.
            .set("auto.offset.reset", "error")
            // How a catching-up run knows that it is done, and where the holes at a partition's end are found.
            .set("enable.partition.eof", "true")
            // By default a fetch waits up to a second when the local queue was full, and a pipeline that keeps up idles.
            .set("fetch.queue.backoff.ms", "5")
            .set("fetch.message.max.bytes", "2097152")
            // Enough to bridge a fetch. Each message that waits takes several hundred bytes, and is cold when its turn comes.
            .set("queued.min.messages", "10000")
            .set("queued.max.messages.kbytes", "24576");
        config.extend(self.options.iter().cloned());
        for (name, value) in special {
            config.set(*name, *value);
        }
        config.create_with_context(Listener::default()).map_err(unmade)
    }

    /// The ids of the topic's partitions.
    pub fn partitions(&self, consumer: &Consumer) -> Result<Vec<i32>> {
        match self.find(consumer, ANSWER_TIMEOUT) {
            Ok(Some(partitions)) => Ok(partitions),
            Ok(None) => bail!(
                "topic {} does not exist on {}: make it, or let `reprise generate --brokers {} --topic {}` make and fill it",
                self.topic,
                self.servers,
                self.servers,
                self.topic
            ),
            Err(KafkaError::Global(error)) => bail!("topic {} on {} cannot be read: {error}", self.topic, self.servers),
            Err(error) => Err(self.unreachable(consumer, &error)),
        }
    }

    /// The ids of the topic's partitions, in order; `None` if the broker says that there is no such topic. What it has to
    /// say against the topic is [`KafkaError::Global`]; other errors mean that it does not answer.
    pub fn find(&self, consumer: &Consumer, timeout: Duration) -> Result<Option<Vec<i32>>, KafkaError> {
        Ok(self.leaders(consumer, timeout)?.map(|leaders| leaders.into_keys().collect()))
    }

    /// Likewise, each with the id of the broker that leads it; negative if none does.
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

    /// The cluster's own id, by which a lake knows that it is fed by the same cluster again.
    pub fn cluster_id(&self, consumer: &Consumer) -> Result<String> {
        let id = consumer.client().fetch_cluster_id(ANSWER_TIMEOUT);
        id.with_context(|| format!("{} does not say which cluster it belongs to", self.servers))
    }

    /// The topic's own id, by which it is told from one that is made anew under its name. `None` if the cluster gives topics none.
    ///
    /// A broker that leads one of its partitions is asked: it serves what consumers read.
    pub fn topic_id(&self, consumer: &Consumer, timeout: Duration) -> Result<Option<String>, KafkaError> {
        let partitions = self.leaders(consumer, timeout)?.unwrap_or_default();
        let leader = partitions.into_values().find(|leader| *leader >= 0);
        let leader = leader.ok_or(KafkaError::Global(RDKafkaErrorCode::UnknownTopicOrPartition))?;
        reprise_kafka::topic_id(consumer.client(), &self.topic, leader, timeout).map_err(KafkaError::Global)
    }

    /// The offsets that each of `partitions` holds.
    pub fn extents(&self, consumer: &Consumer, partitions: &[i32], timeout: Duration) -> Result<BTreeMap<i32, Extent>> {
        let extent = |partition: &i32| {
            let (first, end) = consumer.fetch_watermarks(&self.topic, *partition, timeout).with_context(|| {
                format!("{} does not say which offsets {}/{partition} holds", self.servers, self.topic)
            })?;
            Ok((*partition, Extent { first, end }))
        };
        partitions.iter().map(extent).collect()
    }

    fn unreachable(&self, consumer: &Consumer, error: &KafkaError) -> anyhow::Error {
        // Only who polls hears of the trouble, one piece of news at a time.
        for _ in 0..NEWS_MAX {
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
