//! A digest of everything that was counted for each chart. Two dataflows that count the same plays
//! have the same digests.
//!
//! Charts show only tops, and two dataflows may agree on those by chance. The digest of a chart is
//! the wrapping sum, over all cells and items, of the count times a hash of the cell and the item.
//! A sum does not depend on the order of plays, on their epochs and workers, or on how they were
//! counted before, and a retraction subtracts exactly what the addition has added.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

use differential_dataflow::{AsCollection, VecCollection};
use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;
use timely::dataflow::StreamVec;

use crate::keys::interner::Interner;
use crate::keys::item::ItemKey;
use crate::operators::observe;
use crate::rules::plan::Tally;
use crate::rules::plan::{Key, Plan};
use crate::tick::Epoch;

/// The number of plays that were counted for a chart and their digest, or a change of both.
///
/// ```
/// use reprise_dataflows::rank::digest::Inputs;
///
/// // The changes of two workers add up, in any order.
/// let changes = [Inputs { plays: 3, digest: u64::MAX }, Inputs { plays: 2, digest: 8 }];
/// let mut sum = Inputs::default();
/// changes.into_iter().for_each(|change| sum.add(change));
/// assert_eq!(sum, Inputs { plays: 5, digest: 7 });
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inputs {
    /// The number of plays. A play counts once, however many cells it is in.
    pub plays: i64,
    /// The digest of the counts, modulo 2^64.
    pub digest: u64,
}

impl Inputs {
    /// Adds a change.
    pub fn add(&mut self, change: Self) {
        self.plays += change.plays;
        self.digest = self.digest.wrapping_add(change.digest);
    }
}

/// The index of a chart in the definitions, an epoch, and the change of the chart's inputs in that
/// epoch on one worker.
pub type InputsChange = (u32, Epoch, Inputs);

/// The digest of a text. The wrapping sum of such digests is a digest of a set of texts.
pub fn of_text(text: &str) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(text.as_bytes());
    hasher.finish()
}

/// Passes `tallies` on unchanged, and emits what they add to the inputs of each chart.
pub fn digest<'scope>(
    tallies: VecCollection<'scope, Epoch, Tally, i64>,
    plan: &Plan,
) -> (VecCollection<'scope, Epoch, Tally, i64>, StreamVec<'scope, Epoch, InputsChange>) {
    let mut digester = Digester::new(plan);
    let (passed, inputs) = observe("Digest", tallies.inner, move |containers| {
        for ((key, item), epoch, count) in containers.iter().flatten() {
            digester.add(key, item, *epoch, *count);
        }
        digester.drain().collect()
    });
    (passed.as_collection(), inputs)
}

/// The sums of one worker since the last drain.
struct Digester {
    plan: Plan,
    /// By the number of the key: the charts in which it counts, as indexes into `sums`, each with
    /// the hashes of its cells.
    charts_of_key: Vec<Vec<(usize, Vec<u64>)>>,
    keys: Interner<Key>,
    /// The charts seen so far, each with the sum of `epoch`.
    sums: Vec<(u32, Inputs)>,
    epoch: Epoch,
    /// The sums of epochs before `epoch`.
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

    /// The index of a chart in `sums`.
    fn slot(&mut self, chart: u32) -> usize {
        let known = self.sums.iter().position(|(other, _)| *other == chart);
        known.unwrap_or_else(|| {
            self.sums.push((chart, Inputs::default()));
            self.sums.len() - 1
        })
    }

    /// Moves the sums of `epoch` to `closed`.
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
