//! Texts numbered in the order in which a worker first sees them, so that counting is an add in an array.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use foldhash::fast::RandomState;

use crate::play::Texts;

/// Text → number, and what belongs to each number.
pub struct Numbering<V> {
    numbers: HashMap<Box<str>, u32, RandomState>,
    pub values: Vec<V>,
    /// The dictionary that was numbered last: batches of one file share theirs.
    dictionary: Option<(ArrayRef, Vec<u32>)>,
}

impl<V> Numbering<V> {
    pub fn new() -> Self {
        Self { numbers: HashMap::default(), values: Vec::new(), dictionary: None }
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
    fn get(&mut self, text: &str, value: &mut impl FnMut(&str) -> V) -> u32 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = u32::try_from(self.values.len()).expect("fewer than 2^32 distinct texts on a worker");
        self.numbers.insert(text.into(), number);
        self.values.push(value(text));
        number
    }
}
