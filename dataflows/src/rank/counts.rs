//! The counts of one cell, by the number of the item.
//!
//! Most cells have few of the items, and a few cells have nearly all. Counts begin in a hash map,
//! and move to an array when that takes less memory: 4 bytes an item, or 8 once a count is out of
//! the range of `u32`.

use std::collections::HashMap;

use foldhash::fast::FixedState;

/// Counts by the number of the item.
pub enum Counts {
    /// Counts of few items; none is zero.
    Sparse(HashMap<u32, i64, FixedState>),
    /// Counts that fit a `u32`.
    Dense(Vec<u32>),
    /// Any counts.
    Wide(Vec<i64>),
}

/// The size of an entry of a hash map, in slots of an array of `u32`, roughly.
const SPARSE_TO_DENSE: usize = 6;

impl Default for Counts {
    fn default() -> Self {
        Self::Sparse(HashMap::default())
    }
}

impl Counts {
    /// Adds `diff` to the count of `item`; `items` is the number of items that are numbered.
    /// Returns the count before and after.
    #[inline]
    pub fn add(&mut self, item: u32, diff: i64, items: usize) -> (i64, i64) {
        if let Self::Dense(counts) = self
            && let Some(count) = counts.get_mut(item as usize)
            && let Ok(sum) = u32::try_from(i64::from(*count) + diff)
        {
            let before = std::mem::replace(count, sum);
            return (before.into(), sum.into());
        }
        self.add_beyond(item, diff, items)
    }

    /// The number of entries that a scan visits.
    pub fn len(&self) -> usize {
        match self {
            Self::Sparse(map) => map.len(),
            Self::Dense(counts) => counts.len(),
            Self::Wide(counts) => counts.len(),
        }
    }

    /// [`Self::add`] if the count is not in an array, or leaves it.
    fn add_beyond(&mut self, item: u32, diff: i64, items: usize) -> (i64, i64) {
        let before = self.get(item);
        let after = before + diff;
        match self {
            Self::Sparse(map) => {
                if after == 0 {
                    map.remove(&item);
                } else {
                    map.insert(item, after);
                }
                if map.len() * SPARSE_TO_DENSE > items.max(64) {
                    self.densify(items);
                }
            }
            Self::Dense(counts) => match u32::try_from(after) {
                Ok(count) => *slot(counts, item, items) = count,
                Err(_) => {
                    let mut counts: Vec<i64> = counts.iter().map(|count| i64::from(*count)).collect();
                    *slot(&mut counts, item, items) = after;
                    *self = Self::Wide(counts);
                }
            },
            Self::Wide(counts) => *slot(counts, item, items) = after,
        }
        (before, after)
    }

    /// The count of `item`.
    pub fn get(&self, item: u32) -> i64 {
        match self {
            Self::Sparse(map) => map.get(&item).copied().unwrap_or(0),
            Self::Dense(counts) => counts.get(item as usize).copied().unwrap_or(0).into(),
            Self::Wide(counts) => counts.get(item as usize).copied().unwrap_or(0),
        }
    }

    /// Calls `visit` with every item whose count is positive.
    pub fn for_each_positive(&self, mut visit: impl FnMut(u32, i64)) {
        match self {
            Self::Sparse(map) => {
                map.iter().filter(|(_, count)| **count > 0).for_each(|(item, count)| visit(*item, *count));
            }
            Self::Dense(counts) => (0..)
                .zip(counts)
                .filter(|(_, count)| **count > 0)
                .for_each(|(item, count)| visit(item, (*count).into())),
            Self::Wide(counts) => {
                (0..).zip(counts).filter(|(_, count)| **count > 0).for_each(|(item, count)| visit(item, *count));
            }
        }
    }

    /// Moves the counts from the hash map to an array.
    fn densify(&mut self, items: usize) {
        let Self::Sparse(map) = self else { return };
        *self = match map.values().all(|count| u32::try_from(*count).is_ok()) {
            true => Self::Dense(array(map, items, |count| count as u32)),
            false => Self::Wide(array(map, items, |count| count)),
        };
    }
}

/// The array of the counts in `map`.
fn array<N: Default + Clone>(map: &HashMap<u32, i64, FixedState>, items: usize, as_slot: impl Fn(i64) -> N) -> Vec<N> {
    let mut counts = vec![N::default(); items.next_power_of_two()];
    #[expect(clippy::iter_over_hash_type, reason = "each count goes to its own slot")]
    for (item, count) in map {
        *slot(&mut counts, *item, items) = as_slot(*count);
    }
    counts
}

/// The slot of `item`, after growing the array if it is too short.
fn slot<N: Default + Clone>(counts: &mut Vec<N>, item: u32, items: usize) -> &mut N {
    let item = item as usize;
    if item >= counts.len() {
        counts.resize(items.max(item + 1).next_power_of_two(), N::default());
    }
    &mut counts[item]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Counts are sums in every representation.
        #[test]
        fn are_sums(updates in prop::collection::vec((0u32..300, prop_oneof![-3i64..10, Just(1i64 << 33)]), 0..400)) {
            let (mut counts, mut expected) = (Counts::default(), BTreeMap::<u32, i64>::new());
            for (item, diff) in updates {
                let sum = expected.entry(item).or_default();
                prop_assert_eq!(counts.add(item, diff, 300), (*sum, *sum + diff));
                *sum += diff;
            }
            let mut seen = BTreeMap::new();
            counts.for_each_positive(|item, count| { seen.insert(item, count); });
            expected.retain(|_, count| *count > 0);
            prop_assert_eq!(seen, expected);
        }
    }
}
