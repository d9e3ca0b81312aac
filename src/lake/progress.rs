//! How far a lake has come, and where its plays come from.

use std::collections::BTreeMap;

/// The topic that the plays of a lake come from. It is recorded when the lake is created, and every
/// later start compares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The broker's cluster id.
    pub cluster_id: String,
    /// The name of the topic.
    pub topic: String,
    /// The topic's id; `None` if the cluster does not give topics ids.
    pub topic_id: Option<String>,
}

/// How far a table has come, by its own log. Progress is written nowhere else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LakeProgress {
    /// The version of the Delta table.
    pub version: u64,
    /// The epoch of the last cut; `None` before the first cut, and in a lake that was imported.
    pub epoch: Option<u64>,
    /// The clock of the last cut, in µs since 1970.
    pub clock_us: Option<i64>,
    /// How many times a process has become the writer of the table.
    pub incarnation: i64,
    /// The next offset to read of each Kafka partition. A partition without one has never been
    /// read.
    pub offsets: BTreeMap<i32, i64>,
    /// The offset at which the lake begins, of each partition.
    pub starts: BTreeMap<i32, i64>,
    /// How many offsets since the start had no record, because of compaction or a transaction's
    /// marker, of each partition.
    pub holes: BTreeMap<i32, i64>,
    /// How many offsets since the start Kafka had deleted before they were read, of each partition.
    /// The user has accepted each such gap.
    pub missing: BTreeMap<i32, i64>,
    /// Kafka's timestamp of the last record before the offset, in ms since 1970, of each partition
    /// where it is known.
    pub times_ms: BTreeMap<i32, i64>,
    /// When the newest record before the offset arrived, in µs since 1970, of each partition where
    /// it is known: the `seen` of its plays never is less.
    pub seen_us: BTreeMap<i32, i64>,
}
