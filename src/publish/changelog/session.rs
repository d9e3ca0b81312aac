//! A producer that has the topic to itself, with the ledger of what the topic holds.
//!
//! Any failure ends the session. The next session finds out what has become of its transaction:
//! initialising transactions aborts or completes one that was left open, and then the topic is read
//! again.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow};
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _};
use rdkafka::types::RDKafkaErrorCode as Code;

use super::client::{Client, PLAYS, Producer};
use super::ledger::{Ledger, Message};
use super::publish_error::PublishError;
use crate::kafka::ANSWER_TIMEOUT;
use crate::lake;
use crate::lake::store::Place;
use crate::process::failpoint;
use crate::state::charts::{AsOf, Charts};

/// How long to wait before another attempt when the producer's queue is full.
const FULL_QUEUE_WAIT: Duration = Duration::from_millis(5);
/// How long to poll for what librdkafka reports about a failure.
const POLL_TIMEOUT: Duration = Duration::from_millis(10);
/// The timeout of a flush: longer than the time after which a message that cannot be delivered
/// fails.
const FLUSH_MAX: Duration = Duration::from_secs(300);

/// The writer of the lake, which alone may publish.
pub struct Writer {
    /// The folder of the lake.
    pub lake: Place,
    /// The incarnation of the lake by which this process writes.
    pub incarnation: i64,
}

impl Writer {
    /// Fails if another process has become the writer of the lake.
    fn check(&self) -> Result<(), PublishError> {
        if lake::incarnation(&self.lake)? == self.incarnation {
            return Ok(());
        }
        Err(PublishError::Final(anyhow!("another instance has taken over the lake {}", self.lake)))
    }
}

/// A transactional producer, with the ledger of its topic.
pub struct Session {
    producer: Producer,
    topic: String,
    /// The topic of the plays, as a header.
    plays: OwnedHeaders,
    ledger: Ledger,
}

impl Session {
    /// Creates the topic if it does not exist, fences out every earlier producer, and reads the
    /// topic.
    ///
    /// # Errors
    /// [`PublishError::Final`], if this process is not the writer of the lake or the topic has messages
    /// of others; otherwise the failure of Kafka or of the lake.
    pub fn open(client: &Client, writer: &Writer) -> Result<Self, PublishError> {
        // Checked before the producer starts, because a process that has lost the lake must not
        // fence out its successor; and again at the end, because it may lose the lake in between.
        writer.check()?;
        let producer = client.producer()?;
        let partitions = client.ensure(&producer)?;
        producer.init_transactions(ANSWER_TIMEOUT).map_err(|error| classify(&producer, &error))?;
        let ledger = client.read(partitions)?;
        writer.check()?;
        let plays = OwnedHeaders::new().insert(Header { key: PLAYS, value: Some(client.plays()) });
        Ok(Self { producer, topic: client.topic().to_owned(), plays, ledger })
    }

    /// The `as_of` of the charts that this session has published last.
    pub fn as_of(&self) -> Option<AsOf> {
        self.ledger.as_of()
    }

    /// Brings the topic to `charts` in one transaction. Returns the number of its messages.
    ///
    /// # Errors
    /// The failure of Kafka. After it the session must not be used any more.
    pub fn publish(&mut self, charts: &Arc<Charts>) -> Result<usize, PublishError> {
        let mut has_begun = false;
        let sent = self.ledger.bring_to(charts, |message| {
            if !std::mem::replace(&mut has_begun, true) {
                self.producer.begin_transaction()?;
            }
            Ok(self.send(message)?)
        });
        let sent = sent.map_err(|error| match error.downcast::<KafkaError>() {
            Ok(error) => classify(&self.producer, &error),
            Err(error) => error.into(),
        })?;
        if has_begun {
            let committed = self.producer.flush(FLUSH_MAX).and_then(|()| {
                reach("changelog-sent");
                self.producer.commit_transaction(ANSWER_TIMEOUT)
            });
            committed.map_err(|error| classify(&self.producer, &error))?;
            reach("changelog-committed");
        }
        Ok(self.ledger.note(sent))
    }

    fn send(&self, Message { partition, key, value }: Message<'_>) -> Result<(), KafkaError> {
        let mut record = BaseRecord::<str, [u8]>::to(&self.topic).partition(partition).key(key);
        record.payload = value;
        record.headers = Some(self.plays.clone());
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(Code::QueueFull), again)) => record = again,
                Err((error, _)) => return Err(error),
            }
            self.producer.poll(FULL_QUEUE_WAIT);
        }
    }
}

/// Classifies the failure of `producer` with `error`.
fn classify(producer: &Producer, error: &KafkaError) -> PublishError {
    let is_fenced = |code| matches!(code, Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch);
    if producer.client().fatal_error().is_some_and(|(code, _)| is_fenced(code)) {
        return PublishError::Fenced;
    }
    // librdkafka reports the cause through polling.
    producer.poll(POLL_TIMEOUT);
    anyhow!("{}", producer.context().explain(error)).into()
}

/// Reaches a failpoint. Its error is ignored: at these steps, tests only make the process die.
fn reach(failpoint: &str) {
    drop(failpoint::reach(failpoint));
}
