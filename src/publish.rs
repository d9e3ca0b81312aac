//! How far the lake has come, published as the committed offsets of a consumer group, for tools that measure lag.
//!
//! **Invariant:** nothing here is progress. It is said after the commit, may fail, and is never read by us.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};
use tracing::warn;

use crate::broker::{Broker, Consumer};
use crate::serve::Shared;

const INTERVAL: Duration = Duration::from_secs(1);
/// How long the last offsets may take when the run is over.
const LAST_MAX: Duration = Duration::from_secs(3);

/// A thread that publishes what is committed, until it is dropped; then it does so once more.
pub struct Publisher {
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Publisher {
    pub fn start(shared: Arc<Shared>, broker: &Broker) -> Result<Self> {
        let done = Arc::new(AtomicBool::new(false));
        let publish = Publish {
            consumer: broker.consumer()?,
            broker: broker.clone(),
            shared,
            published: BTreeMap::new(),
            asked: None,
            warned: false,
        };
        let until = done.clone();
        let thread = std::thread::Builder::new().name("reprise-publisher".to_owned());
        let thread = thread.spawn(move || publish.repeat(&until));
        Ok(Self { done, thread: Some(thread.context("a thread that publishes offsets cannot be started")?) })
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

struct Publish {
    consumer: Consumer,
    broker: Broker,
    shared: Arc<Shared>,
    /// What the group is known to have.
    published: BTreeMap<i32, i64>,
    /// What it was told last, until it has answered.
    asked: Option<BTreeMap<i32, i64>>,
    warned: bool,
}

impl Publish {
    fn repeat(mut self, done: &AtomicBool) {
        while !done.load(Ordering::Relaxed) {
            self.settle();
            self.ask();
            std::thread::park_timeout(INTERVAL);
        }
        let until = Instant::now() + LAST_MAX;
        while self.is_behind() && Instant::now() < until {
            self.ask();
            std::thread::sleep(Duration::from_millis(10));
            self.settle();
        }
    }

    fn is_behind(&self) -> bool {
        self.published != self.shared.committed_offsets()
    }

    /// Tells the group what is new, unless it has not answered yet.
    fn ask(&mut self) {
        if self.asked.is_some() || !self.is_behind() {
            return;
        }
        let offsets = self.shared.committed_offsets();
        let mut list = TopicPartitionList::new();
        let added = offsets.iter().try_for_each(|(partition, offset)| {
            list.add_partition_offset(&self.broker.topic, *partition, Offset::Offset(*offset))
        });
        match added.and_then(|()| self.consumer.commit(&list, CommitMode::Async)) {
            Ok(()) => self.asked = Some(offsets),
            Err(error) => self.warn(&error),
        }
    }

    /// Hears what became of it.
    fn settle(&mut self) {
        // Answers come to who polls; there are no records, since nothing is assigned.
        while self.consumer.poll(Duration::ZERO).is_some() {}
        let Some(answer) = self.consumer.context().published() else { return };
        match (answer, self.asked.take()) {
            (Ok(()), Some(offsets)) => self.published = offsets,
            (Ok(()), None) => {}
            (Err(error), _) => self.warn(&error),
        }
    }

    fn warn(&mut self, error: &KafkaError) {
        // A coordinator that moves or loads is not worth a word.
        use RDKafkaErrorCode as Code;
        let passes = matches!(
            error.rdkafka_error_code(),
            Some(
                Code::NotCoordinator
                    | Code::CoordinatorNotAvailable
                    | Code::CoordinatorLoadInProgress
                    | Code::WaitingForCoordinator
            )
        );
        if !passes && !std::mem::replace(&mut self.warned, true) {
            let group = &self.broker.group;
            let reason = self.consumer.context().explain(error);
            warn!(
                group,
                reason, "offsets cannot be published to the consumer group, so lag tools are behind; the lake is not"
            );
        }
    }
}
