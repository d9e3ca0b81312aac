//! Input that waits for its time.

use std::collections::BTreeMap;

use timely::order::TotalOrder;
use timely::progress::Timestamp;
use timely::progress::frontier::MutableAntichain;

/// Inputs by time, each time with `C`, the capabilities to send at it.
pub struct Stash<T, D, C> {
    times: BTreeMap<T, Waiting<D, C>>,
}

struct Waiting<D, C> {
    capabilities: C,
    inputs: Vec<D>,
}

/// The inputs that have come since the last time, of the earliest time.
pub struct DueInput<T, D, C> {
    pub time: T,
    pub inputs: Vec<D>,
    /// Set once all input of this time is there, and nothing earlier is to come.
    pub complete: Option<C>,
}

impl<T: Timestamp + TotalOrder, D, C> Stash<T, D, C> {
    pub fn new() -> Self {
        Self { times: BTreeMap::new() }
    }

    /// Keeps `input` for `time`, at which `capabilities` can send.
    pub fn keep(&mut self, time: T, capabilities: C, input: D) {
        self.times.entry(time).or_insert_with(|| Waiting { capabilities, inputs: Vec::new() }).inputs.push(input);
    }

    /// The earliest time, if inputs with these `frontiers` can bring nothing before it any more.
    ///
    /// Call until it gives `None`, or a time that is not complete: that one is handed out piece by piece, so that its
    /// work is not all left for the end of the epoch.
    pub fn next(&mut self, frontiers: &[MutableAntichain<T>]) -> Option<DueInput<T, D, C>> {
        let mut first = self.times.first_entry()?;
        let time = first.key().clone();
        if frontiers.iter().any(|frontier| frontier.less_than(&time)) {
            return None;
        }
        if frontiers.iter().any(|frontier| frontier.less_equal(&time)) {
            let inputs = std::mem::take(&mut first.get_mut().inputs);
            return Some(DueInput { time, inputs, complete: None });
        }
        let Waiting { capabilities, inputs } = first.remove();
        Some(DueInput { time, inputs, complete: Some(capabilities) })
    }
}
