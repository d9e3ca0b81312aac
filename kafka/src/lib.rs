//! Kafka messages in batches: receiving, sending, and the id of a topic.
//!
//! [`BaseConsumer::poll`](rdkafka::consumer::BaseConsumer::poll) takes one event at a time from
//! librdkafka, and [`BaseProducer::send`](rdkafka::producer::BaseProducer::send) gives it one
//! message at a time. At a million small messages a second, polling costs as much as processing the
//! messages, and sending as much as making them. librdkafka's batch calls cost half of that, but
//! rdkafka does not expose them. This crate does, and holds all the unsafe code of the project.

#![deny(missing_docs)]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used))]

mod describe;
mod queue;
mod receive;
mod send;
mod topic;

pub use describe::topic_id;
pub use receive::{KafkaNotice, Message, Receiver};
pub use send::Sender;
