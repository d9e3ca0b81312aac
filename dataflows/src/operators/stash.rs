//! Input that waits for its time.

use std::collections::BTreeMap;

use timely::order::TotalOrder;
use timely::progress::Timestamp;
use timely::progress::frontier::MutableAntichain;

/// Inputs by time. Each time has `C`, the capabilities to send at that time.
pub struct Stash<T, D, C> {
    times: BTreeMap<T, Waiting<D, C>>,
}

struct Waiting<D, C> {
    capabilities: C,
    inputs: Vec<D>,
}

/// Inputs of the earliest time: those that have arrived since the last call of [`Stash::next`].
pub struct DueInput<T, D, C> {
    /// The time.
    pub time: T,
    /// The inputs.
    pub inputs: Vec<D>,
    /// The capabilities of the time, once all its input has arrived.
    pub complete: Option<C>,
}

impl<T: Timestamp + TotalOrder, D, C> Stash<T, D, C> {
    /// A stash without inputs.
    pub fn new() -> Self {
        Self { times: BTreeMap::new() }
    }

    /// Keeps `input` for `time`, the time of `capabilities`.
    pub fn keep(&mut self, time: T, capabilities: C, input: D) {
        self.times.entry(time).or_insert_with(|| Waiting { capabilities, inputs: Vec::new() }).inputs.push(input);
    }

    /// The earliest time, if no input with these `frontiers` can have messages before it.
    ///
    /// Call it until it returns `None` or a time that is not complete. The inputs of such a time
    /// are returned piece by piece, to spread their work over the epoch.
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
