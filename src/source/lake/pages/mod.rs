//! Decodes the columns of a row group from their pages.
//!
//! A replay counts dictionary keys, and reads each text of a dictionary once. Arrow's reader would
//! build arrays of all values, titles that are never requested included. Here Parquet's page reader
//! checks and decompresses the pages, and only the needed values are decoded. Only files in our own
//! layout take this path: the texts of a column are all in one dictionary or all plain.

mod bits;
mod column;
mod delta;
mod hybrid;
mod number;
mod numbers;
mod presence;
mod reader;
mod texts;

use anyhow::Result;
use arrow::datatypes::DataType;
use parquet::basic::{Encoding, LogicalType, TimeUnit, Type};
use parquet::file::metadata::ColumnChunkMetaData;

use bits::Bits;
use numbers::{Numbers, integers, moments};
use reader::Decode;
use texts::{CodedTexts, Keys, PlainTexts};

pub use column::Column;
pub use reader::ColumnReader;

/// The values of a column, and how they are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// Texts that are all in one dictionary.
    Coded,
    /// Texts that are stored one after the other.
    Plain,
    /// Plain booleans, never null.
    Bits,
    /// Timestamps in µs, never null.
    Moments,
    /// Integers of 32 bits.
    Integers,
}

impl Values {
    /// The values of a column that is to have this type; `None` if it is encoded otherwise.
    pub fn of(column: &ColumnChunkMetaData, data_type: &DataType) -> Option<Self> {
        let descriptor = column.column_descr();
        let physical = descriptor.physical_type();
        let is_only = |encoding| column.page_encoding_stats_mask().is_some_and(|mask| mask.is_only(encoding));
        let are_numbers = || {
            let mask = column.page_encoding_stats_mask();
            mask.is_some_and(|mask| mask.encodings().all(|encoding| numbers::ENCODINGS.contains(&encoding)))
        };
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
                (is_required && is_micros && are_numbers()).then_some(Self::Moments)
            }
            (DataType::Int32, Type::INT32) if are_numbers() => Some(Self::Integers),
            _ => None,
        }
    }
}

impl Column {
    /// A reader of the column, whose values are `values`.
    ///
    /// # Errors
    /// If the footer does not describe the column's bytes.
    pub fn reader(&self, values: Values) -> Result<ColumnReader> {
        let decoder: Box<dyn Decode> = match values {
            Values::Coded => Box::<CodedTexts>::default(),
            Values::Plain => Box::<PlainTexts>::default(),
            Values::Bits => Box::<Bits>::default(),
            Values::Moments => Box::new(Numbers::new(moments)),
            Values::Integers => Box::new(Numbers::new(integers)),
        };
        ColumnReader::new(self, decoder)
    }

    /// A reader of the keys of a column of [`Values::Coded`].
    ///
    /// # Errors
    /// If the footer does not describe the column's bytes.
    pub fn keys(&self) -> Result<ColumnReader<Keys>> {
        ColumnReader::new(self, Keys::default())
    }
}

#[cfg(test)]
mod tests;
