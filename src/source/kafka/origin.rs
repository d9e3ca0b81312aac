//! Whether the topic that is read is still the one that the run began with.
//!
//! A topic that was deleted and made anew under its name may soon have as many records as were read of the old one. Consumers go on
//! reading then as if nothing had happened, and nothing but the topic's id tells. A look at it costs a request, so there is one
//! now and then, to end the run, and one before each commit: ids never come back, so what was read before a look that finds
//! the old one is of the old topic. If it finds another, the last records that were read tell which of the two they are of: those
//! of the old topic are committed, for nobody else has them any more.

use anyhow::{Result, bail};

use super::resume::is_of_another;
use crate::broker::{ANSWER_TIMEOUT, Broker, Consumer};
use crate::lake::Progress;

/// A topic, and the id that it had.
pub struct Origin {
    broker: Broker,
    asker: Consumer,
    /// `None` if the cluster gives topics no ids; then there is nothing to look at.
    topic_id: Option<String>,
}

impl Origin {
    pub fn new(broker: &Broker, topic_id: Option<String>) -> Result<Self> {
        Ok(Self { broker: broker.clone(), asker: broker.asker()?, topic_id })
    }

    /// Fails if it is another topic by now. Who cannot be asked says nothing.
    pub fn check(&self) -> Result<()> {
        let Some(known) = &self.topic_id else { return Ok(()) };
        match self.broker.topic_id(&self.asker) {
            Ok(Some(found)) if found != *known => bail!(
                "topic {} is not the one that this run began with: its id was {known}, and now it is {found}. It was deleted and \
                 made anew: begin a new lake for it",
                self.broker.topic
            ),
            _ => Ok(()),
        }
    }

    /// Fails if it is another topic by now, and what was `read` may be of that.
    pub fn check_read(&self, read: &Progress) -> Result<()> {
        let Err(another) = self.check() else { return Ok(()) };
        if self.is_of_old(read).unwrap_or(false) { Ok(()) } else { Err(another) }
    }

    /// Whether all that was `read` is certain to be of a topic that was there before the one that is there now.
    fn is_of_old(&self, read: &Progress) -> Result<bool> {
        let Some(partitions) = self.broker.find(&self.asker, ANSWER_TIMEOUT)? else { return Ok(false) };
        let extents = self.broker.extents(&self.asker, &partitions, ANSWER_TIMEOUT)?;
        is_of_another(&self.broker, &extents, read)
    }
}
