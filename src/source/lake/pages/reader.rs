//! Reads a column in pieces, page by page.
//!
//! A piece of some ten thousand rows stays in the processor's cache from here to the counts, which
//! a whole row group does not.

use anyhow::{Context, Result, bail, ensure};
use arrow::array::ArrayRef;
use arrow::buffer::NullBuffer;
use bytes::Bytes;
use parquet::basic::Encoding;
use parquet::column::page::{Page, PageReader};
use parquet::file::serialized_reader::SerializedPageReader;

use super::column::{Chunk, Column};
use super::presence::Presence;

/// Decodes pages of one kind of values, and keeps them until they are taken.
pub trait Decode: Send {
    /// Takes over the page of the dictionary, which comes first. `None` if it is cut off.
    fn dictionary(&mut self, _page: &Bytes, _values: usize) -> Option<()> {
        None
    }

    /// Decodes the values of a page: `presence` says how they are spread over its rows. `None` if
    /// the page is cut off or has another encoding.
    fn add(&mut self, encoding: Encoding, values: &[u8], rows: PageRows<'_>) -> Option<()>;

    /// Removes the first `rows`, as an array with these `nulls`. There are at least as many.
    ///
    /// # Errors
    /// If the values are damaged.
    fn take(&mut self, rows: usize, nulls: Option<NullBuffer>) -> Result<ArrayRef>;
}

impl Decode for Box<dyn Decode> {
    fn dictionary(&mut self, page: &Bytes, values: usize) -> Option<()> {
        (**self).dictionary(page, values)
    }

    fn add(&mut self, encoding: Encoding, values: &[u8], rows: PageRows<'_>) -> Option<()> {
        (**self).add(encoding, values, rows)
    }

    fn take(&mut self, rows: usize, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        (**self).take(rows, nulls)
    }
}

/// The rows of a page.
#[derive(Clone, Copy)]
pub struct PageRows<'a> {
    /// The number of rows.
    pub count: usize,
    /// The number of rows with a value.
    pub stored: usize,
    presence: &'a Presence,
}

impl PageRows<'_> {
    /// Whether each row has a value.
    pub fn each(self) -> impl Iterator<Item = bool> {
        self.presence.last(self.count)
    }

    /// Moves the values from index `from` on to the rows that have one; the others get the default
    /// value.
    pub fn spread<T: Copy + Default>(self, values: &mut Vec<T>, from: usize) {
        if self.stored < self.count {
            self.presence.spread(values, from, self.count);
        }
    }
}

/// Reads a column of a row group from its first row to its last.
pub struct ColumnReader<D = Box<dyn Decode>> {
    pages: SerializedPageReader<Chunk>,
    is_optional: bool,
    /// The rows that no page was read for.
    left: usize,
    /// The rows that are decoded and not taken.
    decoded: usize,
    presence: Presence,
    /// The decoder of its values.
    pub decoder: D,
}

impl<D: Decode> ColumnReader<D> {
    pub(super) fn new(column: &Column, decoder: D) -> Result<Self> {
        let (pages, is_optional) = (column.pages()?, column.is_optional());
        Ok(Self { pages, is_optional, left: column.rows, decoded: 0, presence: Presence::default(), decoder })
    }

    /// Reads the next `rows`, or what is left if that is less.
    ///
    /// # Errors
    /// If the pages do not hold as many rows as the footer says, or other values.
    pub fn next(&mut self, rows: usize) -> Result<ArrayRef> {
        while self.decoded < rows && self.left > 0 {
            self.read_page()?;
        }
        let rows = rows.min(self.decoded);
        self.decoded -= rows;
        self.decoder.take(rows, self.presence.take(rows))
    }

    fn read_page(&mut self) -> Result<()> {
        let page = self.pages.get_next_page()?.with_context(|| format!("its last {} rows are missing", self.left))?;
        let (encoding, levels, values, count) = match &page {
            Page::DictionaryPage { buf, num_values, .. } => {
                return self.decoder.dictionary(buf, *num_values as usize).context("the dictionary is cut off");
            }
            Page::DataPage { buf, num_values, encoding, .. } if self.is_optional => {
                let (length, rest) = buf.split_first_chunk().context("a page is empty")?;
                let split = rest.split_at_checked(u32::from_le_bytes(*length) as usize);
                let (levels, values) = split.context("a page is shorter than its levels")?;
                (encoding, Some(levels), values, num_values)
            }
            Page::DataPage { buf, num_values, encoding, .. } => (encoding, None, &buf[..], num_values),
            Page::DataPageV2 { buf, num_values, encoding, def_levels_byte_len, rep_levels_byte_len: 0, .. } => {
                let split = buf.split_at_checked(*def_levels_byte_len as usize);
                let (levels, values) = split.context("a page is shorter than its levels")?;
                ensure!(self.is_optional || levels.is_empty(), "a page has levels, and its column is never null");
                (encoding, self.is_optional.then_some(levels), values, num_values)
            }
            Page::DataPageV2 { .. } => bail!("a page holds lists"),
        };
        let count = (*count as usize).min(self.left);
        let stored = self.presence.add(levels, count)?;
        let rows = PageRows { count, stored, presence: &self.presence };
        let decoded = self.decoder.add(*encoding, values, rows);
        decoded.with_context(|| format!("a page of {stored} values in {encoding} is cut off, or holds others"))?;
        self.left -= count;
        self.decoded += count;
        Ok(())
    }
}
