//! Booleans of a column, one bit each.

use std::sync::Arc;

use anyhow::Result;
use arrow::array::{ArrayRef, BooleanArray, BooleanBufferBuilder};
use arrow::buffer::NullBuffer;
use parquet::basic::Encoding;

use super::reader::{Decode, PageRows};

/// Decodes a column of [`Values::Bits`](super::Values::Bits).
pub struct Bits(BooleanBufferBuilder);

impl Default for Bits {
    fn default() -> Self {
        Self(BooleanBufferBuilder::new(0))
    }
}

impl Decode for Bits {
    fn add(&mut self, encoding: Encoding, values: &[u8], rows: PageRows<'_>) -> Option<()> {
        let fits = encoding == Encoding::PLAIN && rows.stored == rows.count && values.len() >= rows.count.div_ceil(8);
        fits.then(|| self.0.append_packed_range(0..rows.count, values))
    }

    fn take(&mut self, rows: usize, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        let all = self.0.finish();
        self.0.append_buffer(&all.slice(rows, all.len() - rows));
        Ok(Arc::new(BooleanArray::new(all.slice(0, rows), nulls)))
    }
}
