//! Checksums inside a Parquet file, so that damage is an error and never a wrong number.
//!
//! The Parquet format has checksums of pages, but the writer in use does not write them, and
//! compressed data with a flipped bit often decodes to something. So the footer of each file of a
//! lake contains, as text metadata that other readers ignore, a checksum of the bytes of every
//! column chunk in every row group, and one of the footer itself:
//!
//! ```text
//! reprise.seal:<footer, 16 digits>;<row group 0, column 0><row group 0, column 1>…
//! ```
//!
//! The checksum of the footer is computed while its own 16 digits are zeros, and then replaces
//! them. Only columns that are going to be read are checked, at the speed of memory. A file without
//! checksums was written by another tool, and is read unchecked.

use std::hash::Hasher;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::file::metadata::{ColumnChunkMetaData, KeyValue, ParquetMetaData};
use twox_hash::XxHash64;

use super::store::{Draft, Object, ReadAt};

/// The metadata key of the checksums.
const KEY: &str = "reprise.seal";
/// The bytes before the footer's own checksum.
const MARK: &[u8] = b"reprise.seal:";
/// Hexadecimal digits of one checksum.
const DIGITS: usize = 16;
/// Stands for the footer's checksum while that is computed.
const UNSEALED: &str = "0000000000000000";
/// The size of the end of a Parquet file: the length of the footer, and `PAR1`.
const TAIL_BYTES: u64 = 8;
/// Bytes of a column that are read at once for its checksum.
const PIECE_BYTES: usize = 1 << 20;

/// Finishes the file of `writer` with checksums, for which it reads the file back. Does not sync
/// it.
///
/// # Errors
/// If the file cannot be written or read.
pub fn finish<W: Draft>(writer: &mut ArrowWriter<W>) -> Result<ParquetMetaData> {
    writer.flush()?;
    writer.sync()?;
    let mut checksum = format!("{}{UNSEALED};", String::from_utf8_lossy(MARK));
    for column in writer.flushed_row_groups().iter().flat_map(|group| group.columns()) {
        checksum += &format!("{:016x}", hash_of_column(writer.inner(), column)?);
    }
    writer.append_key_value_metadata(KeyValue::new(KEY.to_owned(), checksum));
    let metadata = writer.finish()?;
    let draft = writer.inner_mut();
    let footer = Footer::read(draft)?.context("the file has no footer after it was written")?;
    let place = footer.checksum().context("the footer has no checksum after it was written")?;
    draft.overwrite(format!("{:016x}", hash(&footer.bytes)).as_bytes(), footer.start + place as u64)?;
    Ok(metadata)
}

/// The checksums of a file whose footer is intact; `None` if another tool wrote the file.
pub struct FooterChecksum(Option<Vec<u8>>);

impl FooterChecksum {
    /// Reads the checksums of `file`, and checks that of the footer. Call it before the footer is
    /// parsed.
    ///
    /// # Errors
    /// If the file cannot be read, or its footer is damaged.
    pub fn read(file: &Object) -> Result<Self> {
        let Some(mut footer) = Footer::read(file)? else {
            bail!("it is damaged: it does not end as a Parquet file does")
        };
        let Some(place) = footer.checksum() else { return Ok(Self(None)) };
        let own = footer.bytes[place..place + DIGITS].to_vec();
        footer.bytes[place..place + DIGITS].copy_from_slice(UNSEALED.as_bytes());
        let same = own == format!("{:016x}", hash(&footer.bytes)).as_bytes();
        ensure!(same, "it is damaged: its footer is not as it was written");
        Ok(Self(Some(footer.bytes.split_off(place + DIGITS + 1))))
    }

    /// Whether the file has checksums.
    pub fn is_there(&self) -> bool {
        self.0.is_some()
    }

    /// Checks the columns whose names are `wanted`. A file without checksums passes.
    ///
    /// # Errors
    /// If the file cannot be read, or a column is damaged.
    pub fn check(&self, file: &Object, metadata: &ParquetMetaData, wanted: impl Fn(&str) -> bool) -> Result<()> {
        for (group, columns) in metadata.row_groups().iter().enumerate() {
            for (place, column) in columns.columns().iter().enumerate() {
                let name = column.column_path().string();
                if self.is_there() && wanted(&name) && self.of(metadata, group, place)? != hash_of_column(file, column)?
                {
                    bail!("it is damaged: its column {name} is not as it was written");
                }
            }
        }
        Ok(())
    }

    /// The bytes of the column at index `place` in the row group `group`, checked if the file has
    /// checksums.
    ///
    /// # Errors
    /// If the file cannot be read, or the column is damaged.
    pub fn read_column(&self, file: &Object, metadata: &ParquetMetaData, group: usize, place: usize) -> Result<Bytes> {
        let column = metadata.row_group(group).column(place);
        let (start, length) = place_of_column(file, column)?;
        let mut bytes = vec![0; length as usize];
        file.fill(&mut bytes, start)?;
        if self.is_there() && self.of(metadata, group, place)? != hash(&bytes) {
            bail!("it is damaged: its column {} is not as it was written", column.column_path().string());
        }
        Ok(bytes.into())
    }

    /// The recorded checksum of the column at index `place` in the row group `group`.
    fn of(&self, metadata: &ParquetMetaData, group: usize, place: usize) -> Result<u64> {
        let before: usize = metadata.row_groups()[..group].iter().map(|group| group.columns().len()).sum();
        let digits = self.0.as_deref().and_then(|seals| seals.chunks(DIGITS).nth(before + place));
        let digits = digits.context("it is damaged: it has more columns than checksums")?;
        let number = std::str::from_utf8(digits).ok().and_then(|digits| u64::from_str_radix(digits, 16).ok());
        number.context("it is damaged: a checksum is not a number")
    }
}

struct Footer {
    start: u64,
    bytes: Vec<u8>,
}

impl Footer {
    fn read(content: &impl ReadAt) -> Result<Option<Self>> {
        let size_bytes = content.length()?;
        let Some(end) = size_bytes.checked_sub(TAIL_BYTES) else { return Ok(None) };
        let mut length = [0; 4];
        content.fill(&mut length, end)?;
        let length = u64::from(u32::from_le_bytes(length));
        let Some(start) = end.checked_sub(length) else { return Ok(None) };
        let mut bytes = vec![0; length as usize];
        content.fill(&mut bytes, start)?;
        Ok(Some(Self { start, bytes }))
    }

    /// The index of the first digit of the footer's own checksum; `None` if there is none.
    fn checksum(&self) -> Option<usize> {
        let mark = self.bytes.windows(MARK.len()).position(|window| window == MARK)?;
        let place = mark + MARK.len();
        (place + DIGITS < self.bytes.len()).then_some(place)
    }
}

fn hash_of_column(content: &impl ReadAt, column: &ColumnChunkMetaData) -> Result<u64> {
    let (start, length) = place_of_column(content, column)?;
    let mut hasher = XxHash64::default();
    let mut piece = vec![0; PIECE_BYTES.min(length as usize)];
    let mut read = 0;
    while read < length {
        let bytes = (length - read).min(PIECE_BYTES as u64) as usize;
        content.fill(&mut piece[..bytes], start + read)?;
        hasher.write(&piece[..bytes]);
        read += bytes as u64;
    }
    Ok(hasher.finish())
}

/// The offset and the length of a column chunk.
fn place_of_column(content: &impl ReadAt, column: &ColumnChunkMetaData) -> Result<(u64, u64)> {
    let (start, length) = column.byte_range();
    let end = start.checked_add(length).filter(|end| content.length().is_ok_and(|length| *end <= length));
    ensure!(end.is_some(), "it is damaged: a column lies outside of it");
    Ok((start, length))
}

/// Detects accidental damage only: it does not protect against deliberate changes to the lake.
fn hash(bytes: &[u8]) -> u64 {
    XxHash64::oneshot(0, bytes)
}
