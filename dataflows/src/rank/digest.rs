//! What went into each chart, as a number that two ways of counting the same plays must share.
//!
//! The charts that are served show only tops, and two dataflows may agree on those by luck. So each chart also has a digest
//! of everything that was counted for it: the wrapping sum, over cells and items, of the count times a hash of the two. A
//! sum has no order, so it does not matter in which epochs plays came, on which workers, or how they were counted together
//! before; and a retraction takes out what the addition put in.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

use differential_dataflow::{AsCollection, VecCollection};
use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;
use timely::dataflow::StreamVec;

use crate::keys::interner::Interner;
use crate::keys::item::ItemKey;
use crate::operators::pass_on;
use crate::rules::plan::Tally;
use crate::rules::plan::{Key, Plan};
use crate::tick::Epoch;

/// What was counted for a chart, or how that has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inputs {
    /// Each once, in however many cells it counts.
    pub plays: i64,
    pub digest: u64,
}

impl Inputs {
    pub fn add(&mut self, change: Self) {
        self.plays += change.plays;
        self.digest = self.digest.wrapping_add(change.digest);
    }
}

/// A chart, by its index in the definitions, and how its inputs have changed in an epoch on a worker.
pub type InputsChange = (u32, Epoch, Inputs);

/// The digest of a text, to be summed up with those of others.
pub fn of_text(text: &str) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(text.as_bytes());
    hasher.finish()
}

/// Passes `tallies` on, and says what they add to the inputs of each chart.
pub fn digest<'scope>(
    tallies: VecCollection<'scope, Epoch, Tally, i64>,
    plan: &Plan,
) -> (VecCollection<'scope, Epoch, Tally, i64>, StreamVec<'scope, Epoch, InputsChange>) {
    let mut digester = Digester::new(plan);
    let (passed, inputs) = pass_on("Digest", tallies.inner, move |containers| {
        for ((key, item), epoch, count) in containers.iter().flatten() {
            digester.add(key, item, *epoch, *count);
        }
        digester.drain().collect()
    });
    (passed.as_collection(), inputs)
}

/// One worker's sums since they were last drained.
struct Digester {
    plan: Plan,
    /// By number of the key: the charts that it counts in, each with the hashes of its cells.
    charts_of_key: Vec<Vec<(usize, Vec<u64>)>>,
    keys: Interner<Key>,
    /// The charts that have been seen, each with its sum of `epoch`.
    sums: Vec<(u32, Inputs)>,
    epoch: Epoch,
    closed: Vec<InputsChange>,
}

impl Digester {
    fn new(plan: &Plan) -> Self {
        let (charts_of_key, keys, sums, epoch, closed) = Default::default();
        Self { plan: plan.clone(), charts_of_key, keys, sums, epoch, closed }
    }

    fn add(&mut self, key: &Key, item: &ItemKey, epoch: Epoch, count: i64) {
        if epoch != self.epoch {
            self.close();
            self.epoch = epoch;
        }
        let number = self.keys.number(key) as usize;
        if number == self.charts_of_key.len() {
            self.new_key(key);
        }
        for (chart, cells) in &self.charts_of_key[number] {
            let sum = cells.iter().fold(0u64, |sum, cell| sum.wrapping_add(item.mix(*cell)));
            self.sums[*chart].1.add(Inputs { plays: count, digest: sum.wrapping_mul(count as u64) });
        }
    }

    fn new_key(&mut self, key: &Key) {
        let mut charts = BTreeMap::<usize, Vec<u64>>::new();
        for cell in self.plan.cells(key) {
            let mut hasher = SipHasher13::new();
            (cell.start_day, &cell.scope).hash(&mut hasher);
            charts.entry(self.slot(cell.chart)).or_default().push(hasher.finish());
        }
        self.charts_of_key.push(charts.into_iter().collect());
    }

    fn slot(&mut self, chart: u32) -> usize {
        let known = self.sums.iter().position(|(other, _)| *other == chart);
        known.unwrap_or_else(|| {
            self.sums.push((chart, Inputs::default()));
            self.sums.len() - 1
        })
    }

    fn close(&mut self) {
        for (chart, sum) in &mut self.sums {
            let change = std::mem::take(sum);
            if change != Inputs::default() {
                self.closed.push((*chart, self.epoch, change));
            }
        }
    }

    fn drain(&mut self) -> impl Iterator<Item = InputsChange> + '_ {
        self.close();
        self.closed.drain(..)
    }
}
