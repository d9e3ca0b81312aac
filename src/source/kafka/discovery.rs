//! A thread that checks the topic periodically: whether partitions were added, and whether the
//! topic was deleted or recreated.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use tracing::warn;

use super::origin::Origin;
use super::resume::KEEP;
use crate::kafka::{Consumer, TopicConfig};
use crate::process::shutdown::Shutdown;
use crate::process::threads::Background;

/// The time between checks, unless [`INTERVAL_OPTION`] is set.
const INTERVAL: Duration = Duration::from_secs(5);
const INTERVAL_OPTION: &str = "topic.metadata.refresh.interval.ms";
const INTERVAL_MIN: Duration = Duration::from_millis(100);
/// The end of a run waits for the answer, so the timeout is short.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// The time after which a missing topic counts as deleted: a broker that has just started does not
/// know its topics for a moment.
const GONE_MAX: Duration = Duration::from_secs(10);
const GONE_INTERVAL: Duration = Duration::from_secs(1);

/// Changes of the topic that the discovery thread has found, for the readers of all workers.
#[derive(Default)]
pub struct AddedPartitions {
    /// Partitions that were added to the topic, with their first offsets, in the order of
    /// discovery.
    partitions: Mutex<Vec<(i32, i64)>>,
    count: AtomicUsize,
    /// How often the topic was missing and reappeared.
    returns: AtomicUsize,
}

impl AddedPartitions {
    fn add(&self, partition: i32, start: i64) {
        let mut partitions = self.partitions.lock().unwrap_or_else(PoisonError::into_inner);
        partitions.push((partition, start));
        self.count.store(partitions.len(), Ordering::Release);
    }

    /// The partitions beyond the first `seen`; sets `seen` to their total. One atomic load if there
    /// are none.
    pub fn since(&self, seen: &mut usize) -> Vec<(i32, i64)> {
        if self.count.load(Ordering::Acquire) == *seen {
            return Vec::new();
        }
        let partitions = self.partitions.lock().unwrap_or_else(PoisonError::into_inner);
        let new = partitions[*seen..].to_vec();
        *seen = partitions.len();
        new
    }

    /// Whether the topic was missing and has reappeared since the last call with the same `seen`.
    /// It may be another topic then.
    pub fn has_returned(&self, seen: &mut usize) -> bool {
        let returns = self.returns.load(Ordering::Acquire);
        std::mem::replace(seen, returns) != returns
    }
}

/// Starts a thread that looks for partitions of `broker`'s topic other than the `known` ones. It
/// ends the run when the topic is deleted, or is no longer its `origin`.
///
/// # Errors
/// If the client or the thread cannot be started.
pub fn discover(
    broker: &TopicConfig,
    origin: Arc<Origin>,
    known: Vec<i32>,
    found: Arc<AddedPartitions>,
    shutdown: Shutdown,
) -> Result<Background> {
    let discovery = Discovery {
        consumer: broker.metadata_consumer()?,
        broker: broker.clone(),
        origin,
        known,
        found,
        gone_since: None,
    };
    let interval = interval(broker);
    Background::start("reprise-discovery", move |stop| discovery.repeat(interval, stop, &shutdown))
}

fn interval(broker: &TopicConfig) -> Duration {
    let set = broker.options.iter().rev().find(|(name, _)| name == INTERVAL_OPTION);
    // -1 keeps librdkafka from refreshing by itself. It is not a duration, so the default applies
    // here.
    let set = set.and_then(|(_, value)| value.parse().ok()).map(Duration::from_millis);
    set.map_or(INTERVAL, |set| set.max(INTERVAL_MIN))
}

struct Discovery {
    consumer: Consumer,
    broker: TopicConfig,
    origin: Arc<Origin>,
    known: Vec<i32>,
    found: Arc<AddedPartitions>,
    gone_since: Option<Instant>,
}

impl Discovery {
    fn repeat(mut self, interval: Duration, done: &AtomicBool, shutdown: &Shutdown) {
        while !done.load(Ordering::Relaxed) {
            let wait = if self.gone_since.is_some() { interval.min(GONE_INTERVAL) } else { interval };
            std::thread::park_timeout(wait);
            if done.load(Ordering::Relaxed) || shutdown.is_due() {
                return;
            }
            if let Err(error) = self.check() {
                return shutdown.because(error);
            }
        }
    }

    /// Checks the topic once. Fails if it is deleted or another one. Ignores a broker that does not
    /// answer, because the readers log that.
    fn check(&mut self) -> Result<()> {
        let topic = &self.broker.topic;
        match self.broker.find(&self.consumer, ANSWER_TIMEOUT) {
            Ok(Some(partitions)) => {
                if let Some(partition) = self.known.iter().find(|known| !partitions.contains(known)) {
                    return Err(anyhow!(
                        "{topic}/{partition} is gone: was the topic deleted and created again? {KEEP}"
                    ));
                }
                self.origin.check()?;
                if self.gone_since.take().is_some() {
                    self.found.returns.fetch_add(1, Ordering::Release);
                }
                let new = partitions.into_iter().filter(|partition| !self.known.contains(partition));
                self.announce(&new.collect::<Vec<_>>());
            }
            Ok(None) => {
                let since = *self.gone_since.get_or_insert_with(|| {
                    warn!(topic, "Kafka says that the topic does not exist");
                    Instant::now()
                });
                if since.elapsed() >= GONE_MAX {
                    return Err(anyhow!(
                        "topic {topic} no longer exists on {}: it was deleted. {KEEP}",
                        self.broker.servers
                    ));
                }
            }
            Err(_) => {}
        }
        Ok(())
    }

    /// Announces `new` partitions and their first offsets to the readers. Partitions without a
    /// leader are announced at a later check.
    fn announce(&mut self, new: &[i32]) {
        for &partition in new {
            if let Ok(extents) = self.broker.extents(&self.consumer, &[partition], ANSWER_TIMEOUT) {
                extents.into_iter().for_each(|(partition, extent)| self.found.add(partition, extent.first));
                self.known.push(partition);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_get_each_partition_once() {
        let found = AddedPartitions::default();
        let mut seen = 0;
        assert_eq!(found.since(&mut seen), []);
        found.add(3, 0);
        found.add(4, 7);
        assert_eq!(found.since(&mut seen), [(3, 0), (4, 7)]);
        found.add(5, 0);
        assert_eq!((found.since(&mut seen), found.since(&mut seen)), (vec![(5, 0)], vec![]));
        assert_eq!(found.since(&mut 0).len(), 3, "another reader");
        found.returns.fetch_add(1, Ordering::Release);
        assert_eq!((found.has_returned(&mut 0), found.has_returned(&mut 1)), (true, false));
    }

    #[test]
    fn the_interval_is_that_of_librdkafka() {
        let broker = |value: &str| TopicConfig {
            options: vec![(INTERVAL_OPTION.to_owned(), value.to_owned())],
            ..TopicConfig::new("localhost:9092", "plays")
        };
        assert_eq!(interval(&TopicConfig::new("localhost:9092", "plays")), INTERVAL);
        assert_eq!(interval(&broker("700")), Duration::from_millis(700));
        assert_eq!((interval(&broker("10")), interval(&broker("-1"))), (INTERVAL_MIN, INTERVAL));
    }
}
