//! What begins an epoch.

use serde::{Deserialize, Serialize};

/// The dataflow's timestamp: the number of a batch of work that is complete as a whole, or not at all.
pub type Epoch = u64;

/// What begins an epoch, and holds for all of it, on every worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tick {
    pub epoch: Epoch,
    /// The event time, in µs since 1970, that it is taken to be; none before the first play.
    pub clock_us: Option<i64>,
    pub stage: Stage,
    /// Set where the plays of earlier epochs are to be committed, and none of later ones.
    pub cut: Option<CutPoint>,
}

/// Which source reads in an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// The lake.
    Rebuild,
    /// Kafka.
    Live,
    /// None any more.
    Stop,
}

/// The last epoch before a cut, and its clock: what a commit makes durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CutPoint {
    pub epoch: Epoch,
    pub clock_us: Option<i64>,
}
