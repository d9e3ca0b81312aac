//! The content of one commit.

use super::account::{Account, TIME_UNKNOWN};
use super::new_file::NewFile;
use super::progress::LakeProgress;
use crate::intake::Position;
use std::collections::BTreeMap;

/// Everything that one commit makes durable: the rows of every epoch up to `epoch` that no earlier
/// cut included.
#[derive(Clone, Debug, Default)]
pub struct Cut {
    /// The last epoch that is included.
    pub epoch: u64,
    /// The clock of the cut, in µs since 1970; `None` before the first play.
    pub clock_us: Option<i64>,
    /// Staged files of plays.
    pub plays: Vec<NewFile>,
    /// Staged files of dead letters.
    pub dead_letters: Vec<NewFile>,
    /// The next offset to read of each Kafka partition. A partition that is missing here keeps its
    /// offset.
    pub offsets: BTreeMap<i32, i64>,
    /// How the offsets before `offsets` are accounted for.
    pub account: Account,
}

impl Cut {
    /// Advances the cut to `position`. Its counts begin at zero with the process, so those of the
    /// lake as it `began`, at the start of the process, are added. The cut must contain the lake's
    /// offsets already: a partition without one is new.
    pub fn reach(&mut self, position: &Position, began: &LakeProgress) {
        let &Position { partition, start, next, holes, missing, time_ms, seen_us } = position;
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
        self.account.seen_us.extend(seen_us.map(|seen_us| (partition, seen_us)));
    }
}
