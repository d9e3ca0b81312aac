//! A producer that has the topic to itself, and what the topic held when it came.
//!
//! Where anything goes wrong the session is over, and the next one finds out what has become of it: initialising the transactions
//! aborts or completes what was left under way, and then the topic is read again.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow};
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _};
use rdkafka::types::RDKafkaErrorCode as Code;

use super::client::{Client, PLAYS, Producer};
use super::ledger::{Ledger, Message};
use super::setback::Setback;
use crate::kafka::ANSWER_TIMEOUT;
use crate::lake;
use crate::process::failpoint;
use crate::state::charts::{AsOf, Charts};

/// How long to wait before trying again when the queue is full.
const FULL_QUEUE_WAIT: Duration = Duration::from_millis(5);
/// How long to listen to what librdkafka has to say of a failure.
const NEWS_MAX: Duration = Duration::from_millis(10);
/// More than the time after which a message that cannot be delivered fails.
const FLUSH_MAX: Duration = Duration::from_secs(300);

/// Who may publish: the writer of the lake.
pub struct Writer {
    pub lake: PathBuf,
    pub incarnation: i64,
}

impl Writer {
    fn check(&self) -> Result<(), Setback> {
        if lake::incarnation(&self.lake)? == self.incarnation {
            return Ok(());
        }
        Err(Setback::Final(anyhow!("another instance has taken over the lake {}", self.lake.display())))
    }
}

pub struct Session {
    producer: Producer,
    topic: String,
    /// The topic of the plays, as a header.
    plays: OwnedHeaders,
    ledger: Ledger,
}

impl Session {
    /// Makes the topic if need be, shuts out every earlier producer, and reads what is there.
    pub fn open(client: &Client, writer: &Writer) -> Result<Self, Setback> {
        // Before: who has been overtaken must not shut out its successor. And after: it may have been between the two.
        writer.check()?;
        let producer = client.producer()?;
        let partitions = client.ensure(&producer)?;
        producer.init_transactions(ANSWER_TIMEOUT).map_err(|error| setback(&producer, &error))?;
        let ledger = client.read(partitions)?;
        writer.check()?;
        let plays = OwnedHeaders::new().insert(Header { key: PLAYS, value: Some(client.plays()) });
        Ok(Self { producer, topic: client.topic().to_owned(), plays, ledger })
    }

    /// What the charts stand for that this session has published last.
    pub fn as_of(&self) -> Option<AsOf> {
        self.ledger.as_of()
    }

    /// Makes the topic hold `charts`, by one transaction. Returns how many messages that took.
    pub fn publish(&mut self, charts: &Arc<Charts>) -> Result<usize, Setback> {
        let mut has_begun = false;
        let sent = self.ledger.bring_to(charts, |message| {
            if !std::mem::replace(&mut has_begun, true) {
                self.producer.begin_transaction()?;
            }
            Ok(self.send(message)?)
        });
        let sent = sent.map_err(|error| match error.downcast::<KafkaError>() {
            Ok(error) => setback(&self.producer, &error),
            Err(error) => error.into(),
        })?;
        if has_begun {
            let committed = self.producer.flush(FLUSH_MAX).and_then(|()| {
                reach("changelog-sent");
                self.producer.commit_transaction(ANSWER_TIMEOUT)
            });
            committed.map_err(|error| setback(&self.producer, &error))?;
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

/// What it means that `producer` has failed with `error`.
fn setback(producer: &Producer, error: &KafkaError) -> Setback {
    let is_fenced = |code| matches!(code, Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch);
    if producer.client().fatal_error().is_some_and(|(code, _)| is_fenced(code)) {
        return Setback::Fenced;
    }
    // News of trouble comes to who polls.
    producer.poll(NEWS_MAX);
    anyhow!("{}", producer.context().explain(error)).into()
}

/// Here only the end of the process is worth a test.
fn reach(failpoint: &str) {
    drop(failpoint::reach(failpoint));
}
