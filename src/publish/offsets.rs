//! Publishes the offsets that are committed to the lake as the committed offsets of a consumer
//! group, for tools that measure lag.
//!
//! **Invariant:** these offsets are not the run's progress. They are published after the commit to
//! the lake, publishing them may fail, and the program never reads them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;
use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};
use tracing::warn;

use crate::kafka::{Consumer, TopicConfig};
use crate::process::threads::Closing;
use crate::state::State;

const INTERVAL: Duration = Duration::from_secs(1);
/// How long publishing the last offsets may take when the run is over.
const LAST_MAX: Duration = Duration::from_secs(5);
/// The pause between attempts to publish the last offsets.
const RETRY_INTERVAL: Duration = Duration::from_millis(200);
/// The number of failures in a row at which a warning is logged, and the last offsets are given up.
/// Fewer are normal: the group's coordinator may be moving or starting.
const FAILURES_MAX: u32 = 5;

/// Starts a thread that publishes the committed offsets until the result is dropped, and then once
/// more. If the group's coordinator does not answer, the end of the run waits for only some
/// seconds.
///
/// # Errors
/// If the consumer or the thread cannot be made.
pub fn publisher(state: Arc<State>, broker: &TopicConfig) -> Result<Closing> {
    let published = BTreeMap::new();
    let publish = Publish { consumer: broker.consumer()?, broker: broker.clone(), state, published, failures: 0 };
    let group = broker.group.clone();
    let left_behind = move || {
        warn!(group, "the last offsets were not published to the consumer group; those in the lake are what counts");
    };
    Closing::start("reprise-publisher", LAST_MAX, left_behind, move |done| publish.repeat(done))
}

struct Publish {
    consumer: Consumer,
    broker: TopicConfig,
    state: Arc<State>,
    /// The offsets that the group has.
    published: BTreeMap<i32, i64>,
    /// The number of failures in a row.
    failures: u32,
}

impl Publish {
    fn repeat(mut self, done: &AtomicBool) {
        while !done.load(Ordering::Relaxed) {
            self.publish();
            std::thread::park_timeout(INTERVAL);
        }
        while !self.publish() && self.failures < FAILURES_MAX {
            std::thread::sleep(RETRY_INTERVAL);
        }
    }

    /// Publishes the offsets that are committed now, unless the group has them. Returns whether it
    /// has them.
    fn publish(&mut self) -> bool {
        let offsets = self.state.committed_offsets();
        if offsets == self.published {
            return true;
        }
        match self.commit(&offsets) {
            Ok(()) => (self.published, self.failures) = (offsets, 0),
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                if self.failures == FAILURES_MAX {
                    let (group, reason) = (&self.broker.group, self.consumer.context().explain(&error));
                    warn!(
                        group,
                        reason,
                        "offsets cannot be published to the consumer group, so lag tools are behind; the lake is not"
                    );
                }
            }
        }
        self.failures == 0
    }

    fn commit(&self, offsets: &BTreeMap<i32, i64>) -> Result<(), KafkaError> {
        // librdkafka reports errors through polling. No records come, since no partition is
        // assigned.
        while self.consumer.poll(Duration::ZERO).is_some() {}
        let mut list = TopicPartitionList::new();
        for (partition, offset) in offsets {
            list.add_partition_offset(&self.broker.topic, *partition, Offset::Offset(*offset))?;
        }
        self.consumer.commit(&list, CommitMode::Sync)
    }
}
