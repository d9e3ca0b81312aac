//! Which rows of an optional column have a value.
//!
//! Parquet stores the values of such a column without gaps, and for each row a level of one bit:
//! whether it has a value.

use anyhow::{Context, Result};
use arrow::array::BooleanBufferBuilder;
use arrow::buffer::NullBuffer;
use arrow::util::bit_chunk_iterator::UnalignedBitChunk;
use arrow::util::bit_iterator::BitIndexIterator;

use super::hybrid;

/// The levels of pages whose rows have not been taken. It stays empty for a column without levels,
/// in which each row has a value.
pub struct Presence(BooleanBufferBuilder);

impl Default for Presence {
    fn default() -> Self {
        Self(BooleanBufferBuilder::new(0))
    }
}

impl Presence {
    /// Adds the levels of the `count` rows of a page, and returns how many of them have a value.
    ///
    /// # Errors
    /// If there are fewer levels.
    pub fn add(&mut self, levels: Option<&[u8]>, count: usize) -> Result<usize> {
        let Some(levels) = levels else { return Ok(count) };
        let before = self.0.len();
        hybrid::decode_bits(levels, count, &mut self.0).context("the levels of a page are cut off")?;
        Ok(UnalignedBitChunk::new(self.0.as_slice(), before, count).count_ones())
    }

    /// Whether each of the `count` rows that were added last has a value.
    pub fn last(&self, count: usize) -> impl Iterator<Item = bool> {
        let first = self.0.len().checked_sub(count).filter(|_| !self.0.is_empty());
        (0..count).map(move |row| first.is_none_or(|first| self.0.get_bit(first + row)))
    }

    /// Moves the values from index `from` on to the rows that have one, of the `count` rows that
    /// were added last. The other rows get the default value.
    pub fn spread<T: Copy + Default>(&self, values: &mut Vec<T>, from: usize, count: usize) {
        let stored = values.split_off(from);
        values.resize(from + count, T::default());
        let rows = BitIndexIterator::new(self.0.as_slice(), self.0.len() - count, count);
        for (row, value) in rows.zip(stored) {
            values[from + row] = value;
        }
    }

    /// Removes the first `rows`, and returns those without a value; `None` if there are none.
    pub fn take(&mut self, rows: usize) -> Option<NullBuffer> {
        if self.0.is_empty() {
            return None;
        }
        let all = self.0.finish();
        self.0.append_buffer(&all.slice(rows, all.len() - rows));
        let nulls = NullBuffer::new(all.slice(0, rows));
        (nulls.null_count() > 0).then_some(nulls)
    }
}
