//! Input that waits for its time.
//!
//! Messages of a later time may arrive while an earlier one is still open. Operators whose state has one version only
//! (counts, the window, titles) put their input here and take it out in the order of time.

use std::collections::BTreeMap;

use timely::dataflow::operators::Capability;
use timely::order::TotalOrder;
use timely::progress::Timestamp;
use timely::progress::frontier::MutableAntichain;

/// Containers of `D` by time, each time with the capability, or the capabilities, to send at it.
pub struct Stash<T: Timestamp, D, C = Capability<T>> {
    times: BTreeMap<T, Waiting<D, C>>,
}

struct Waiting<D, C> {
    capability: C,
    containers: Vec<Vec<D>>,
}

/// What [`Stash::next`] gives: the earliest time's new input.
pub struct Ready<T, D, C = Capability<T>> {
    pub time: T,
    pub containers: Vec<Vec<D>>,
    /// Set once all input of this time is there, and nothing earlier is to come.
    pub complete: Option<C>,
}

impl<T: Timestamp + TotalOrder, D, C> Stash<T, D, C> {
    pub fn new() -> Self {
        Self { times: BTreeMap::new() }
    }

    /// Keeps `containers` for `time`, at which `capability` can send.
    pub fn extend(&mut self, time: T, capability: C, containers: impl Iterator<Item = Vec<D>>) {
        let waiting = self.times.entry(time).or_insert_with(|| Waiting { capability, containers: Vec::new() });
        waiting.containers.extend(containers);
    }

    /// The earliest time, if no input before it can come any more from inputs with these `frontiers`.
    ///
    /// Call until it gives `None`, or a time that is not complete: that one is handed out piece by piece, so that its
    /// work is not all left for the end of the epoch.
    pub fn next(&mut self, frontiers: &[&MutableAntichain<T>]) -> Option<Ready<T, D, C>> {
        let mut first = self.times.first_entry()?;
        let time = first.key().clone();
        if frontiers.iter().any(|frontier| frontier.less_than(&time)) {
            return None;
        }
        if frontiers.iter().any(|frontier| frontier.less_equal(&time)) {
            let containers = std::mem::take(&mut first.get_mut().containers);
            return Some(Ready { time, containers, complete: None });
        }
        let Waiting { capability, containers } = first.remove();
        Some(Ready { time, containers, complete: Some(capability) })
    }
}

impl<T: Timestamp + TotalOrder, D, R> Stash<T, (D, T, R)> {
    /// Keeps differential updates for their own times, which may be later than that of the message they came in.
    pub fn extend_updates(&mut self, capability: Capability<T>, containers: impl Iterator<Item = Vec<(D, T, R)>>) {
        for container in containers {
            if container.iter().all(|(_, time, _)| time == capability.time()) {
                self.extend(capability.time().clone(), capability.clone(), std::iter::once(container));
                continue;
            }
            let mut by_time = BTreeMap::<T, Vec<(D, T, R)>>::new();
            for update in container {
                by_time.entry(update.1.clone()).or_default().push(update);
            }
            for (time, updates) in by_time {
                self.extend(time.clone(), capability.delayed(&time), std::iter::once(updates));
            }
        }
    }
}
