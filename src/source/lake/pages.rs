//! Decodes the columns of a row group from their pages.
//!
//! A replay counts dictionary keys, and reads each text of a dictionary once. Arrow's reader would
//! build arrays of all values, titles that are never requested included. Here Parquet's page reader
//! checks and decompresses the pages, and only the needed values are decoded; timestamps use
//! Parquet's decoder. Only files in our own layout take this path: each text column has one
//! dictionary, and no value is null.

use std::io;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use arrow::array::{
    BooleanArray, BooleanBufferBuilder, DictionaryArray, Int32Array, StringArray, TimestampMicrosecondArray,
};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::Int32Type;
use bytes::Bytes;
use parquet::basic::{Encoding, LogicalType, TimeUnit, Type};
use parquet::column::page::{Page, PageReader};
use parquet::column::reader::ColumnReaderImpl;
use parquet::data_type::Int64Type;
use parquet::errors::ParquetError;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::serialized_reader::SerializedPageReader;

use super::hybrid;

/// A column of a row group.
#[derive(Clone, Debug)]
pub struct Column {
    /// The column's bytes in the file.
    pub bytes: Bytes,
    /// The footer's description of the column.
    pub about: ColumnChunkMetaData,
    /// The number of rows by the footer.
    pub rows: usize,
}

/// Whether a column holds texts that are all in one dictionary and never null.
pub fn is_coded(column: &ColumnChunkMetaData) -> bool {
    column.dictionary_page_offset().is_some() && holds_only(column, Type::BYTE_ARRAY, Encoding::RLE_DICTIONARY)
}

/// Whether a column holds plain booleans that are never null.
pub fn is_bits(column: &ColumnChunkMetaData) -> bool {
    holds_only(column, Type::BOOLEAN, Encoding::PLAIN)
}

/// Whether a column holds delta-encoded timestamps in µs that are never null.
pub fn is_moments(column: &ColumnChunkMetaData) -> bool {
    let logical = column.column_descr().logical_type_ref();
    matches!(logical, Some(LogicalType::Timestamp(moment)) if moment.unit == TimeUnit::MICROS)
        && holds_only(column, Type::INT64, Encoding::DELTA_BINARY_PACKED)
}

fn holds_only(column: &ColumnChunkMetaData, of: Type, encoding: Encoding) -> bool {
    column.column_type() == of
        && column.column_descr().max_def_level() == 0
        && column.column_descr().max_rep_level() == 0
        && column.page_encoding_stats_mask().is_some_and(|mask| mask.is_only(encoding))
}

impl Column {
    /// Decodes a column of texts, for which [`is_coded`] holds.
    pub fn texts(&self) -> Result<DictionaryArray<Int32Type>> {
        let Coded { dictionary, keys } = self.coded()?;
        let mut texts = Texts::with_capacity(dictionary.texts, dictionary.page.len());
        dictionary.for_each(|text| texts.push(text))?;
        texts.coded(keys)
    }

    /// Decodes the given rows of a column of texts, with a dictionary of only their texts.
    pub fn texts_of(&self, rows: &[u32]) -> Result<DictionaryArray<Int32Type>> {
        let Coded { dictionary, keys } = self.coded()?;
        let mut old_texts = Vec::with_capacity(dictionary.texts.min(dictionary.page.len()));
        dictionary.for_each(|text| old_texts.push(text))?;
        let mut texts = Texts::with_capacity(0, 0);
        // The keys in the new dictionary, by key in the file.
        let mut known = vec![None; old_texts.len()];
        let mut key_of = |row: &u32| {
            let key = *keys.get(*row as usize)? as usize;
            let text = old_texts.get(key)?;
            Some(*known[key].get_or_insert_with(|| {
                texts.push(text);
                texts.offsets.len() as i32 - 2
            }))
        };
        let keys = rows.iter().map(&mut key_of).collect::<Option<Vec<i32>>>();
        texts.coded(keys.context("a row has no text")?)
    }

    /// Decodes a column of booleans, for which [`is_bits`] holds.
    pub fn bits(&self) -> Result<BooleanArray> {
        let mut bits = BooleanBufferBuilder::new(self.rows);
        let mut pages = self.pages()?;
        while let Some(page) = pages.get_next_page()? {
            let (bytes, count) = data(&page)?;
            let count = count.min(self.rows - bits.len());
            ensure!(bytes.len() >= count.div_ceil(8), "a page of bits is too short");
            bits.append_packed_range(0..count, bytes);
        }
        ensure!(bits.len() == self.rows, "there are {} bits, and the footer says {} rows", bits.len(), self.rows);
        Ok(BooleanArray::new(bits.finish(), None))
    }

    /// Decodes a column of timestamps, for which [`is_moments`] holds.
    pub fn moments(&self) -> Result<TimestampMicrosecondArray> {
        let mut moments = Vec::with_capacity(self.rows);
        let mut reader = ColumnReaderImpl::<Int64Type>::new(self.about.column_descr_ptr(), Box::new(self.pages()?));
        reader.read_records(self.rows, None, None, &mut moments)?;
        ensure!(
            moments.len() == self.rows,
            "there are {} moments, and the footer says {} rows",
            moments.len(),
            self.rows
        );
        Ok(TimestampMicrosecondArray::from(moments).with_timezone("UTC"))
    }

    fn coded(&self) -> Result<Coded> {
        let mut pages = self.pages()?;
        let Some(Page::DictionaryPage { buf, num_values, .. }) = pages.get_next_page()? else {
            bail!("the dictionary is missing");
        };
        let dictionary = Dictionary { page: buf, texts: num_values as usize };
        let mut keys = Vec::with_capacity(self.rows);
        while let Some(page) = pages.get_next_page()? {
            let (bytes, count) = data(&page)?;
            let (width, packed) = bytes.split_first().context("a page is empty")?;
            let count = count.min(self.rows - keys.len());
            hybrid::decode(packed, *width, count, &mut keys).context("a page of keys is cut off")?;
        }
        ensure!(keys.len() == self.rows, "there are {} keys, and the footer says {} rows", keys.len(), self.rows);
        Ok(Coded { dictionary, keys })
    }

    fn pages(&self) -> Result<SerializedPageReader<Chunk>> {
        let chunk = Arc::new(Chunk { start: self.about.byte_range().0, bytes: self.bytes.clone() });
        Ok(SerializedPageReader::new(chunk, &self.about, self.rows, None)?)
    }
}

/// The bytes and the number of values of a data page without levels.
fn data(page: &Page) -> Result<(&[u8], usize)> {
    match page {
        Page::DataPage { buf, num_values, .. }
        | Page::DataPageV2 { buf, num_values, def_levels_byte_len: 0, rep_levels_byte_len: 0, .. } => {
            Ok((buf, *num_values as usize))
        }
        _ => bail!("a page holds something else than values"),
    }
}

/// A dictionary, and the key of each row.
struct Coded {
    dictionary: Dictionary,
    keys: Vec<i32>,
}

/// A page of texts, each after its length in four bytes.
struct Dictionary {
    page: Bytes,
    texts: usize,
}

impl Dictionary {
    fn for_each<'a>(&'a self, mut visit: impl FnMut(&'a [u8])) -> Result<()> {
        let mut rest = &self.page[..];
        let mut next = || {
            let (length, texts) = rest.split_first_chunk()?;
            let (text, behind) = texts.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            rest = behind;
            Some(text)
        };
        for _ in 0..self.texts {
            let Some(text) = next() else { bail!("the dictionary is cut off") };
            visit(text);
        }
        Ok(())
    }
}

/// A builder of an array of texts.
struct Texts {
    /// `i32` is enough, because a page has less than 2 GiB.
    offsets: Vec<i32>,
    bytes: Vec<u8>,
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

    /// An array of these `keys` into the texts.
    fn coded(self, keys: Vec<i32>) -> Result<DictionaryArray<Int32Type>> {
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets));
        let texts = StringArray::try_new(offsets, Buffer::from_vec(self.bytes), None)?;
        Ok(DictionaryArray::try_new(Int32Array::from(keys), Arc::new(texts))?)
    }
}

/// The bytes of a column, addressed by offset in the file.
struct Chunk {
    start: u64,
    bytes: Bytes,
}

impl Length for Chunk {
    fn len(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

impl ChunkReader for Chunk {
    type T = io::Cursor<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(io::Cursor::new(self.slice(start, self.len().saturating_sub(start) as usize)?))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        self.slice(start, length)
    }
}

impl Chunk {
    fn slice(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let start = start.checked_sub(self.start).and_then(|start| usize::try_from(start).ok());
        let range = start.and_then(|start| Some(start..start.checked_add(length)?));
        match range.filter(|range| range.end <= self.bytes.len()) {
            Some(range) => Ok(self.bytes.slice(range)),
            None => Err(ParquetError::EOF("a page lies outside of its column".to_owned())),
        }
    }
}
