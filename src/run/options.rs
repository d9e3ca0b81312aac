//! The options of a run.

use super::tick::Pace;
use crate::cluster::Membership;
use crate::kafka::TopicConfig;
use crate::lake::maintenance;
use crate::lake::store::Place;
use crate::serve::Access;
use reprise_dataflows::rules::definition::Definitions;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// The settings of `reprise run` and `reprise demo`: what is read, where it is stored, and the
/// intervals.
pub struct Run {
    /// The Kafka topic that is read.
    pub broker: TopicConfig,
    /// The lake.
    pub lake: Place,
    /// The number of dataflow workers of this process.
    pub workers: usize,
    /// The cluster that this process belongs to; `None` for a single process.
    pub membership: Option<Membership>,
    /// The charts.
    pub definitions: Arc<Definitions>,
    /// The address of the HTTP server.
    pub listen: SocketAddr,
    /// A second address that answers health probes and metrics only.
    pub probe_listen: Option<SocketAddr>,
    /// The access rules of the HTTP server.
    pub access: Access,
    /// Begin at the end of each partition if the lake is new, instead of at the first offset.
    pub from_latest: bool,
    /// Continue past offsets that Kafka no longer has, and record them as missing.
    pub accept_gap: bool,
    /// Become the writer of the lake even if another process is writing to it.
    pub take_over: bool,
    /// Set the lake's clock back to the time of its plays.
    pub reset_clock: bool,
    /// The memory limit of this process in bytes; `None` derives it from the memory of the machine
    /// or container.
    pub memory_max_bytes: Option<u64>,
    /// The intervals of epochs and commits.
    pub pace: Pace,
    /// The intervals of compaction and deletion.
    pub maintenance: maintenance::Intervals,
    /// The time from one checkpoint to the next.
    pub checkpoint_interval: Duration,
    /// The topic to which changes of the charts are published, if any.
    pub changelog: Option<String>,
    /// The OpenTelemetry collector that receives the metrics, if any.
    pub otlp: Option<Url>,
    /// Lines that are shown below the live table.
    pub notes: Vec<String>,
}
