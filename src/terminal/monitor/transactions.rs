//! Detects transactions that are left open. A consumer of committed records sees no record of a
//! partition behind an open transaction, and takes the partition to end there. So this file
//! compares the end that such a consumer sees (the last stable offset) with the high watermark,
//! which counts all records.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Result;
use jiff::Timestamp;
use tracing::{info, warn};

use crate::kafka::{Consumer, Extent, TopicConfig};
use crate::state::OpenTransaction;

/// A transaction may be open for this long without being reported.
const GRACE: Duration = Duration::from_secs(5);
/// The least time between two warnings, so that a producer of long transactions does not cause one
/// each time.
const WARNING_INTERVAL: Duration = Duration::from_secs(600);
/// The most partitions that a message names one by one.
const NAMED_MAX: usize = 8;

/// The records that wait behind open transactions.
#[derive(Default)]
pub struct Transactions {
    /// A consumer that sees all records, also those of open transactions.
    consumer: Option<Consumer>,
    /// The last stable offset of each partition at the last look.
    ends: BTreeMap<i32, i64>,
    /// By partition.
    hidden: BTreeMap<i32, Hidden>,
    warned_at: Option<Instant>,
    is_reported: bool,
}

/// Records behind the last stable offset of a partition.
struct Hidden {
    first: i64,
    end: i64,
    seen: Instant,
    seen_at: Timestamp,
}

impl Transactions {
    /// Compares the `extents` of committed records with the high watermarks of the same partitions,
    /// and waits at most `timeout` for each. Returns the records that have waited too long behind a
    /// transaction, if there are any.
    pub fn look(
        &mut self,
        broker: &TopicConfig,
        extents: &BTreeMap<i32, Extent>,
        timeout: Duration,
    ) -> Option<OpenTransaction> {
        if self.consumer.is_none() {
            self.consumer = broker.uncommitted_consumer().ok();
        }
        for (&partition, &Extent { end, .. }) in extents {
            // A partition whose end moves is not held back by a transaction, so its high watermark
            // is not asked for. This saves half of the requests for a busy topic.
            if self.ends.insert(partition, end).is_some_and(|before| before != end) {
                self.hidden.remove(&partition);
                continue;
            }
            let Some(consumer) = &self.consumer else { continue };
            let Ok(all) = broker.extents(consumer, &[partition], timeout) else { continue };
            match all.get(&partition).map(|all| all.end) {
                Some(all_end) if all_end > end => {
                    let (seen, seen_at) = (Instant::now(), Timestamp::now());
                    let hidden = Hidden { first: end, end: all_end, seen, seen_at };
                    self.hidden.entry(partition).or_insert(hidden).end = all_end;
                }
                _ => drop(self.hidden.remove(&partition)),
            }
        }
        self.report(&broker.topic)
    }

    /// Whether any record waits behind a transaction, for however short a time.
    pub fn any_hidden(&self) -> bool {
        !self.hidden.is_empty()
    }

    fn report(&mut self, topic: &str) -> Option<OpenTransaction> {
        let lasting = self.hidden.iter().filter(|(_, hidden)| hidden.seen.elapsed() >= GRACE);
        let lasting: Vec<(i32, i64, i64)> =
            lasting.map(|(partition, hidden)| (*partition, hidden.first, hidden.end)).collect();
        let Some(since) = self.hidden.values().map(|hidden| hidden.seen_at).min().filter(|_| !lasting.is_empty())
        else {
            if std::mem::take(&mut self.is_reported) {
                info!(topic, "the transaction has ended, and the records behind it can be read");
            }
            return None;
        };
        if !self.is_reported && self.warned_at.is_none_or(|at| at.elapsed() >= WARNING_INTERVAL) {
            warn!("{} since {since:.0}. {ADVICE}", describe(topic, &lasting));
            (self.warned_at, self.is_reported) = (Some(Instant::now()), true);
        }
        let records = lasting.iter().map(|(_, first, end)| end - first).sum();
        Some(OpenTransaction { records, since_us: Some(since.as_microsecond()) })
    }
}

const ADVICE: &str = "They are read when it is committed or aborted: `kafka-transactions.sh find-hanging` names its producer, and \
                      `abort` ends it";

/// Warns of the records that a run leaves unread at its end, because an open transaction hides
/// them.
///
/// # Errors
/// If Kafka does not say where the partitions end.
pub fn warn_of_rest(broker: &TopicConfig, partitions: &[i32], timeout: Duration) -> Result<()> {
    let all = broker.extents(&broker.uncommitted_consumer()?, partitions, timeout)?;
    let readable = broker.extents(&broker.metadata_consumer()?, partitions, timeout)?;
    let ends = all.iter().filter_map(|(partition, all)| Some((*partition, readable.get(partition)?.end, all.end)));
    let left: Vec<(i32, i64, i64)> = ends.filter(|(_, first, end)| first < end).collect();
    if !left.is_empty() {
        warn!("{}, and are not in the charts. {ADVICE}; then start again", describe(&broker.topic, &left));
    }
    Ok(())
}

/// `ranges` are partition, first offset, and the offset after the last one.
fn describe(topic: &str, ranges: &[(i32, i64, i64)]) -> String {
    let records: i64 = ranges.iter().map(|(_, first, end)| end - first).sum();
    let named = ranges
        .iter()
        .take(NAMED_MAX)
        .map(|(partition, first, end)| format!("{topic}/{partition}: offsets {first} … {} ({})", end - 1, end - first));
    let named = named.collect::<Vec<_>>().join(", ");
    let others = match ranges.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        others => format!(" and {others} more partitions"),
    };
    format!("{records} records wait behind a transaction that has not ended ({named}{others})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_how_many_records_wait_and_where() {
        assert_eq!(
            describe("plays", &[(0, 5, 8), (3, 0, 1)]),
            "4 records wait behind a transaction that has not ended (plays/0: offsets 5 … 7 (3), plays/3: offsets 0 … 0 (1))"
        );
        let many: Vec<_> = (0..10).map(|partition| (partition, 0, 1)).collect();
        assert!(describe("plays", &many).ends_with(" and 2 more partitions)"));
    }
}
