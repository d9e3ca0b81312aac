//! Sending messages to Kafka in batches.

use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::producer::{BaseProducer, Producer as _, ProducerContext};
use rdkafka::types::RDKafkaErrorCode;

use super::topic::Topic;

/// Sends messages to one topic. The timestamp of a message is the time of the [`Sender::hand_over`]
/// that gives it to librdkafka.
pub struct Sender<C: ProducerContext<DeliveryOpaque = ()> + 'static> {
    // Must be released before the producer: fields are dropped in this order.
    topic: Topic,
    producer: BaseProducer<C>,
    waiting: Vec<Batch>,
}

/// Messages for one partition: the bytes of all, and the range of each.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    messages: Vec<Extent>,
    /// How many of the messages librdkafka has taken; they are the first ones.
    taken: usize,
}

/// Where a message's key and value lie in the bytes of its batch.
struct Extent {
    start: usize,
    key_end: usize,
    /// `None` is a tombstone.
    end: Option<usize>,
}

impl<C: ProducerContext<DeliveryOpaque = ()> + 'static> Sender<C> {
    /// Sends through `producer` to the partitions `0..partitions` of `topic`.
    ///
    /// # Errors
    /// If no topic can have that name.
    pub fn new(producer: BaseProducer<C>, topic: &str, partitions: usize) -> KafkaResult<Self> {
        let topic = Topic::new(producer.client(), topic)
            .ok_or(KafkaError::MessageProduction(RDKafkaErrorCode::InvalidTopic))?;
        Ok(Self { topic, producer, waiting: std::iter::repeat_with(Batch::default).take(partitions).collect() })
    }

    /// The producer, for polling and flushing.
    pub fn producer(&self) -> &BaseProducer<C> {
        &self.producer
    }

    /// Queues a message here until the next [`Sender::hand_over`]. Without a `value` it is a
    /// tombstone.
    ///
    /// # Panics
    /// If `partition` is not one of the partitions given to [`Sender::new`].
    #[inline]
    pub fn push(&mut self, partition: usize, key: &[u8], value: Option<&[u8]>) {
        let batch = &mut self.waiting[partition];
        let start = batch.bytes.len();
        batch.bytes.extend_from_slice(key);
        let key_end = batch.bytes.len();
        batch.bytes.extend_from_slice(value.unwrap_or_default());
        batch.messages.push(Extent { start, key_end, end: value.map(|_| batch.bytes.len()) });
    }

    /// Hands the pushed messages over to librdkafka until its queue is full. Returns whether all of
    /// them fitted; the others are handed over first at the next call.
    ///
    /// # Errors
    /// If librdkafka refuses a message for another reason than a full queue: it is too large, for
    /// example. Any of the other pushed messages may or may not have been handed over, so do not
    /// call this again after an error.
    pub fn hand_over(&mut self) -> KafkaResult<bool> {
        let mut all = true;
        for (partition, batch) in (0..).zip(&mut self.waiting) {
            if !batch.messages.is_empty() {
                all &= batch.hand_over(&self.topic, partition).map_err(KafkaError::MessageProduction)?;
            }
        }
        Ok(all)
    }
}

impl Batch {
    /// Hands over what is not taken yet. Whether that was all of it.
    fn hand_over(&mut self, topic: &Topic, partition: i32) -> Result<bool, RDKafkaErrorCode> {
        let message = |extent: &Extent| {
            let Extent { start, key_end, end } = *extent;
            (&self.bytes[start..key_end], end.map(|end| &self.bytes[key_end..end]))
        };
        self.taken += topic.produce(partition, self.messages[self.taken..].iter().map(message))?;
        let all = self.taken == self.messages.len();
        if all {
            self.bytes.clear();
            self.messages.clear();
            self.taken = 0;
        }
        Ok(all)
    }
}
