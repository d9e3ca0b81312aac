//! What a reader does when Kafka may have lost offsets that are still to be read.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Result;
use tracing::warn;

use super::{Reader, UNANSWERED, find};
use crate::intake::{Gap, Position};
use crate::kafka::Extent;
use crate::lake::LakeProgress;
use crate::source::kafka::partition::Partition;
use crate::source::kafka::resume::{PASSED, check_recreated, ends_before, lost};

/// How often to ask which offsets Kafka still has, and how long to wait for the answer, which
/// blocks the worker.
const RECHECK_INTERVAL: Duration = Duration::from_secs(1);
const RECHECK_TIMEOUT: Duration = Duration::from_secs(2);

impl Reader {
    /// If offsets are in doubt, asks the broker for them. Continues past missing offsets if that is
    /// accepted, and fails otherwise.
    pub(super) fn check_offsets(&mut self) -> Result<()> {
        if self.share.found.has_returned(&mut self.returns) {
            (self.recheck_at, self.has_returned) = (Some(Instant::now()), true);
        }
        if self.recheck_at.is_none_or(|at| at > Instant::now()) {
            return Ok(());
        }
        let partitions: Vec<i32> = self.partitions.iter().map(|state| state.report.partition).collect();
        let extents = match self.broker.extents(self.receiver.consumer(), &partitions, RECHECK_TIMEOUT) {
            Ok(extents) => extents,
            Err(error) => {
                self.warn(UNANSWERED, &format!("{error:#}"));
                self.recheck_at = Some(Instant::now() + RECHECK_INTERVAL);
                return Ok(());
            }
        };
        self.recheck_at = None;
        let gaps = self.gaps_in(&extents)?;
        let topic = &self.broker.topic;
        // The topic may have been recreated since the last check.
        check_recreated(&self.broker, &extents, &self.progress())?;
        if !std::mem::take(&mut self.has_returned) && gaps.is_empty() {
            warn!(topic, "Kafka reported offset out of range, but the offset exists; resuming there");
        }
        if !gaps.is_empty() && !self.share.accept_gap {
            return Err(lost(topic, &gaps));
        }
        for gap in gaps {
            warn!(topic, partition = gap.partition, first = gap.first, end = gap.end, "{PASSED}");
            let state = find(&mut self.partitions, gap.partition);
            self.gaps.extend(state.and_then(|state| state.miss_to(gap.end)));
            (self.moved, self.untaken) = (true, true);
        }
        self.assign()
    }

    /// The offsets that are missing before the first ones of `extents`. Fails if `extents` end
    /// before what was read.
    fn gaps_in(&self, extents: &BTreeMap<i32, Extent>) -> Result<Vec<Gap>> {
        let mut gaps = Vec::new();
        for state in &self.partitions {
            let (partition, next) = (state.report.partition, state.report.next);
            let Some(&Extent { first, end }) = extents.get(&partition) else { continue };
            if next > end {
                return Err(ends_before(&self.broker.topic, partition, next, end));
            }
            gaps.extend((next < first).then_some(Gap { partition, first: next, end: first }));
        }
        Ok(gaps)
    }

    /// How far the partitions have been read, as the progress of a lake.
    fn progress(&self) -> LakeProgress {
        let mut read = LakeProgress::default();
        for Position { partition, next, time_ms, .. } in self.partitions.iter().map(Partition::position) {
            read.offsets.insert(partition, next);
            read.times_ms.extend(time_ms.map(|time_ms| (partition, time_ms)));
        }
        read
    }
}
