//! Checks during a run that the topic is still the one that the run began with.
//!
//! A topic that was deleted and recreated under its name may soon have as many records as were read
//! of the old one. Consumers then continue without an error, and only the topic's id shows the
//! change. A check costs one or two requests, so it is made periodically, to end the run, and
//! before each commit. Ids are never reused, so records that were read before a broker still
//! reported the old id belong to the old topic. If it reports another id, the last records that
//! were read show, as far as possible, which topic they belong to. Records of the old topic are
//! committed, because they exist nowhere else.

use std::time::Duration;

use anyhow::{Result, anyhow};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;
use tracing::warn;

use super::resume::{KEEP, is_of_another};
use super::retry::retry_for;
use crate::kafka::{ANSWER_TIMEOUT, Consumer, TopicConfig};
use crate::lake::LakeProgress;

/// Commits and the end of a run wait for the answer, so the timeout is short.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a commit waits for a broker that does not answer. After that it proceeds: a cluster
/// that is down must not prevent a run from committing what it has read, and from ending.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(6);
/// A topic, and the id that it had at the start.
pub struct Origin {
    broker: TopicConfig,
    /// `None` if this process does not check, or the cluster has no topic ids.
    known: Option<(String, Consumer)>,
}

impl Origin {
    /// Checks nothing if `topic_id` is `None`.
    ///
    /// # Errors
    /// If the client cannot be started.
    pub fn new(broker: &TopicConfig, topic_id: Option<String>) -> Result<Self> {
        let known = match topic_id {
            Some(topic_id) => Some((topic_id, broker.metadata_consumer()?)),
            None => None,
        };
        Ok(Self { broker: broker.clone(), known })
    }

    /// Checks the id. Passes if the broker does not answer.
    ///
    /// # Errors
    /// If the topic is another one.
    pub fn check(&self) -> Result<()> {
        let Some((known, consumer)) = &self.known else { return Ok(()) };
        self.compare(known, self.broker.topic_id(consumer, REQUEST_TIMEOUT).ok().flatten())
    }

    fn compare(&self, known: &str, found: Option<String>) -> Result<()> {
        match found {
            Some(found) if found != known => Err(anyhow!(
                "topic {} is not the one that this run began with: its id was {known}, and now it is {found}. It was deleted and \
                 created again. {KEEP}",
                self.broker.topic
            )),
            _ => Ok(()),
        }
    }

    /// Checks the id before a commit. Passes if the broker does not answer, or if the records up to
    /// `read` belong to the old topic.
    ///
    /// # Errors
    /// If the topic is another one, and what was `read` may be of that one.
    pub fn check_read(&self, read: &LakeProgress) -> Result<()> {
        let Some((known, consumer)) = &self.known else { return Ok(()) };
        let found = retry_for(COMMIT_TIMEOUT, || match self.broker.topic_id(consumer, REQUEST_TIMEOUT) {
            // The topic is deleted. What was read of it is committed.
            Err(KafkaError::Global(RDKafkaErrorCode::UnknownTopicOrPartition)) => Ok(None),
            found => Ok(found?),
        });
        let found = found.unwrap_or_else(|error| {
            warn!(topic = self.broker.topic, %error, "committing without checking that the topic is still the same one");
            None
        });
        let Err(another) = self.compare(known, found) else { return Ok(()) };
        match retry_for(ANSWER_TIMEOUT, || self.is_of_old(consumer, read)) {
            Ok(true) => Ok(()),
            Ok(false) => Err(another),
            Err(error) => Err(another.context(error)),
        }
    }

    fn is_of_old(&self, consumer: &Consumer, read: &LakeProgress) -> Result<bool> {
        let Some(partitions) = self.broker.find(consumer, ANSWER_TIMEOUT)? else { return Ok(false) };
        let extents = self.broker.extents(consumer, &partitions, ANSWER_TIMEOUT)?;
        is_of_another(&self.broker, &extents, read)
    }
}
