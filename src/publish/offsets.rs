//! How far the lake has come, published as the committed offsets of a consumer group, for tools that measure lag.
//!
//! **Invariant:** nothing here is progress. It is said after the commit, may fail, and is never read by us.

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
/// How long the last offsets may take when the run is over.
const LAST_MAX: Duration = Duration::from_secs(5);
/// How soon to try again what the group's coordinator did not take, and how often in a row to say nothing of it: it may
/// be moving, or starting.
const RETRY_INTERVAL: Duration = Duration::from_millis(200);
const FAILURES_MAX: u32 = 5;

/// Starts a thread that publishes what is committed, until it is dropped; then it does so once more. A coordinator that does
/// not answer is not waited for.
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
    /// What the group has been told.
    published: BTreeMap<i32, i64>,
    /// How often in a row that has failed.
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

    /// Whether the group knows what is committed now.
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
        // News of trouble comes to who polls. There are no records, since nothing is assigned.
        while self.consumer.poll(Duration::ZERO).is_some() {}
        let mut list = TopicPartitionList::new();
        for (partition, offset) in offsets {
            list.add_partition_offset(&self.broker.topic, *partition, Offset::Offset(*offset))?;
        }
        self.consumer.commit(&list, CommitMode::Sync)
    }
}
