//! How far a lake has come, and where its plays come from.

use std::collections::BTreeMap;

/// Where the plays of a lake come from. Recorded when it is created, and compared ever after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The broker's cluster id.
    pub cluster_id: String,
    pub topic: String,
    /// The topic's own id, if the cluster gives topics ids.
    pub topic_id: Option<String>,
}

/// How far a table has come, by its own log: there is no other place where progress is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LakeProgress {
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
