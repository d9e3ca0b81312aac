//! What process 0 tells the others of a cluster when it has taken over the lake: where all of them go on.

use std::collections::BTreeMap;

use reprise_dataflows::Epoch;
use serde::{Deserialize, Serialize};

use crate::cluster::view::View;

/// Where a run goes on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Start {
    /// By which this writer of the lake is told from earlier ones.
    pub incarnation: i64,
    /// The last epoch that was committed.
    pub last_epoch: Option<Epoch>,
    /// The next offset of every partition.
    pub starts: BTreeMap<i32, i64>,
    /// The lake that the charts begin with.
    pub view: View,
    /// The version of the checkpoint that has counted a part of it.
    pub checkpoint: Option<u64>,
    /// Where the charts are served, as a URL; none if only process 0's own machine can ask it.
    pub leader: Option<String>,
}
