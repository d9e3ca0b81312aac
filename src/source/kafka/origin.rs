//! Whether the topic that is read is still the one that the run began with.
//!
//! A topic that was deleted and made anew under its name may soon have as many records as were read of the old one. Consumers go on
//! reading then as if nothing had happened, and nothing but the topic's id tells. A look at it costs a request or two, so there is
//! one now and then, to end the run, and one before each commit: ids never come back, so what was read before a broker still knew
//! the old one is of the old topic. If it knows another, the last records that were read tell which of the two they are of, as far
//! as they can: those of the old topic are committed, for nobody else has them any more.

use std::time::Duration;

use anyhow::{Result, anyhow};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;
use tracing::warn;

use super::patience::patiently;
use super::resume::{KEEP, is_of_another};
use crate::kafka::{ANSWER_TIMEOUT, Consumer, TopicConfig};
use crate::lake::LakeProgress;

/// Commits and ends of the run wait for the answer, so it is short.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a commit waits for a broker that does not answer. Then it goes on: a cluster that is down must not keep a run from
/// committing what it has read, and from ending.
const PATIENCE: Duration = Duration::from_secs(6);
/// A topic, and the id that it had.
pub struct Origin {
    broker: TopicConfig,
    /// `None` if nobody is to look, or the cluster gives topics no ids.
    known: Option<(String, Consumer)>,
}

impl Origin {
    pub fn new(broker: &TopicConfig, topic_id: Option<String>) -> Result<Self> {
        let known = match topic_id {
            Some(topic_id) => Some((topic_id, broker.asker()?)),
            None => None,
        };
        Ok(Self { broker: broker.clone(), known })
    }

    /// Fails if it is another topic by now. Who cannot be asked says nothing.
    pub fn check(&self) -> Result<()> {
        let Some((known, asker)) = &self.known else { return Ok(()) };
        self.compare(known, self.broker.topic_id(asker, ASK_TIMEOUT).ok().flatten())
    }

    fn compare(&self, known: &str, found: Option<String>) -> Result<()> {
        match found {
            Some(found) if found != known => Err(anyhow!(
                "topic {} is not the one that this run began with: its id was {known}, and now it is {found}. It was deleted and \
                 made again. {KEEP}",
                self.broker.topic
            )),
            _ => Ok(()),
        }
    }

    /// Fails if it is another topic by now, and what was `read` may be of that.
    pub fn check_read(&self, read: &LakeProgress) -> Result<()> {
        let Some((known, asker)) = &self.known else { return Ok(()) };
        let found = patiently(PATIENCE, || match self.broker.topic_id(asker, ASK_TIMEOUT) {
            // It is deleted. What was read of it is to be kept.
            Err(KafkaError::Global(RDKafkaErrorCode::UnknownTopicOrPartition)) => Ok(None),
            found => Ok(found?),
        });
        let found = found.unwrap_or_else(|error| {
            warn!(topic = self.broker.topic, %error, "committing without knowing whether the topic is still the same");
            None
        });
        let Err(another) = self.compare(known, found) else { return Ok(()) };
        match patiently(ANSWER_TIMEOUT, || self.is_of_old(asker, read)) {
            Ok(true) => Ok(()),
            Ok(false) => Err(another),
            Err(error) => Err(another.context(error)),
        }
    }

    fn is_of_old(&self, asker: &Consumer, read: &LakeProgress) -> Result<bool> {
        let Some(partitions) = self.broker.find(asker, ANSWER_TIMEOUT)? else { return Ok(false) };
        let extents = self.broker.extents(asker, &partitions, ANSWER_TIMEOUT)?;
        is_of_another(&self.broker, &extents, read)
    }
}
