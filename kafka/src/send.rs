//! To Kafka.

use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::producer::{BaseProducer, Producer as _, ProducerContext};
use rdkafka::types::RDKafkaErrorCode;

use super::topic::Topic;

/// Sends messages to one topic, each at the time at which it is handed over.
pub struct Sender<C: ProducerContext<DeliveryOpaque = ()> + 'static> {
    // Goes before the client, of which it is a part.
    topic: Topic,
    producer: BaseProducer<C>,
    waiting: Vec<Batch>,
}

/// Messages for one partition: their bytes one after the other, and where they end.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    messages: Vec<Extent>,
    /// So many have been handed over.
    taken: usize,
}

struct Extent {
    start: usize,
    key_end: usize,
    /// `None` is a tombstone.
    end: Option<usize>,
}

impl<C: ProducerContext<DeliveryOpaque = ()> + 'static> Sender<C> {
    /// Sends to the first `partitions` of `topic` through `producer`.
    ///
    /// # Errors
    /// When no topic can have that name.
    pub fn new(producer: BaseProducer<C>, topic: &str, partitions: usize) -> KafkaResult<Self> {
        let topic = Topic::new(producer.client(), topic)
            .ok_or(KafkaError::MessageProduction(RDKafkaErrorCode::InvalidTopic))?;
        Ok(Self { topic, producer, waiting: std::iter::repeat_with(Batch::default).take(partitions).collect() })
    }

    pub fn producer(&self) -> &BaseProducer<C> {
        &self.producer
    }

    /// Adds a message to what is to be handed over. Without a `value` it is a tombstone.
    #[inline]
    pub fn push(&mut self, partition: usize, key: &[u8], value: Option<&[u8]>) {
        let batch = &mut self.waiting[partition];
        let start = batch.bytes.len();
        batch.bytes.extend_from_slice(key);
        let key_end = batch.bytes.len();
        batch.bytes.extend_from_slice(value.unwrap_or_default());
        batch.messages.push(Extent { start, key_end, end: value.map(|_| batch.bytes.len()) });
    }

    /// Hands over to librdkafka what was pushed, as long as its queue has room. Whether that was all; the rest goes first the
    /// next time.
    ///
    /// # Errors
    /// When librdkafka refuses a message for another reason: it is too large, say. What else was pushed may have been handed over or
    /// not, so this must not be called again then.
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
