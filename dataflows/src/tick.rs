//! The message that begins an epoch.

use serde::{Deserialize, Serialize};

/// The timestamp of the dataflow: the number of a batch of work that takes effect as a whole.
/// Numbers grow; they need not be consecutive.
pub type Epoch = u64;

/// Begins an epoch, and holds for all of it, on every worker.
///
/// [`crate::build`] reads only the clock. The other fields are for the sources and sinks around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tick {
    /// The epoch that begins.
    pub epoch: Epoch,
    /// The moment that the epoch takes for "now", in µs since 1970. It decides the content of the
    /// trending window, and nothing else. `None` before the first play: there is no window yet.
    pub clock_us: Option<i64>,
    /// The source that reads in this epoch.
    pub stage: Stage,
    /// If set, a commit is due that holds the plays of all earlier epochs, and none of this epoch
    /// or a later one.
    pub cut: Option<CutPoint>,
}

/// The source that reads in an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// The lake.
    Rebuild,
    /// Kafka.
    Live,
    /// None: the run ends.
    Stop,
}

/// The last epoch before a cut and its clock: the state that a commit makes durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CutPoint {
    /// The last epoch whose plays are in the commit.
    pub epoch: Epoch,
    /// The clock of that epoch, in µs since 1970.
    pub clock_us: Option<i64>,
}
