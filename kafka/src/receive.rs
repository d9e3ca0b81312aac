//! Receiving messages from Kafka in batches.
//!
//! By default librdkafka forwards its main queue, with events such as "all brokers are down", to
//! the consumer's queue, and the batch call would drop events. So [`Receiver`] ends that
//! forwarding, and polls the main queue separately whenever no message waits.
//!
//! Only errors are read from the main queue. Events that rdkafka would handle in its own poll
//! (statistics, the log, token refresh for OAUTHBEARER) are dropped: a consumer that needs them
//! cannot be used here.

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaResult;
use rdkafka::types::RDKafkaErrorCode;

use super::queue::{self, Owned, Queue};

/// Messages taken out of librdkafka by one call: enough to spread the cost of the call, and few
/// enough to stay in the CPU cache.
const BATCH_MAX: usize = 256;

/// A message, borrowed from librdkafka until the next one is received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// The partition that it was read from.
    pub partition: i32,
    /// Its offset in the partition.
    pub offset: i64,
    /// Its Kafka timestamp in ms since 1970, set by the producer or the broker, as the topic is
    /// configured. `None` if the message has none.
    pub timestamp_ms: Option<i64>,
    /// Its key, if it has one.
    pub key: Option<&'a [u8]>,
    /// Its value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
}

/// An event that librdkafka delivers instead of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KafkaNotice {
    /// A partition has been read to its end. Offsets before the end that no message was received
    /// for are holes. Needs the option `enable.partition.eof`.
    End {
        /// The partition.
        partition: i32,
        /// The end: the offset that the next message of the partition will have.
        offset: i64,
    },
    /// An error of the client, of a broker connection or of a partition.
    Error {
        /// librdkafka's error code.
        code: RDKafkaErrorCode,
        /// librdkafka's description of the error.
        reason: String,
    },
}

/// Receives the messages of a consumer whose partitions are assigned explicitly, not by a group.
pub struct Receiver<C: ConsumerContext + 'static> {
    // Messages and queues must be released before the consumer: fields are dropped in this order.
    current: Option<Owned>,
    /// Messages taken out of the queue and not received yet, in reverse order.
    batch: Vec<Owned>,
    messages: Queue,
    events: Queue,
    consumer: BaseConsumer<C>,
}

impl<C: ConsumerContext + 'static> Receiver<C> {
    /// A receiver of the messages of `consumer`, which must not have partitions assigned yet, and
    /// must not be polled afterwards. `None` if it has no `group.id`: librdkafka assigns partitions
    /// only to a consumer that has one.
    pub fn new(consumer: BaseConsumer<C>) -> Option<Self> {
        let mut messages = Queue::of_consumer(consumer.client())?;
        let events = Queue::of_events(consumer.client())?;
        // Drop the events that arrived here while the main queue was still forwarded.
        while messages.error().is_some() {}
        Some(Self { current: None, batch: Vec::with_capacity(BATCH_MAX), messages, events, consumer })
    }

    /// The consumer, for requests other than polling.
    pub fn consumer(&self) -> &BaseConsumer<C> {
        &self.consumer
    }

    /// Assigns exactly these partitions to the consumer, each to be read from its offset. Drops
    /// messages that were fetched before and not received yet.
    ///
    /// # Errors
    /// If librdkafka refuses the assignment.
    pub fn assign(&mut self, assignment: &TopicPartitionList) -> KafkaResult<()> {
        self.batch.clear();
        self.consumer.assign(assignment)
    }

    /// The end offset of a partition of `topic` as of its last fetch response; no request is made.
    /// `None` if nothing has been fetched from it yet.
    pub fn fetched_end(&self, topic: &str, partition: i32) -> Option<i64> {
        queue::fetched_end(self.consumer.client(), topic, partition)
    }

    /// The next message or notice that waits, if any. Does not block. Messages come first: errors
    /// are returned only when no message waits.
    ///
    /// # Errors
    /// The notice, where librdkafka has one instead of a message. Receiving can continue after it.
    #[inline]
    pub fn receive(&mut self) -> Option<Result<Message<'_>, KafkaNotice>> {
        self.current = None;
        if self.batch.is_empty() {
            self.messages.take(&mut self.batch, BATCH_MAX);
            self.batch.reverse();
        }
        match self.batch.pop() {
            Some(next) => Some(self.current.insert(next).read()),
            None => self.events.error().map(Err),
        }
    }
}

impl<C: ConsumerContext + 'static> Drop for Receiver<C> {
    /// Forwards the main queue to the consumer's again. On destruction librdkafka purges the main
    /// queue and the queue that it is forwarded to; it would wait forever for messages in any other
    /// queue.
    fn drop(&mut self) {
        self.events.forward(Some(&self.messages));
    }
}
