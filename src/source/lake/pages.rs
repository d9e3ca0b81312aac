//! Decodes the columns of a row group from their pages.
//!
//! A replay counts dictionary keys, and reads each text of a dictionary once. Arrow's reader would
//! build arrays of all values, titles that are never requested included. Here Parquet's page reader
//! checks and decompresses the pages, and only the needed values are decoded; numbers use Parquet's
//! decoders. Only files in our own layout take this path: the texts of a column are all in one
//! dictionary or all plain.

use std::io;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use arrow::array::{
    ArrayRef, BooleanArray, BooleanBufferBuilder, DictionaryArray, Int32Array, StringArray, TimestampMicrosecondArray,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Int32Type};
use bytes::Bytes;
use parquet::basic::{Encoding, LogicalType, TimeUnit, Type};
use parquet::column::page::{Page, PageReader};
use parquet::column::reader::ColumnReaderImpl;
use parquet::data_type::{self, Int64Type};
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

/// The values of a column, and how they are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// Texts that are all in one dictionary.
    Coded,
    /// Texts that are stored one after the other.
    Plain,
    /// Plain booleans, never null.
    Bits,
    /// Delta-encoded timestamps in µs, never null.
    Moments,
    /// Integers of 32 bits, in any encoding.
    Integers,
}

impl Values {
    /// The values of a column that is to have this type; `None` if it is encoded otherwise.
    pub fn of(column: &ColumnChunkMetaData, data_type: &DataType) -> Option<Self> {
        let descriptor = column.column_descr();
        let physical = descriptor.physical_type();
        let is_only = |encoding| column.page_encoding_stats_mask().is_some_and(|mask| mask.is_only(encoding));
        let is_required = descriptor.max_def_level() == 0;
        if descriptor.max_rep_level() > 0 || descriptor.max_def_level() > 1 {
            return None;
        }
        match (data_type, physical) {
            (DataType::Utf8, Type::BYTE_ARRAY) if is_only(Encoding::PLAIN) => Some(Self::Plain),
            (DataType::Utf8, Type::BYTE_ARRAY) => {
                (column.dictionary_page_offset().is_some() && is_only(Encoding::RLE_DICTIONARY)).then_some(Self::Coded)
            }
            (DataType::Boolean, Type::BOOLEAN) => (is_required && is_only(Encoding::PLAIN)).then_some(Self::Bits),
            (DataType::Timestamp(..), Type::INT64) => {
                let logical = descriptor.logical_type_ref();
                let is_micros =
                    matches!(logical, Some(LogicalType::Timestamp(moment)) if moment.unit == TimeUnit::MICROS);
                (is_required && is_micros && is_only(Encoding::DELTA_BINARY_PACKED)).then_some(Self::Moments)
            }
            (DataType::Int32, Type::INT32) => Some(Self::Integers),
            _ => None,
        }
    }
}

impl Column {
    /// Decodes the column, whose values are `values`.
    ///
    /// # Errors
    /// If the pages do not hold as many such values as the footer says.
    pub fn decoded(&self, values: Values) -> Result<ArrayRef> {
        Ok(match values {
            Values::Coded => Arc::new(self.coded_texts()?),
            Values::Plain => Arc::new(self.plain_texts()?),
            Values::Bits => Arc::new(self.bits()?),
            Values::Moments => Arc::new(self.moments()?),
            Values::Integers => Arc::new(self.integers()?),
        })
    }

    /// Decodes a column of [`Values::Coded`].
    pub fn coded_texts(&self) -> Result<DictionaryArray<Int32Type>> {
        let Coded { dictionary, keys, nulls } = self.coded()?;
        let mut texts = Texts::with_capacity(dictionary.texts, dictionary.page.len());
        dictionary.for_each(|text| texts.push(text))?;
        texts.coded(keys, nulls)
    }

    /// Decodes the given rows of a column of texts that are in a dictionary and never null, with a
    /// dictionary of only their texts.
    pub fn texts_of(&self, rows: &[u32]) -> Result<DictionaryArray<Int32Type>> {
        let Coded { dictionary, keys, .. } = self.coded()?;
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
        texts.coded(keys.context("a row has no text")?, None)
    }

    /// Decodes a column of [`Values::Plain`].
    fn plain_texts(&self) -> Result<StringArray> {
        let mut texts = Texts::with_capacity(self.rows, self.bytes.len());
        let mut nulls = Nulls::default();
        let mut pages = self.pages()?;
        while let Some(page) = pages.get_next_page()? {
            let Data { levels, values, count } = self.data(&page)?;
            let count = count.min(self.rows - texts.len());
            let present = nulls.add(levels, count)?;
            let mut texts_of_page = Dictionary::texts(values);
            for is_present in present {
                texts.push(if is_present { texts_of_page.next().context("a page of texts is cut off")? } else { b"" });
            }
        }
        ensure!(texts.len() == self.rows, "there are {} texts, and the footer says {} rows", texts.len(), self.rows);
        let offsets = OffsetBuffer::new(ScalarBuffer::from(texts.offsets));
        Ok(StringArray::try_new(offsets, Buffer::from_vec(texts.bytes), nulls.finish())?)
    }

    /// Decodes a column of [`Values::Bits`].
    fn bits(&self) -> Result<BooleanArray> {
        let mut bits = BooleanBufferBuilder::new(self.rows);
        let mut pages = self.pages()?;
        while let Some(page) = pages.get_next_page()? {
            let Data { values: bytes, count, .. } = self.data(&page)?;
            let count = count.min(self.rows - bits.len());
            ensure!(bytes.len() >= count.div_ceil(8), "a page of bits is too short");
            bits.append_packed_range(0..count, bytes);
        }
        ensure!(bits.len() == self.rows, "there are {} bits, and the footer says {} rows", bits.len(), self.rows);
        Ok(BooleanArray::new(bits.finish(), None))
    }

    /// Decodes a column of [`Values::Moments`].
    fn moments(&self) -> Result<TimestampMicrosecondArray> {
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

    /// Decodes a column of [`Values::Integers`].
    fn integers(&self) -> Result<Int32Array> {
        let (mut integers, mut levels) = (Vec::with_capacity(self.rows), Vec::new());
        let mut reader =
            ColumnReaderImpl::<data_type::Int32Type>::new(self.about.column_descr_ptr(), Box::new(self.pages()?));
        let levels_wanted = self.is_optional().then_some(&mut levels);
        let (records, ..) = reader.read_records(self.rows, levels_wanted, None, &mut integers)?;
        ensure!(records == self.rows, "there are {records} integers, and the footer says {} rows", self.rows);
        if !self.is_optional() {
            return Ok(Int32Array::from(integers));
        }
        let mut present = integers.into_iter();
        Ok(levels.into_iter().map(|level| if level == 1 { present.next() } else { None }).collect())
    }

    fn is_optional(&self) -> bool {
        self.about.column_descr().max_def_level() > 0
    }

    fn coded(&self) -> Result<Coded> {
        let mut pages = self.pages()?;
        let Some(Page::DictionaryPage { buf, num_values, .. }) = pages.get_next_page()? else {
            bail!("the dictionary is missing");
        };
        let dictionary = Dictionary { page: buf, texts: num_values as usize };
        let (mut keys, mut nulls) = (Vec::with_capacity(self.rows), Nulls::default());
        while let Some(page) = pages.get_next_page()? {
            let Data { levels, values, count } = self.data(&page)?;
            let (before, count) = (keys.len(), count.min(self.rows - keys.len()));
            let present = levels.map(|levels| nulls.add(Some(levels), count)).transpose()?;
            let stored = present.as_ref().map_or(count, |present| present.iter().filter(|is| **is).count());
            if stored > 0 {
                let (width, packed) = values.split_first().context("a page is empty")?;
                hybrid::decode(packed, *width, stored, &mut keys).context("a page of keys is cut off")?;
            }
            if let Some(present) = present {
                spread(&mut keys, before, &present);
            }
        }
        ensure!(keys.len() == self.rows, "there are {} keys, and the footer says {} rows", keys.len(), self.rows);
        Ok(Coded { dictionary, keys, nulls: nulls.finish() })
    }

    /// The parts of a data page.
    fn data<'a>(&self, page: &'a Page) -> Result<Data<'a>> {
        let (levels, values, count) = match page {
            Page::DataPage { buf, num_values, .. } if self.is_optional() => {
                let (length, rest) = buf.split_first_chunk().context("a page is empty")?;
                let split = rest.split_at_checked(u32::from_le_bytes(*length) as usize);
                let (levels, values) = split.context("a page is shorter than its levels")?;
                (Some(levels), values, num_values)
            }
            Page::DataPage { buf, num_values, .. } => (None, &buf[..], num_values),
            Page::DataPageV2 { buf, num_values, def_levels_byte_len, rep_levels_byte_len: 0, .. } => {
                let split = buf.split_at_checked(*def_levels_byte_len as usize);
                let (levels, values) = split.context("a page is shorter than its levels")?;
                ensure!(self.is_optional() || levels.is_empty(), "a page has levels, and its column is never null");
                (self.is_optional().then_some(levels), values, num_values)
            }
            _ => bail!("a page holds something else than values"),
        };
        Ok(Data { levels, values, count: *count as usize })
    }

    fn pages(&self) -> Result<SerializedPageReader<Chunk>> {
        let chunk = Arc::new(Chunk { start: self.about.byte_range().0, bytes: self.bytes.clone() });
        Ok(SerializedPageReader::new(chunk, &self.about, self.rows, None)?)
    }
}

/// The content of a data page.
struct Data<'a> {
    /// In an optional column, whether each row has a value: a level of one bit each.
    levels: Option<&'a [u8]>,
    /// The values of the rows that have one.
    values: &'a [u8],
    /// The number of rows.
    count: usize,
}

/// Moves the keys from index `from` on to the rows where `present` is true; the others get key 0.
fn spread(keys: &mut Vec<i32>, from: usize, present: &[bool]) {
    let mut next = keys.len();
    keys.resize(from + present.len(), 0);
    for (row, is_present) in present.iter().enumerate().rev() {
        keys[from + row] = if *is_present {
            next -= 1;
            keys[next]
        } else {
            0
        };
    }
}

/// Which rows of an optional column have no value.
#[derive(Default)]
struct Nulls(Vec<bool>);

impl Nulls {
    /// Adds the rows of a page, and returns which of them have a value.
    fn add(&mut self, levels: Option<&[u8]>, count: usize) -> Result<Vec<bool>> {
        let Some(levels) = levels else { return Ok(vec![true; count]) };
        let mut decoded = Vec::with_capacity(count);
        hybrid::decode(levels, 1, count, &mut decoded).context("the levels of a page are cut off")?;
        let present: Vec<bool> = decoded.into_iter().map(|level| level == 1).collect();
        self.0.extend_from_slice(&present);
        Ok(present)
    }

    fn finish(self) -> Option<NullBuffer> {
        (!self.0.is_empty()).then(|| NullBuffer::from(self.0))
    }
}

/// A dictionary, and the key of each row.
struct Coded {
    dictionary: Dictionary,
    keys: Vec<i32>,
    nulls: Option<NullBuffer>,
}

/// A page of texts, each after its length in four bytes.
struct Dictionary {
    page: Bytes,
    texts: usize,
}

impl Dictionary {
    fn for_each<'a>(&'a self, mut visit: impl FnMut(&'a [u8])) -> Result<()> {
        let mut texts = Self::texts(&self.page);
        for _ in 0..self.texts {
            visit(texts.next().context("the dictionary is cut off")?);
        }
        Ok(())
    }

    /// The texts in `page`, each of which comes after its length.
    fn texts(page: &[u8]) -> impl Iterator<Item = &[u8]> {
        let mut rest = page;
        std::iter::from_fn(move || {
            let (length, texts) = rest.split_first_chunk()?;
            let (text, behind) = texts.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            rest = behind;
            Some(text)
        })
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

    fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// An array of these `keys` into the texts.
    fn coded(self, keys: Vec<i32>, nulls: Option<NullBuffer>) -> Result<DictionaryArray<Int32Type>> {
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets));
        let texts = StringArray::try_new(offsets, Buffer::from_vec(self.bytes), None)?;
        Ok(DictionaryArray::try_new(Int32Array::try_new(keys.into(), nulls)?, Arc::new(texts))?)
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
