//! Keys numbered in the order in which they are first seen, so that what belongs to them is in arrays.

use std::collections::HashMap;
use std::hash::Hash;

use foldhash::fast::RandomState;

/// Key → number. Updates come grouped by key, so the last key is the best guess.
pub struct KeyNumbers<K> {
    numbers: HashMap<K, usize, RandomState>,
    last: Option<(K, usize)>,
}

impl<K: Clone + Eq + Hash> KeyNumbers<K> {
    /// The number of a key, and whether it is new.
    pub fn number(&mut self, key: &K) -> (usize, bool) {
        if let Some((last, number)) = &self.last
            && last == key
        {
            return (*number, false);
        }
        let (number, is_new) = match self.numbers.get(key) {
            Some(number) => (*number, false),
            None => (self.numbers.len(), true),
        };
        if is_new {
            self.numbers.insert(key.clone(), number);
        }
        self.last = Some((key.clone(), number));
        (number, is_new)
    }
}

impl<K> Default for KeyNumbers<K> {
    fn default() -> Self {
        Self { numbers: HashMap::default(), last: None }
    }
}

impl<K: Clone + Eq + Hash> FromIterator<K> for KeyNumbers<K> {
    /// Numbers distinct keys in their order.
    fn from_iter<I: IntoIterator<Item = K>>(keys: I) -> Self {
        Self { numbers: keys.into_iter().zip(0..).collect(), last: None }
    }
}
