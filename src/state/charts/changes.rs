//! The changes of the charts from epoch to epoch.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use reprise_dataflows::names::catalogue::TrackInfo;
use reprise_dataflows::rank::digest::Inputs;
use reprise_dataflows::rules::definition::Cell;

/// The changes of one or more whole epochs. Part of an epoch is not enough: halfway through one, a
/// track can have two titles.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// A weighted collection, restricted to the top of each cell: the multiplicity of (cell, item)
    /// is the item's count, and at 0 the item has left the top. In any order, and unconsolidated.
    pub ranked: Vec<((Cell, String), i64)>,
    /// A weighted collection with one [`TrackInfo`] per track. In any order, and unconsolidated.
    pub titles: Vec<((String, TrackInfo), i64)>,
    /// The plays that were counted, by chart index.
    pub inputs: BTreeMap<u32, Inputs>,
}

/// The sum of the changes of many epochs, kept until the next cut. In a busy top most changes
/// cancel out in between. Sums replace a list of updates that was consolidated now and then, which
/// took 6 ms of one epoch each second.
#[derive(Debug, Default)]
pub struct Accumulated {
    ranked: BTreeMap<Cell, BTreeMap<String, i64>>,
    titles: BTreeMap<(String, TrackInfo), i64>,
    inputs: BTreeMap<u32, Inputs>,
}

impl Accumulated {
    /// Adds the changes of later epochs.
    pub fn add(&mut self, later: &Changes) {
        let Changes { ranked, titles, inputs } = later;
        for of_cell in ranked.chunk_by(|((a, _), _), ((b, _), _)| a == b) {
            let sums = self.ranked.entry(of_cell[0].0.0.clone()).or_default();
            of_cell.iter().for_each(|((_, item), diff)| add(sums, item.clone(), *diff));
        }
        titles.iter().for_each(|(title, diff)| add(&mut self.titles, title.clone(), *diff));
        for (chart, change) in inputs {
            self.inputs.entry(*chart).or_default().add(*change);
        }
    }

    /// Takes the changes since the last call, possibly none.
    pub fn take(&mut self) -> Changes {
        let Self { ranked, titles, inputs } = std::mem::take(self);
        let of_cell = |(cell, sums): (Cell, BTreeMap<String, i64>)| {
            sums.into_iter().map(move |(item, diff)| ((cell.clone(), item), diff))
        };
        Changes { ranked: ranked.into_iter().flat_map(of_cell).collect(), titles: titles.into_iter().collect(), inputs }
    }
}

/// Adds `diff` to the sum of `key`. No sum is kept at zero.
pub(super) fn add<K: Ord>(sums: &mut BTreeMap<K, i64>, key: K, diff: i64) {
    match sums.entry(key) {
        Entry::Vacant(_) if diff == 0 => {}
        Entry::Vacant(sum) => drop(sum.insert(diff)),
        Entry::Occupied(mut sum) => {
            *sum.get_mut() += diff;
            if *sum.get() == 0 {
                sum.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use differential_dataflow::consolidation::consolidate;
    use proptest::prelude::*;
    use reprise_dataflows::rules::definition::Scope;

    use super::*;

    proptest! {
        /// `take` returns the sum of what was added since the last call.
        #[test]
        fn taken_changes_are_those_added(
            epochs in prop::collection::vec((any::<bool>(), prop::collection::vec((0u32..3, 0u8..6, -2i64..3), 0..40)), 0..12),
        ) {
            let (mut accumulated, mut expected) = (Accumulated::default(), Changes::default());
            for (takes, updates) in epochs {
                let cell = |chart| Cell { chart, start_day: 0, scope: Scope::Global };
                let info = |song: u8| TrackInfo { title: format!("{song}"), artist: String::new() };
                let ranked = updates.iter().map(|(chart, song, diff)| ((cell(*chart), format!("S{song}")), *diff));
                let titles = updates.iter().map(|(_, song, diff)| ((format!("S{song}"), info(*song)), *diff));
                let later = Changes { ranked: ranked.collect(), titles: titles.collect(), ..Changes::default() };
                accumulated.add(&later);
                expected.ranked.extend(later.ranked);
                expected.titles.extend(later.titles);
                if takes {
                    let mut taken = accumulated.take();
                    consolidate(&mut taken.ranked);
                    consolidate(&mut taken.titles);
                    consolidate(&mut expected.ranked);
                    consolidate(&mut expected.titles);
                    prop_assert_eq!((taken.ranked, taken.titles), (expected.ranked, expected.titles));
                    expected = Changes::default();
                }
            }
        }
    }
}
