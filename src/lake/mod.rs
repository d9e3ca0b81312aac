//! The lake: plays and dead letters as two Delta tables of Parquet files, written exactly once.
//!
//! ```text
//! LAKE/song_plays/date=2026-11-20/hour=14/part-….snappy.parquet   what a cut has committed
//!                 _staging/part-….snappy.parquet.inprogress       written and fsynced, not committed
//!                 _staging/commit-<incarnation>-<epoch>.json      the intent of a commit under way
//!                 _staging/compact…, care.lock                    the same of a compaction, and who may do one
//!                 _staging/writer.lock                            which process writes, for people
//!                 _merged/date=2026-11-20/hour=14/compacted-…     merged files whose originals are still there
//!                 _delta_log/                                     files, offsets, epoch, clock, incarnation
//! LAKE/dead_letters/date=2026-11-20/…                             likewise
//! ```
//!
//! A [`Writer`] on each worker turns rows into staged files, the one [`Committer`] makes them part of the tables, and a
//! [`Snapshot`] lists what is there. `delta_kernel` reads and writes only the log; the Parquet files are ours. What must
//! hold between the three is written at the top of `fenced.rs`.

mod account;
pub mod balance;
pub mod care;
pub mod claims;
mod commit;
mod create;
mod damage;
mod dead_letters;
pub mod disk;
mod encoder;
mod fenced;
mod gathering;
mod holder;
mod hours;
mod intent;
mod listing;
pub mod owner;
mod room;
pub mod seal;
pub mod sink;
mod snapshot;
mod statistics;
mod successor;
mod table;
#[cfg(test)]
pub mod tests;
mod writer;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use account::{Account, Gap, Position, origin_hash};
pub use commit::Committer;
pub use dead_letters::DeadLetter;
pub use encoder::{Encoded, Encoder};
pub use gathering::Gathering;
pub use holder::{Holder, WriterProcess, recorded_other};
pub use listing::{Filing, LakeFile};
pub use room::Room;
pub use snapshot::{Snapshot, check_is_lake, incarnation};
pub use successor::SuccessorWatch;
pub use table::{DEAD_LETTERS, LOG, PLAYS};
pub use writer::{ROW_GROUP_ROWS_MAX, Writer};

/// Where the plays of a lake come from. Recorded when it is created, and compared ever after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The broker's cluster id.
    pub cluster_id: String,
    pub topic: String,
    /// The topic's own id, if the cluster gives topics ids.
    pub topic_id: Option<String>,
}

/// A staged file: what a writer sends to the committer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewFile {
    /// Where the file will be, relative to its table.
    pub path: String,
    /// Where it is now, relative to its table.
    pub staged: String,
    /// Column and value, as the log has them.
    pub partition_values: Vec<(String, String)>,
    pub size_bytes: i64,
    pub rows: i64,
    /// When it was written, in ms since 1970.
    pub modified_ms: i64,
    /// Of the table's column of time, in µs since 1970.
    pub time: Bounds,
    pub kafka_partition: Bounds,
    pub kafka_offset: Bounds,
}

/// The least and greatest value of a column in a file, both inclusive, and how many rows lack one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    pub min: Option<i64>,
    pub max: Option<i64>,
    pub nulls: i64,
}

impl Bounds {
    /// Takes in the value of one more row.
    pub fn add(&mut self, value: Option<i64>) {
        match value {
            None => self.nulls += 1,
            Some(_) => {
                self.min = self.min.map_or(value, |min| Some(min).min(value));
                self.max = self.max.max(value);
            }
        }
    }
}

/// Everything that one commit makes durable: the rows of every epoch before `epoch` that no earlier cut had.
#[derive(Clone, Debug, Default)]
pub struct Cut {
    pub epoch: u64,
    /// The clock of the cut, in µs since 1970; `None` before the first play.
    pub clock_us: Option<i64>,
    pub plays: Vec<NewFile>,
    pub dead_letters: Vec<NewFile>,
    /// The next offset to read of each Kafka partition. A partition that is not here stays where it was.
    pub offsets: BTreeMap<i32, i64>,
    /// What became of the offsets before those.
    pub account: Account,
}

/// How far a table has come, by its own log: there is no other place where progress is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The version of the Delta table.
    pub version: u64,
    /// The epoch of the last cut; `None` before the first, and in a lake that was imported.
    pub epoch: Option<u64>,
    /// The clock of the last cut, in µs since 1970.
    pub clock_us: Option<i64>,
    /// How many times a process has become the writer of the table.
    pub incarnation: i64,
    /// The next offset to read of each Kafka partition; partitions without one have never been read.
    pub offsets: BTreeMap<i32, i64>,
    /// The first offset that was ever to be read of each partition.
    pub starts: BTreeMap<i32, i64>,
    /// How many offsets since the start had no record, because of compaction or a transaction's marker.
    pub holes: BTreeMap<i32, i64>,
    /// How many offsets since the start Kafka had deleted before they were read, and somebody has accepted that.
    pub missing: BTreeMap<i32, i64>,
    /// What Kafka says was the time of the last record before the offset, in ms since 1970, where it is known.
    pub times_ms: BTreeMap<i32, i64>,
}
