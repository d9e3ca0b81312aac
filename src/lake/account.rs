//! What becomes of every offset of the topic: a play, a dead letter, a hole, or missing, and on record in the lake.
//!
//! Rows can be counted in the files. For the rest a commit says of each partition where the lake begins, how many offsets
//! since then had no record, and how many Kafka had deleted before they were read. So it can be checked at any version
//! that `offset − start = plays + dead letters + holes + missing`, without asking Kafka, which forgets.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Cut, Progress, disk};

/// Kafka's own number for a time that is not known. A mark in the log cannot be taken back, so it is overwritten by this.
const TIME_UNKNOWN: i64 = -1;

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

/// The offsets `[first, end)` of a partition, which are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    pub partition: i32,
    pub first: i64,
    pub end: i64,
}

impl Gap {
    /// How many offsets there are in it.
    pub fn length(&self) -> i64 {
        self.end - self.first
    }
}

/// How far a process has come in a partition, since it began there at `start`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    pub partition: i32,
    pub start: i64,
    /// The next offset to read.
    pub next: i64,
    pub holes: i64,
    pub missing: i64,
    /// Kafka's time of the record before `next`, if there is one and it has a time.
    pub time_ms: Option<i64>,
}

/// A hash of where in the topic a row came from. No two rows come from the same place, so the sum of these tells sets of rows
/// apart, whatever their order.
pub fn origin_hash(partition: i32, offset: i64) -> u64 {
    disk::mixed(disk::mixed(u64::from(partition.unsigned_abs())).wrapping_add(offset as u64))
}

impl Cut {
    /// Goes on to `position`, which a process has reached that found the lake as it `began`. The cut must have the lake's
    /// offsets already: a partition without one is new.
    pub fn reach(&mut self, position: &Position, began: &Progress) {
        let &Position { partition, start, next, holes, missing, time_ms } = position;
        let of = |values: &BTreeMap<i32, i64>| values.get(&partition).copied().unwrap_or(0);
        match self.offsets.insert(partition, next) {
            Some(before) if before == next => return,
            Some(_) => {}
            None => drop(self.account.starts.insert(partition, start)),
        }
        self.account.holes.insert(partition, of(&began.holes) + holes);
        if missing > 0 {
            self.account.missing.insert(partition, of(&began.missing) + missing);
        }
        self.account.times_ms.insert(partition, time_ms.unwrap_or(TIME_UNKNOWN));
    }
}

impl Account {
    /// What is to be said when `gaps` are all that has happened since `progress`.
    pub fn of_gaps(gaps: &[Gap], progress: &Progress) -> Self {
        let mut account = Self { gaps: gaps.to_vec(), ..Self::default() };
        for gap in gaps {
            let before = progress.missing.get(&gap.partition).copied().unwrap_or(0);
            *account.missing.entry(gap.partition).or_insert(before) += gap.length();
            account.times_ms.insert(gap.partition, TIME_UNKNOWN);
        }
        account
    }
}
