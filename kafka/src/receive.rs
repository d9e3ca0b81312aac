//! From Kafka.
//!
//! What librdkafka has to say beside messages (that no broker answers, say) arrives on the same queue, and the batch call would
//! drop it. So the main queue, where it begins, is taken off the consumer's, and looked at when there are no messages.
//!
//! That also holds for what rdkafka would answer by itself: statistics, its log, tokens of OAUTHBEARER's callback. A consumer
//! that needs them is not for here.

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaResult;
use rdkafka::types::RDKafkaErrorCode;

use super::queue::{self, Owned, Queue};

/// Messages taken out of librdkafka at once: enough to spread the cost of the call, and few enough to stay in the cache.
const BATCH_MAX: usize = 256;

/// A message, until the next one is received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    pub partition: i32,
    pub offset: i64,
    /// In ms since 1970: by the topic's setting the producer's or the broker's.
    pub timestamp_ms: Option<i64>,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
}

/// What comes instead of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KafkaNotice {
    /// A partition has been read to its end, which lies at `offset`: what no message was received for before it is a hole. It
    /// takes the option `enable.partition.eof`.
    End {
        partition: i32,
        offset: i64,
    },
    Error {
        code: RDKafkaErrorCode,
        reason: String,
    },
}

/// Receives the messages of a consumer that is assigned its partitions by hand.
pub struct Receiver<C: ConsumerContext + 'static> {
    // What librdkafka lent goes back before the consumer ends: fields are dropped in this order.
    current: Option<Owned>,
    /// Taken out of the queue and not received yet, the next one last.
    batch: Vec<Owned>,
    messages: Queue,
    events: Queue,
    consumer: BaseConsumer<C>,
}

impl<C: ConsumerContext + 'static> Receiver<C> {
    /// Receives what `consumer` is sent, which must not have been assigned partitions, and must not be polled afterwards. `None`
    /// if it has no `group.id`: without one it cannot be assigned any either.
    pub fn new(consumer: BaseConsumer<C>) -> Option<Self> {
        let mut messages = Queue::of_consumer(consumer.client())?;
        let events = Queue::of_events(consumer.client())?;
        // What arrived while the two were one.
        while messages.error().is_some() {}
        Some(Self { current: None, batch: Vec::with_capacity(BATCH_MAX), messages, events, consumer })
    }

    pub fn consumer(&self) -> &BaseConsumer<C> {
        &self.consumer
    }

    /// Has the consumer read these partitions, and no others, each from its offset. What was fetched before and not received
    /// yet is dropped.
    pub fn assign(&mut self, assignment: &TopicPartitionList) -> KafkaResult<()> {
        self.batch.clear();
        self.consumer.assign(assignment)
    }

    /// Where a partition of `topic` ended when messages of it were last fetched: no request is made. `None` if none has been.
    pub fn fetched_end(&self, topic: &str, partition: i32) -> Option<i64> {
        queue::fetched_end(self.consumer.client(), topic, partition)
    }

    /// The next message, or what there is instead of one, if there is any. It does not wait.
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
    /// A client that ends drops what is left in its main queue, and through that in the consumer's, if the one goes on to the
    /// other. It would wait forever for what is left elsewhere.
    fn drop(&mut self) {
        self.events.forward(Some(&self.messages));
    }
}
