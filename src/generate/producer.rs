//! The producer of generated records: idempotent, it waits while its queue is full, and never drops
//! a record silently.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, Producer as _, ProducerContext};
use reprise_kafka::Sender;

use super::traffic::Traffic;
use crate::kafka::topics as topic;
use crate::kafka::{ANSWER_TIMEOUT, EVENTS_MAX, Listener, creation_error};

/// The wait before the next attempt when the queue is full: the client sends a batch in about this
/// time.
const FULL_QUEUE_WAIT: Duration = Duration::from_millis(2);
/// The interval of warnings about errors of the Kafka client.
const WARNING_INTERVAL: Duration = Duration::from_secs(10);
const FLUSH_STEP: Duration = Duration::from_millis(100);
/// How long the number of undelivered records may stay the same at the end: a little more than
/// `message.timeout.ms`. Log events that wait because of `-X debug=…` are part of that number.
const STILL_MAX: Duration = Duration::from_secs(130);
/// Options of a topic that we create: values of 2 MB, as some malformed ones are, must fit.
const TOPIC_OPTIONS: [(&str, &str); 1] = [("max.message.bytes", "4194304")];

/// Sends records to one topic.
pub struct Producer {
    sender: Sender<Failures>,
    topic: String,
    brokers: String,
    partitions: usize,
}

/// Failed deliveries and errors, which librdkafka reports while it is polled.
#[derive(Default)]
struct Failures {
    records: AtomicU64,
    first: Mutex<Option<KafkaError>>,
    listener: Listener,
    /// When the next warning may be logged; `None` until the brokers have been reached, since a
    /// failure to reach them is returned as an error.
    warning_due: Mutex<Option<Instant>>,
}

impl Failures {
    /// Whether to log a warning now: for the first error, and then once per interval while errors
    /// continue.
    fn warns(&self) -> bool {
        let (now, mut due) = (Instant::now(), self.warning_due.lock().unwrap_or_else(PoisonError::into_inner));
        let warns = due.is_some_and(|due| due <= now);
        if warns {
            *due = Some(now + WARNING_INTERVAL);
        }
        warns
    }

    /// Enables warnings: the brokers have been reached.
    fn reached(&self) {
        *self.warning_due.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}

/// `error`, with the last error that librdkafka reported, which takes polling to receive.
fn explain(client: &BaseProducer<Failures>, error: anyhow::Error) -> anyhow::Error {
    for _ in 0..EVENTS_MAX {
        client.poll(Duration::ZERO);
    }
    match client.context().listener.last_error() {
        Some(said) => anyhow!("{error:#}: {said}"),
        None => error,
    }
}

impl ClientContext for Failures {
    fn error(&self, error: KafkaError, reason: &str) {
        // Not a failure yet: librdkafka retries until `message.timeout.ms`, and reports each
        // attempt.
        if self.warns() {
            tracing::warn!("Kafka: {error}: {reason}");
        }
        self.listener.error(error, reason);
    }
}

impl ProducerContext for Failures {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, _opaque: ()) {
        let Err((error, _)) = result else { return };
        self.records.fetch_add(1, Ordering::Relaxed);
        if let Ok(mut first) = self.first.lock() {
            first.get_or_insert_with(|| error.clone());
        }
    }
}

impl Producer {
    /// Connects to the brokers, and finds or creates the topic. The client options of `traffic`
    /// override ours.
    ///
    /// # Errors
    /// If an option is wrong, the brokers cannot be reached, or the topic cannot be created.
    pub fn connect(brokers: &str, traffic: &Traffic) -> Result<Self> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers).set("client.id", "reprise-generate");
        config.extend(traffic.client_options.iter().cloned());
        let client: BaseProducer<Failures> = producer_config(&config, &traffic.client_options)
            .create_with_context(Failures::default())
            .map_err(creation_error)?;
        let brokers = config.get("bootstrap.servers").unwrap_or(brokers).to_owned();
        let partitions = topic::ensure(client.client(), &config, &traffic.topic, traffic.partitions, &TOPIC_OPTIONS);
        let partitions = partitions.map_err(|error| explain(&client, error))?;
        client.context().reached();
        let sender = Sender::new(client, &traffic.topic, partitions)?;
        Ok(Self { sender, topic: traffic.topic.clone(), brokers, partitions })
    }

    fn client(&self) -> &BaseProducer<Failures> {
        self.sender.producer()
    }

    /// The number of partitions of the topic.
    pub fn partitions(&self) -> usize {
        self.partitions
    }

    /// Whether the topic has ever had a record, even if retention has deleted all of them.
    ///
    /// # Errors
    /// If the broker does not tell the end of a partition.
    pub fn has_records(&self) -> Result<bool> {
        for partition in 0..self.partitions as i32 {
            let ends = self.client().client().fetch_watermarks(&self.topic, partition, ANSWER_TIMEOUT);
            let (_, end) = ends.with_context(|| format!("cannot find the end of {}/{partition}", self.topic))?;
            if end > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Adds a record to those that the next [`send`](Self::send) sends.
    pub fn push(&mut self, partition: usize, key: &[u8], value: Option<&[u8]>) {
        self.sender.push(partition, key, value);
    }

    /// Queues the pushed records. Waits while the queue is full, until there is room or a record
    /// has failed; a record fails after `message.timeout.ms` in the queue.
    ///
    /// # Errors
    /// If librdkafka refuses a record.
    pub fn send(&mut self) -> Result<()> {
        loop {
            let all = self.sender.hand_over();
            let all = all.with_context(|| format!("cannot send to topic '{}' at {}", self.topic, self.brokers))?;
            if all || self.failed() {
                return Ok(());
            }
            self.client().poll(FULL_QUEUE_WAIT);
        }
    }

    /// Serves librdkafka's callbacks. Must be called regularly.
    pub fn poll(&self) {
        self.client().poll(Duration::ZERO);
    }

    /// Whether a record could not be delivered.
    pub fn failed(&self) -> bool {
        self.client().context().records.load(Ordering::Relaxed) > 0
    }

    /// Waits until all of the `sent` records are delivered, or one has failed. A record that is not
    /// delivered fails after `message.timeout.ms`.
    ///
    /// # Errors
    /// If a record has failed, or librdkafka neither delivers records nor gives them up.
    pub fn finish(self, sent: u64) -> Result<()> {
        let (mut left, mut moved_at) = (i32::MAX, Instant::now());
        while !self.failed() && self.client().in_flight_count() > 0 {
            if self.client().in_flight_count() < left {
                (left, moved_at) = (self.client().in_flight_count(), Instant::now());
            } else if moved_at.elapsed() > STILL_MAX {
                bail!(
                    "the Kafka client has not delivered another record for {} s, nor reported a failure",
                    STILL_MAX.as_secs()
                );
            }
            match self.client().flush(FLUSH_STEP) {
                Ok(()) | Err(KafkaError::Flush(RDKafkaErrorCode::OperationTimedOut)) => {}
                Err(error) => return Err(error).context("cannot flush the records that are still queued"),
            }
        }
        self.poll();
        let failures = self.client().context();
        let failed = failures.records.load(Ordering::Relaxed);
        if failed == 0 {
            return Ok(());
        }
        let first = failures.first.lock().ok().and_then(|first| first.clone());
        let first = first.map_or_else(String::new, |error| format!(" ({error})"));
        bail!(
            "at least {failed} of {sent} records could not be delivered to topic '{}' at {}{first}; check that the broker is \
             up and what its log says",
            self.topic,
            self.brokers
        )
    }
}

fn producer_config(base: &ClientConfig, options: &[(String, String)]) -> ClientConfig {
    let mut config = base.clone();
    config
        .set("enable.idempotence", "true")
        .set("acks", "all")
        // Lets batches fill (up to a million bytes by default): the cost for the broker, and most
        // of ours, is per batch.
        .set("linger.ms", "20")
        // As fast as no compression (measured), and malformed values of 2 MB fit into a topic with
        // the default limit.
        .set("compression.type", "lz4")
        // A tenth of a second of plays at full speed. With more, records drop out of the CPU cache
        // before they are sent: 200,000 were a sixth slower.
        .set("queue.buffering.max.messages", "50000")
        // Some malformed values are larger than the default of a million bytes.
        .set("message.max.bytes", "4000000")
        .set("message.timeout.ms", "120000")
        // A report for every record costs a tenth of the speed, and we need only those of failures.
        .set("delivery.report.only.error", "true");
    config.extend(options.iter().cloned());
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    /// librdkafka reports the same error hundreds of times in a moment.
    #[test]
    fn failures_are_logged_at_intervals() {
        let failures = Failures::default();
        assert!(!failures.warns(), "that no broker is reached is an error, not a warning");
        failures.reached();
        assert_eq!((0..200).filter(|_| failures.warns()).count(), 1);
        *failures.warning_due.lock().unwrap() = Some(Instant::now());
        assert!(failures.warns(), "an interval later");
    }
}
