//! What becomes of every offset of the topic: a play, a dead letter, a hole, or missing, and on record in the lake.
//!
//! Rows can be counted in the files. For the rest a commit says of each partition where the lake begins, how many offsets
//! since then had no record, and how many Kafka had deleted before they were read. So it can be checked at any version
//! that `offset − start = plays + dead letters + holes + missing`, without asking Kafka, which forgets.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::disk;
use super::progress::LakeProgress;
use crate::intake::Gap;

/// Kafka's own number for a time that is not known. A mark in the log cannot be taken back, so it is overwritten by this.
pub(super) const TIME_UNKNOWN: i64 = -1;

/// What a commit says of partitions beside their offsets. What is not here stays as it was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Account {
    /// The first offset that was ever to be read of partitions that are new to the lake.
    pub starts: BTreeMap<i32, i64>,
    /// Offsets since the start that had no record.
    pub holes: BTreeMap<i32, i64>,
    /// Offsets since the start that Kafka had deleted before they were read.
    pub missing: BTreeMap<i32, i64>,
    /// What Kafka says was the time of the last record before the offset, in ms since 1970.
    pub times_ms: BTreeMap<i32, i64>,
    /// Of what is missing, that which is so since the commit before.
    pub gaps: Vec<Gap>,
}

/// A hash of where in the topic a row came from. No two rows come from the same place, so the sum of these tells sets of rows
/// apart, whatever their order.
pub fn origin_hash(partition: i32, offset: i64) -> u64 {
    disk::mixed(disk::mixed(u64::from(partition.unsigned_abs())).wrapping_add(offset as u64))
}

impl Account {
    /// What is to be said when `gaps` are all that has happened since `progress`.
    pub fn of_gaps(gaps: &[Gap], progress: &LakeProgress) -> Self {
        let mut account = Self { gaps: gaps.to_vec(), ..Self::default() };
        for gap in gaps {
            let before = progress.missing.get(&gap.partition).copied().unwrap_or(0);
            *account.missing.entry(gap.partition).or_insert(before) += gap.length();
            account.times_ms.insert(gap.partition, TIME_UNKNOWN);
        }
        account
    }
}
