//! The message from process 0 of a cluster to the others after it has taken over the lake: the
//! state from which all of them begin.

use std::collections::BTreeMap;

use reprise_dataflows::Epoch;
use serde::{Deserialize, Serialize};

use crate::cluster::view::View;

/// The state from which a run begins.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Start {
    /// The number of this writer of the lake; each takeover increases it.
    pub incarnation: i64,
    /// The last epoch that was committed.
    pub last_epoch: Option<Epoch>,
    /// The next offset of every partition.
    pub starts: BTreeMap<i32, i64>,
    /// The version and files of the lake that the charts begin with.
    pub view: View,
    /// The version of the checkpoint that the charts begin with, if any.
    pub checkpoint: Option<u64>,
    /// The URL at which process 0 serves the charts; `None` if only its own machine can reach it.
    pub leader: Option<String>,
}
