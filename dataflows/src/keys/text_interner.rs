//! Numbers for texts, in the order in which a worker first sees them: counting is then an addition
//! in an array.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use foldhash::fast::RandomState;

use super::interner::{Interner, TOGETHER};
use crate::play::Texts;

/// Texts, their numbers, and a value for each number.
pub struct TextInterner<V> {
    numbers: Interner<Short>,
    /// Stand-ins for texts that are too long for a [`Short`].
    long: HashMap<Box<str>, Short, RandomState>,
    /// The values by number.
    pub values: Vec<V>,
    /// The dictionary that was numbered last, with its numbers: batches may share a dictionary.
    dictionary: Option<(ArrayRef, Vec<u32>)>,
}

impl<V> TextInterner<V> {
    /// No texts.
    pub fn new() -> Self {
        Self { numbers: Interner::default(), long: HashMap::default(), values: Vec::new(), dictionary: None }
    }

    /// Writes the number of the text of each row to `rows`; the number of a null row is arbitrary.
    /// `value` makes the value of a new text.
    pub fn number(&mut self, texts: Texts<'_>, rows: &mut Vec<u32>, mut value: impl FnMut(&str) -> V) {
        rows.clear();
        match texts {
            Texts::Plain(array) => {
                self.dictionary = None;
                self.number_all(array, rows, &mut value);
            }
            Texts::Dictionary(array, texts) => {
                let known = self.dictionary.take().filter(|(known, _)| Arc::ptr_eq(known, array.values()));
                let (array_ref, numbers) = known.unwrap_or_else(|| {
                    let mut numbers = Vec::with_capacity(texts.len());
                    self.number_all(texts, &mut numbers, &mut value);
                    (array.values().clone(), numbers)
                });
                match array.null_count() {
                    0 => rows.extend(array.keys().values().iter().map(|key| numbers[*key as usize])),
                    // The key of a null row may be out of range.
                    _ => rows.extend((0..array.len()).map(|row| array.key(row).map_or(0, |key| numbers[key]))),
                }
                self.dictionary = Some((array_ref, numbers));
            }
        }
    }

    /// The number of one text. `value` makes its value if it is new.
    pub fn number_of(&mut self, text: &str, value: impl FnOnce(&str) -> V) -> u32 {
        let short = Short::new(text.as_bytes(), 0..text.len()).unwrap_or_else(|| self.stand_in(text));
        let number = self.numbers.number(&short);
        if number as usize == self.values.len() {
            self.values.push(value(text));
        }
        number
    }

    /// The texts of the last batch and their numbers, if the batch had a dictionary.
    pub fn last_dictionary(&self) -> impl Iterator<Item = (&str, u32)> {
        let texts = self.dictionary.iter().flat_map(|(texts, numbers)| texts.as_string::<i32>().iter().zip(numbers));
        texts.map(|(text, number)| (text.unwrap_or_default(), *number))
    }

    /// The number of a text, if it has one.
    pub fn find(&self, text: &str) -> Option<u32> {
        let short = Short::new(text.as_bytes(), 0..text.len()).or_else(|| self.long.get(text).copied());
        self.numbers.find(&short?)
    }

    fn number_all(&mut self, texts: &StringArray, numbers: &mut Vec<u32>, value: &mut impl FnMut(&str) -> V) {
        let (offsets, bytes) = (texts.value_offsets(), texts.value_data());
        let mut shorts = [Short::default(); TOGETHER];
        numbers.reserve(texts.len());
        for first in (0..texts.len()).step_by(TOGETHER) {
            let last = texts.len().min(first + TOGETHER);
            for (index, (short, ends)) in (first..last).zip(shorts.iter_mut().zip(offsets[first..=last].windows(2))) {
                *short = Short::new(bytes, ends[0] as usize..ends[1] as usize)
                    .unwrap_or_else(|| self.stand_in(texts.value(index)));
            }
            let shorts = shorts[..last - first].iter();
            self.numbers.number_all(shorts, numbers, |index| self.values.push(value(texts.value(first + index))));
        }
    }

    /// The stand-in of a long text.
    fn stand_in(&mut self, text: &str) -> Short {
        if let Some(short) = self.long.get(text) {
            return *short;
        }
        let short = Short::stand_in(self.long.len() as u64);
        self.long.insert(text.into(), short);
        short
    }
}

/// A text of up to 23 bytes, compared and hashed as three integers. Ids of tracks are seldom
/// longer.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Short([u64; Self::WORDS]);

impl Short {
    const WORDS: usize = 3;
    /// The last byte holds the length.
    const BYTES_MAX: usize = Self::WORDS * 8 - 1;

    /// The text at `place` in `bytes`; `None` if it is too long.
    #[inline]
    fn new(bytes: &[u8], place: Range<usize>) -> Option<Self> {
        let length = place.len();
        if length > Self::BYTES_MAX {
            return None;
        }
        let mut window = [0; Self::WORDS * 8];
        match bytes.get(place.start..).and_then(<[u8]>::first_chunk) {
            Some(whole) => window = *whole,
            None => window[..length].copy_from_slice(&bytes[place]),
        }
        let mut words = [0; Self::WORDS];
        for (index, (word, bytes)) in words.iter_mut().zip(window.as_chunks().0).enumerate() {
            *word = u64::from_le_bytes(*bytes) & first_bytes(length.saturating_sub(8 * index));
        }
        words[Self::WORDS - 1] |= (length as u64) << 56;
        Some(Self(words))
    }

    /// A value that no text has, a different one for each `index`.
    fn stand_in(index: u64) -> Self {
        Self([index, 0, u64::MAX])
    }
}

/// A mask of the first `count` bytes, or of all eight.
#[inline]
fn first_bytes(count: usize) -> u64 {
    if count >= 8 { u64::MAX } else { (1 << (8 * count)) - 1 }
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
        /// Equal texts have equal numbers and different texts different numbers, whatever their
        /// length.
        #[test]
        fn numbers_are_as_distinct_as_texts(texts in prop::collection::vec(prop_oneof!["a{20,26}", "[ab\u{0}]{0,3}", "é{10,13}", "[0-9]{2}"], 0..300)) {
            let array = StringArray::from(texts.clone());
            let (mut numbering, mut rows) = (TextInterner::new(), Vec::new());
            numbering.number(Texts::Plain(&array), &mut rows, str::to_owned);
            let named: Vec<&String> = rows.iter().map(|number| &numbering.values[*number as usize]).collect();
            prop_assert_eq!(named, texts.iter().collect::<Vec<_>>());
            let distinct: std::collections::BTreeSet<_> = texts.iter().collect();
            prop_assert_eq!(distinct.len(), numbering.values.len());
            for (text, number) in texts.iter().zip(&rows) {
                prop_assert_eq!(numbering.find(text), Some(*number));
            }
            prop_assert_eq!(numbering.find("another"), None);
        }
    }
}
