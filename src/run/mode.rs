//! Whether a dataflow is live or a replay.

/// The two ways to run the dataflow. `L` is what only a live one has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode<L = ()> {
    /// Continues with Kafka where the lake ends, and commits to the lake.
    Run(L),
    /// Reads only the lake, at a fixed clock, and writes nothing.
    Replay,
}

impl<L> Mode<L> {
    /// Whether only the lake is read.
    pub fn is_replay(&self) -> bool {
        matches!(self, Self::Replay)
    }

    /// What only a live dataflow has.
    pub fn live(&self) -> Option<&L> {
        match self {
            Self::Run(live) => Some(live),
            Self::Replay => None,
        }
    }

    /// The mode alone.
    pub fn kind(&self) -> Mode {
        match self {
            Self::Run(_) => Mode::Run(()),
            Self::Replay => Mode::Replay,
        }
    }
}
