//! Things numbered in the order in which they are first seen, so that what belongs to them is in arrays.

use std::hash::{BuildHasher, Hash};

use foldhash::fast::RandomState;

/// What has been seen, by number, and the number of each.
///
/// A history asks millions of times for what is nearly always known, in tables that no cache holds. So many look-ups are
/// under way at once, and the two places that each has to read are small: a number by hash, and the thing by number. What is seen
/// often is seen early, and lies together.
pub struct Interner<K> {
    state: RandomState,
    /// By hash, numbers; `FREE` where there is none. At least twice as many as numbers.
    slots: Vec<u32>,
    all: Vec<K>,
    /// The number that was given last.
    last: u32,
}

/// Look-ups that wait for memory together.
pub const TOGETHER: usize = 16;

const FREE: u32 = u32::MAX;
const SLOTS_MIN: usize = 64;

impl<K> Default for Interner<K> {
    fn default() -> Self {
        Self { state: RandomState::default(), slots: vec![FREE; SLOTS_MIN], all: Vec::new(), last: 0 }
    }
}

impl<K: Eq + Hash> Interner<K> {
    /// What has a number, in the order of the numbers.
    pub fn all(&self) -> &[K] {
        &self.all
    }

    /// What has this number.
    pub fn get(&self, number: u32) -> &K {
        &self.all[number as usize]
    }

    /// The number of a key, if it has one.
    pub fn find(&self, key: &K) -> Option<u32> {
        Some(self.slots[self.slot(key)]).filter(|number| *number != FREE)
    }

    /// The number of a key. That of the last one is found at once: updates come grouped by key.
    ///
    /// # Panics
    /// If there are 2^32 - 1 others, which would have filled the memory long before.
    pub fn number(&mut self, key: &K) -> u32
    where
        K: Clone,
    {
        if self.all.get(self.last as usize).is_none_or(|last| last != key) {
            self.last = self.find_or_add(key, || ());
        }
        self.last
    }

    /// Appends the [`number`](Self::number) of each of the `keys`. Calls `is_new` with the places among them of those that had
    /// none.
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

    #[expect(clippy::expect_used, reason = "they would have filled the memory long before")]
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

    fn place(&self, key: &K) -> usize {
        self.state.hash_one(key) as usize & (self.slots.len() - 1)
    }

    /// Where the number of `key` is, or is to be.
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
    /// Interner distinct keys in their order.
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
        /// The first that is seen is 0, the next that is another is 1, and so on, whether one or many are asked for.
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
