//! What a run is to do.

use super::tick::Pace;
use crate::cluster::Membership;
use crate::kafka::TopicConfig;
use crate::lake::maintenance;
use crate::serve::Access;
use reprise_dataflows::rules::definition::Definitions;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// What is read, where it goes, and how often things happen.
pub struct Run {
    pub broker: TopicConfig,
    /// An absolute path.
    pub lake: PathBuf,
    /// Of this process.
    pub workers: usize,
    /// The cluster that this process is in, if it is in one.
    pub membership: Option<Membership>,
    pub definitions: Arc<Definitions>,
    pub listen: SocketAddr,
    /// Where only those who watch over the process are answered.
    pub probe_listen: Option<SocketAddr>,
    pub access: Access,
    /// Begin at the end of partitions that a new lake has no offset for, instead of at their first offset.
    pub from_latest: bool,
    /// Go on behind offsets that Kafka no longer has.
    pub accept_gap: bool,
    /// Become the writer of the lake although another process is.
    pub take_over: bool,
    /// Set the lake's clock back to where its plays are.
    pub reset_clock: bool,
    /// What this process may hold, instead of most of what there is.
    pub memory_max_bytes: Option<u64>,
    pub pace: Pace,
    pub maintenance: maintenance::Intervals,
    pub checkpoint_interval: Duration,
    /// The topic that changes of the charts are published to, if they are.
    pub changelog: Option<String>,
    /// The collector that gets the metrics.
    pub otlp: Option<Url>,
    /// Lines below the live table.
    pub notes: Vec<String>,
}
