//! Kafka messages by the batch.
//!
//! [`BaseConsumer::poll`](rdkafka::consumer::BaseConsumer::poll) asks librdkafka for one event at a time, and
//! [`BaseProducer::send`](rdkafka::producer::BaseProducer::send) gives it one message at a time. At a million small messages a
//! second the one costs as much as all that is done with them, and the other as much as making them. librdkafka's calls that
//! take many at once cost half; rdkafka does not offer them. Hence this crate, which holds all the unsafe code of the project.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used))]

mod describe;
mod queue;
mod receive;
mod send;
mod topic;

pub use describe::topic_id;
pub use receive::{KafkaNotice, Message, Receiver};
pub use send::Sender;
