//! Numbers for keys, in the order of their first appearance: data about keys can then lie in
//! arrays.

use std::hash::{BuildHasher, Hash};

use foldhash::fast::RandomState;

/// Keys and their numbers: 0 for the first key that is seen, 1 for the next different one, and so
/// on.
///
/// A history looks up millions of keys, nearly all of them known, in tables that no cache holds.
/// [`number_all`](Self::number_all) therefore has several look-ups wait for memory at the same
/// time, and a look-up reads two small places: the number by hash, and the key by number. Frequent
/// keys tend to be seen early, and lie close together.
///
/// ```
/// use reprise_dataflows::keys::interner::Interner;
///
/// // Plays by country, in an array.
/// let (mut countries, mut plays) = (Interner::default(), Vec::new());
/// for country in ["PT", "US", "PT", "JP", "PT"] {
///     let number = countries.number(&country) as usize;
///     if number == plays.len() {
///         plays.push(0);
///     }
///     plays[number] += 1;
/// }
/// assert_eq!(countries.all(), ["PT", "US", "JP"]);
/// assert_eq!(plays, [3, 1, 1]);
/// assert_eq!(countries.find(&"JP"), Some(2));
/// assert_eq!(countries.find(&"IS"), None);
/// ```
pub struct Interner<K> {
    state: RandomState,
    /// An open hash table of numbers, `FREE` where a slot is empty. At least twice as many slots as
    /// numbers.
    slots: Vec<u32>,
    /// The keys by number.
    all: Vec<K>,
    /// The number that [`Interner::number`] returned last.
    last: u32,
}

/// The number of look-ups that wait for memory at the same time.
pub const TOGETHER: usize = 16;

const FREE: u32 = u32::MAX;
const SLOTS_MIN: usize = 64;

impl<K> Default for Interner<K> {
    fn default() -> Self {
        Self { state: RandomState::default(), slots: vec![FREE; SLOTS_MIN], all: Vec::new(), last: 0 }
    }
}

impl<K: Eq + Hash> Interner<K> {
    /// All keys, in the order of their numbers.
    pub fn all(&self) -> &[K] {
        &self.all
    }

    /// The key with this number.
    ///
    /// # Panics
    /// If no key has this number.
    pub fn get(&self, number: u32) -> &K {
        &self.all[number as usize]
    }

    /// The number of a key, if it has one.
    pub fn find(&self, key: &K) -> Option<u32> {
        Some(self.slots[self.slot(key)]).filter(|number| *number != FREE)
    }

    /// The number of a key, a new one if the key is new. Fast if the last call had the same key:
    /// updates come grouped by key.
    ///
    /// # Panics
    /// If there are 2^32 - 1 other keys; memory would be full long before.
    pub fn number(&mut self, key: &K) -> u32
    where
        K: Clone,
    {
        if self.all.get(self.last as usize).is_none_or(|last| last != key) {
            self.last = self.find_or_add(key, || ());
        }
        self.last
    }

    /// Appends the [`number`](Self::number) of each of `keys` to `numbers`. Calls `is_new` with the
    /// index in `keys` of each key that is new.
    ///
    /// ```
    /// use reprise_dataflows::keys::interner::Interner;
    ///
    /// let mut tracks = Interner::from_iter(["S1"]);
    /// let (mut numbers, mut new) = (Vec::new(), Vec::new());
    /// tracks.number_all(["S2", "S1", "S2"].iter(), &mut numbers, |index| new.push(index));
    /// assert_eq!(numbers, [1, 0, 1]);
    /// assert_eq!(new, [0]);
    /// ```
    #[inline]
    pub fn number_all<'a>(
        &mut self,
        mut keys: impl Iterator<Item = &'a K> + Clone,
        numbers: &mut Vec<u32>,
        mut is_new: impl FnMut(usize),
    ) where
        K: Clone + 'a,
    {
        let mut found = [FREE; TOGETHER];
        for first in (0..).step_by(TOGETHER) {
            for (found, key) in found.iter_mut().zip(keys.clone()) {
                *found = self.slots[self.place(key)];
            }
            for (index, found) in (first..).zip(found) {
                let Some(key) = keys.next() else { return };
                let is_known = self.all.get(found as usize).is_some_and(|known| known == key);
                numbers.push(if is_known { found } else { self.find_or_add(key, || is_new(index)) });
            }
        }
    }

    #[expect(clippy::expect_used, reason = "memory would be full long before")]
    fn find_or_add(&mut self, key: &K, is_new: impl FnOnce()) -> u32
    where
        K: Clone,
    {
        let slot = self.slot(key);
        if self.slots[slot] != FREE {
            return self.slots[slot];
        }
        let number = u32::try_from(self.all.len()).ok().filter(|number| *number != FREE);
        let number = number.expect("fewer than 2^32 - 1 on a worker");
        self.slots[slot] = number;
        self.all.push(key.clone());
        if self.slots.len() < 2 * self.all.len() {
            self.grow();
        }
        is_new();
        number
    }

    /// The slot at which the search for `key` begins.
    fn place(&self, key: &K) -> usize {
        self.state.hash_one(key) as usize & (self.slots.len() - 1)
    }

    /// The slot of the number of `key`, or the empty slot for it.
    fn slot(&self, key: &K) -> usize {
        let mut slot = self.place(key);
        while self.slots[slot] != FREE && self.all[self.slots[slot] as usize] != *key {
            slot = (slot + 1) & (self.slots.len() - 1);
        }
        slot
    }

    fn grow(&mut self) {
        self.slots = vec![FREE; 4 * self.slots.len()];
        for (key, number) in self.all.iter().zip(0..) {
            let slot = self.slot(key);
            self.slots[slot] = number;
        }
    }
}

impl<K: Clone + Eq + Hash> FromIterator<K> for Interner<K> {
    /// Numbers the distinct keys in their order.
    fn from_iter<I: IntoIterator<Item = K>>(keys: I) -> Self {
        let mut numbers = Self::default();
        for key in keys {
            numbers.number(&key);
        }
        numbers
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Numbers follow the order of first appearance, whether keys are numbered one by one or
        /// together.
        #[test]
        fn numbers_are_in_the_order_of_appearance(
            groups in prop::collection::vec((any::<bool>(), prop::collection::vec(0u32..400, 0..60)), 0..30),
        ) {
            let (mut numbers, mut expected) = (Interner::default(), HashMap::new());
            for (together, group) in groups {
                let (mut found, mut new, mut expected_new) = (Vec::new(), Vec::new(), Vec::new());
                match together {
                    true => numbers.number_all(group.iter(), &mut found, |index| new.push(index)),
                    false => found.extend(group.iter().map(|key| numbers.number(key))),
                }
                for (index, key) in group.iter().enumerate() {
                    let next = expected.len() as u32;
                    if !expected.contains_key(key) {
                        expected_new.push(index);
                    }
                    prop_assert_eq!(found[index], *expected.entry(*key).or_insert(next));
                    prop_assert_eq!(numbers.get(found[index]), key);
                }
                prop_assert!(!together || new == expected_new);
            }
            prop_assert_eq!(numbers.all().len(), expected.len());
            for key in 0..400 {
                prop_assert_eq!(numbers.find(&key), expected.get(&key).copied());
            }
        }
    }
}
