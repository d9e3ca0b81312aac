//! Texts numbered in the order in which a worker first sees them, so that counting is an add in an array.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use foldhash::fast::RandomState;

use crate::play::Texts;

/// Text → number, and what belongs to each number.
pub struct Numbering<V> {
    short: HashMap<Short, u32, RandomState>,
    long: HashMap<Box<str>, u32, RandomState>,
    pub values: Vec<V>,
    /// The dictionary that was numbered last: batches of one file share theirs.
    dictionary: Option<(ArrayRef, Vec<u32>)>,
}

impl<V> Numbering<V> {
    pub fn new() -> Self {
        Self { short: HashMap::default(), long: HashMap::default(), values: Vec::new(), dictionary: None }
    }

    /// Writes the number of each row's text to `rows`. `value` makes what belongs to a text that is new.
    pub fn number(&mut self, texts: Texts<'_>, rows: &mut Vec<u32>, mut value: impl FnMut(&str) -> V) {
        rows.clear();
        match texts {
            Texts::Plain(array) => rows.extend((0..array.len()).map(|row| self.get(array.value(row), &mut value))),
            Texts::Dictionary(array, texts) => {
                let known = self.dictionary.take().filter(|(known, _)| Arc::ptr_eq(known, array.values()));
                let (array_ref, numbers) = known.unwrap_or_else(|| {
                    let numbers = (0..texts.len()).map(|index| self.get(texts.value(index), &mut value)).collect();
                    (array.values().clone(), numbers)
                });
                rows.extend(array.keys().values().iter().map(|key| numbers[*key as usize]));
                self.dictionary = Some((array_ref, numbers));
            }
        }
    }

    #[expect(clippy::expect_used, reason = "the texts would have filled the memory long before")]
    #[inline]
    fn get(&mut self, text: &str, value: &mut impl FnMut(&str) -> V) -> u32 {
        let short = Short::new(text);
        let known = short.as_ref().map_or_else(|| self.long.get(text), |short| self.short.get(short));
        if let Some(number) = known {
            return *number;
        }
        let number = u32::try_from(self.values.len()).expect("fewer than 2^32 distinct texts on a worker");
        match short {
            Some(short) => self.short.insert(short, number),
            None => self.long.insert(text.into(), number),
        };
        self.values.push(value(text));
        number
    }
}

/// A text that is in the table itself, so that to look it up is one access to memory instead of two. Ids of tracks are
/// seldom longer, and a history has millions of them to look up.
#[derive(PartialEq, Eq)]
struct Short([u64; Self::WORDS]);

impl Short {
    const WORDS: usize = 3;
    /// The last byte is the length.
    const BYTES_MAX: usize = Self::WORDS * 8 - 1;

    #[inline]
    fn new(text: &str) -> Option<Self> {
        let text = text.as_bytes();
        let mut bytes = [[0; 8]; Self::WORDS];
        let flat = bytes.as_flattened_mut();
        flat[Self::BYTES_MAX] = u8::try_from(text.len()).ok()?;
        flat[..Self::BYTES_MAX].get_mut(..text.len())?.copy_from_slice(text);
        Some(Self(bytes.map(u64::from_le_bytes)))
    }
}

impl Hash for Short {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.iter().for_each(|word| state.write_u64(*word));
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::StringArray;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Equal texts have equal numbers, others have others, whatever their length.
        #[test]
        fn numbers_are_as_distinct_as_texts(texts in prop::collection::vec(prop_oneof!["a{20,26}", "[ab\u{0}]{0,3}", "é{10,13}"], 0..100)) {
            let array = StringArray::from(texts.clone());
            let (mut numbering, mut rows) = (Numbering::new(), Vec::new());
            numbering.number(Texts::Plain(&array), &mut rows, str::to_owned);
            let named: Vec<&String> = rows.iter().map(|number| &numbering.values[*number as usize]).collect();
            prop_assert_eq!(named, texts.iter().collect::<Vec<_>>());
            let distinct: std::collections::BTreeSet<_> = texts.iter().collect();
            prop_assert_eq!(distinct.len(), numbering.values.len());
        }
    }
}
