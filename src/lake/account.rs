//! Accounts in the lake for every offset of the topic: it is a play, a dead letter, a hole, or
//! missing.
//!
//! Rows can be counted in the files. For the rest, a commit records for each partition where the
//! lake begins, how many offsets since then had no record, and how many Kafka had deleted before
//! they were read. So each version can be checked without asking Kafka, which deletes old records:
//!
//! ```text
//! offset − start = plays + dead letters + holes + missing
//! ```

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::progress::LakeProgress;
use crate::intake::Gap;

/// Kafka's own value for an unknown time. A transaction id cannot be removed from the log, so an
/// obsolete time is overwritten by this value.
pub(super) const TIME_UNKNOWN: i64 = -1;

/// What a commit records about partitions besides their offsets. A partition that is missing in a
/// map keeps its value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Account {
    /// The offset at which the lake begins, of partitions that are new to the lake.
    pub starts: BTreeMap<i32, i64>,
    /// How many offsets since the start had no record.
    pub holes: BTreeMap<i32, i64>,
    /// How many offsets since the start Kafka had deleted before they were read.
    pub missing: BTreeMap<i32, i64>,
    /// Kafka's timestamp of the last record before the offset, in ms since 1970; −1 if unknown.
    pub times_ms: BTreeMap<i32, i64>,
    /// When the newest record before the offset arrived, in µs since 1970.
    pub seen_us: BTreeMap<i32, i64>,
    /// The missing offsets that this commit adds to `missing`.
    pub gaps: Vec<Gap>,
}

/// A hash of a row's position in the topic. Every row has its own position, so the sum of the
/// hashes identifies a set of rows, whatever their order.
pub fn origin_hash(partition: i32, offset: i64) -> u64 {
    mixed(mixed(u64::from(partition.unsigned_abs())).wrapping_add(offset as u64))
}

/// Mixes every bit into all others: the finalizer of SplitMix64.
fn mixed(key: u64) -> u64 {
    let mut bits = key.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}

impl Account {
    /// The account of a commit in which `gaps` are the only change since `progress`.
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
