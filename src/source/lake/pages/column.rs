//! The bytes of a column of a row group, and its pages.

use std::io;
use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::serialized_reader::SerializedPageReader;

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

impl Column {
    /// Whether rows may have no value.
    pub fn is_optional(&self) -> bool {
        self.about.column_descr().max_def_level() > 0
    }

    /// A reader of the pages.
    ///
    /// # Errors
    /// If the footer does not describe the column's bytes.
    pub fn pages(&self) -> Result<SerializedPageReader<Chunk>> {
        let chunk = Arc::new(Chunk { start: self.about.byte_range().0, bytes: self.bytes.clone() });
        Ok(SerializedPageReader::new(chunk, &self.about, self.rows, None)?)
    }
}

/// The bytes of a column, addressed by offset in the file.
pub struct Chunk {
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
