//! Plays into Parquet in memory, as they come: what waits for its commit is a fifth of what was read, and all memory but that is
//! used again at once.
//!
//! A file is written when it is whole, so an attempt that finds the disk full can be made again.

use std::collections::BTreeMap;

use anyhow::Result;
use arrow::array::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::file::metadata::ParquetMetaData;

use super::hours::{self, Hours};
use super::seal;
use super::table::{Kind, PLAYS};
use super::writer::properties;

/// Files that grow at once: each has its dictionaries. Live traffic is of one hour, and of two when that ends.
const OPEN_MAX: usize = 4;

/// The plays since the last cut.
#[derive(Default)]
pub struct Encoder {
    /// By hour since 1970.
    open: BTreeMap<i64, ArrowWriter<Vec<u8>>>,
    /// What waits for the cut: batches of hours beyond those that can be open.
    waiting: Hours,
}

/// A Parquet file, and what its footer says.
pub struct Encoded {
    pub bytes: Vec<u8>,
    pub metadata: ParquetMetaData,
}

impl Encoder {
    /// Takes a batch, whose columns are those of [`reprise_dataflows::play::schema`].
    pub fn add(&mut self, batch: RecordBatch) -> Result<()> {
        let hours = hours::of(&batch)?;
        let new = hours.iter().filter(|hour| !self.open.contains_key(hour)).count();
        if self.open.len() + new > OPEN_MAX {
            return self.waiting.insert(batch);
        }
        for hour in &hours {
            let writer = writer_of(&mut self.open, *hour)?;
            match hours.len() {
                1 => writer.write(&batch)?,
                _ => writer.write(&hours::only(&batch, *hour)?)?,
            }
        }
        Ok(())
    }

    /// Ends the file of each hour since 1970, and begins anew.
    pub fn finish(&mut self) -> Result<BTreeMap<i64, Encoded>> {
        let (mut open, waiting) = (std::mem::take(&mut self.open), std::mem::take(&mut self.waiting));
        let mut encoded = BTreeMap::new();
        for (hour, batches) in waiting.iter() {
            let writer = writer_of(&mut open, hour)?;
            batches.into_iter().try_for_each(|batch| Ok::<_, anyhow::Error>(writer.write(&batch?)?))?;
            // One hour after the other, so that a month of history is not encoded at once.
            if let Some(writer) = open.remove(&hour) {
                encoded.insert(hour, end(writer)?);
            }
        }
        for (hour, writer) in open {
            encoded.insert(hour, end(writer)?);
        }
        Ok(encoded)
    }
}

/// A whole file of `batches`.
pub fn encode(kind: &Kind, batches: impl Iterator<Item = Result<RecordBatch>>) -> Result<Encoded> {
    let mut writer = begin(kind)?;
    for batch in batches {
        writer.write(&batch?)?;
    }
    end(writer)
}

fn writer_of(open: &mut BTreeMap<i64, ArrowWriter<Vec<u8>>>, hour: i64) -> Result<&mut ArrowWriter<Vec<u8>>> {
    match open.entry(hour) {
        std::collections::btree_map::Entry::Occupied(entry) => Ok(entry.into_mut()),
        std::collections::btree_map::Entry::Vacant(entry) => Ok(entry.insert(begin(&PLAYS)?)),
    }
}

fn begin(kind: &Kind) -> Result<ArrowWriter<Vec<u8>>> {
    Ok(ArrowWriter::try_new(Vec::new(), (kind.columns)(), Some(properties(kind)))?)
}

fn end(mut writer: ArrowWriter<Vec<u8>>) -> Result<Encoded> {
    // The row group is moved there column by column, and would be there twice over while that grows.
    let bytes = writer.in_progress_size();
    writer.inner_mut().reserve(bytes);
    let metadata = seal::finish(&mut writer)?;
    Ok(Encoded { bytes: std::mem::take(writer.inner_mut()), metadata })
}
