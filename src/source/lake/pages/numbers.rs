//! Numbers of a column, in the encodings of our writer.

use std::sync::Arc;

use anyhow::Result;
use arrow::array::{ArrayRef, Int32Array, TimestampMicrosecondArray};
use arrow::buffer::NullBuffer;
use bytes::Bytes;
use parquet::basic::Encoding;

use super::number::Number;
use super::reader::{Decode, PageRows};
use super::{delta, hybrid};

/// The encodings that are read here.
pub const ENCODINGS: [Encoding; 3] = [Encoding::PLAIN, Encoding::RLE_DICTIONARY, Encoding::DELTA_BINARY_PACKED];

/// Makes an array of numbers.
type ArrayOf<N> = fn(Vec<N>, Option<NullBuffer>) -> Result<ArrayRef>;

/// The array of a column of [`Values::Moments`](super::Values::Moments).
pub fn moments(moments: Vec<i64>, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
    Ok(Arc::new(TimestampMicrosecondArray::try_new(moments.into(), nulls)?.with_timezone("UTC")))
}

/// The array of a column of [`Values::Integers`](super::Values::Integers).
pub fn integers(integers: Vec<i32>, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
    Ok(Arc::new(Int32Array::try_new(integers.into(), nulls)?))
}

/// Decodes a column of numbers.
pub struct Numbers<N> {
    numbers: Vec<N>,
    dictionary: Vec<N>,
    keys: Vec<i32>,
    array_of: ArrayOf<N>,
}

impl<N> Numbers<N> {
    pub fn new(array_of: ArrayOf<N>) -> Self {
        Self { numbers: Vec::new(), dictionary: Vec::new(), keys: Vec::new(), array_of }
    }
}

impl<N: Number> Decode for Numbers<N> {
    fn dictionary(&mut self, page: &Bytes, values: usize) -> Option<()> {
        plain(page, values, &mut self.dictionary)
    }

    fn add(&mut self, encoding: Encoding, values: &[u8], rows: PageRows<'_>) -> Option<()> {
        let Self { numbers, dictionary, keys, .. } = self;
        let before = numbers.len();
        numbers.reserve(rows.count);
        match encoding {
            _ if rows.stored == 0 => {}
            Encoding::PLAIN => plain(values, rows.stored, numbers)?,
            Encoding::DELTA_BINARY_PACKED => delta::decode(values, rows.stored, numbers)?,
            Encoding::RLE_DICTIONARY => {
                keys.clear();
                hybrid::decode_keys(values, rows.stored, keys)?;
                for key in keys {
                    numbers.push(*dictionary.get(*key as usize)?);
                }
            }
            _ => return None,
        }
        rows.spread(numbers, before);
        Some(())
    }

    fn take(&mut self, rows: usize, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        (self.array_of)(take(&mut self.numbers, rows), nulls)
    }
}

/// Removes and returns the first `count` of `values`.
pub fn take<T>(values: &mut Vec<T>, count: usize) -> Vec<T> {
    let rest = values.split_off(count);
    std::mem::replace(values, rest)
}

/// Appends `count` numbers that are stored one after the other. `None` if there are fewer.
fn plain<N: Number>(mut bytes: &[u8], count: usize, numbers: &mut Vec<N>) -> Option<()> {
    for _ in 0..count {
        let (number, rest) = N::split(bytes)?;
        numbers.push(number);
        bytes = rest;
    }
    Some(())
}
