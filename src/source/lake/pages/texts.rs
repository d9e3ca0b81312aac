//! Texts of a column: in a dictionary, or one after the other.

use std::ops::Range;
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::array::{ArrayRef, AsArray, DictionaryArray, Int32Array, StringArray};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::Int32Type;
use bytes::Bytes;
use parquet::basic::Encoding;

use super::hybrid;
use super::numbers::take;
use super::reader::{Decode, PageRows};

/// Decodes the keys of a column of [`Values::Coded`](super::Values::Coded), as integers, and finds
/// the texts of single keys.
#[derive(Default)]
pub struct Keys {
    dictionary: Bytes,
    /// Where each text of the dictionary is.
    texts: Vec<Range<usize>>,
    keys: Vec<i32>,
}

impl Keys {
    /// The text of a key of the dictionary.
    ///
    /// # Errors
    /// If there is no such text, or it is not UTF-8.
    pub fn text(&self, key: usize) -> Result<&str> {
        let range = self.texts.get(key).context("a row has no text")?;
        Ok(std::str::from_utf8(&self.dictionary[range.clone()])?)
    }
}

impl Decode for Keys {
    fn dictionary(&mut self, page: &Bytes, values: usize) -> Option<()> {
        self.dictionary = page.clone();
        self.texts.reserve(values.min(page.len()));
        let mut stored = texts_in(page);
        let mut end = 0;
        for _ in 0..values {
            let start = end + size_of::<u32>();
            end = start + stored.next()?.len();
            self.texts.push(start..end);
        }
        Some(())
    }

    fn add(&mut self, encoding: Encoding, values: &[u8], rows: PageRows<'_>) -> Option<()> {
        let before = self.keys.len();
        self.keys.reserve(rows.count);
        if rows.stored > 0 {
            hybrid::decode_keys(values, rows.stored, &mut self.keys)?;
        }
        rows.spread(&mut self.keys, before);
        (encoding == Encoding::RLE_DICTIONARY).then_some(())
    }

    fn take(&mut self, rows: usize, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        Ok(Arc::new(Int32Array::try_new(take(&mut self.keys, rows).into(), nulls)?))
    }
}

/// Decodes a column of [`Values::Coded`](super::Values::Coded). All arrays share the dictionary.
#[derive(Default)]
pub struct CodedTexts {
    dictionary: Option<ArrayRef>,
    keys: Keys,
}

impl Decode for CodedTexts {
    fn dictionary(&mut self, page: &Bytes, values: usize) -> Option<()> {
        let mut texts = Texts::with_capacity(values, page.len());
        let mut stored = texts_in(page);
        for _ in 0..values {
            texts.push(stored.next()?);
        }
        self.dictionary = Some(Arc::new(texts.finish(None).ok()?));
        Some(())
    }

    fn add(&mut self, encoding: Encoding, values: &[u8], rows: PageRows<'_>) -> Option<()> {
        self.keys.add(encoding, values, rows)
    }

    fn take(&mut self, rows: usize, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        let keys = self.keys.take(rows, nulls)?;
        let dictionary = self.dictionary.clone().context("the dictionary is missing")?;
        Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(keys.as_primitive().clone(), dictionary)?))
    }
}

/// Decodes a column of [`Values::Plain`](super::Values::Plain).
#[derive(Default)]
pub struct PlainTexts(Texts);

impl Decode for PlainTexts {
    fn add(&mut self, encoding: Encoding, values: &[u8], rows: PageRows<'_>) -> Option<()> {
        let mut stored = texts_in(values);
        for is_present in rows.each() {
            self.0.push(if is_present { stored.next()? } else { b"" });
        }
        (encoding == Encoding::PLAIN).then_some(())
    }

    fn take(&mut self, rows: usize, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        Ok(Arc::new(self.0.take(rows).finish(nulls)?))
    }
}

/// The texts in `page`, each of which comes after its length in four bytes.
fn texts_in(page: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = page;
    std::iter::from_fn(move || {
        let (length, texts) = rest.split_first_chunk()?;
        let (text, behind) = texts.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        rest = behind;
        Some(text)
    })
}

/// A builder of an array of texts.
struct Texts {
    /// Where each text ends, after a zero. `i32` is enough, because a column has less than 2 GiB.
    offsets: Vec<i32>,
    bytes: Vec<u8>,
}

impl Default for Texts {
    fn default() -> Self {
        Self::with_capacity(0, 0)
    }
}

impl Texts {
    fn with_capacity(texts: usize, bytes: usize) -> Self {
        // The page may claim more texts than it has bytes; the claim must not decide the
        // allocation.
        let mut offsets = Vec::with_capacity(texts.min(bytes) + 1);
        offsets.push(0);
        Self { offsets, bytes: Vec::with_capacity(bytes) }
    }

    fn push(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
        self.offsets.push(self.bytes.len() as i32);
    }

    /// Removes and returns the first `count` texts.
    fn take(&mut self, count: usize) -> Self {
        let end = self.offsets[count];
        let offsets = self.offsets[count..].iter().map(|offset| offset - end).collect();
        let rest = Self { offsets, bytes: self.bytes.split_off(end as usize) };
        let mut taken = std::mem::replace(self, rest);
        taken.offsets.truncate(count + 1);
        taken
    }

    fn finish(self, nulls: Option<NullBuffer>) -> Result<StringArray> {
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets));
        Ok(StringArray::try_new(offsets, Buffer::from_vec(self.bytes), nulls)?)
    }
}
