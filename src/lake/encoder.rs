//! Encodes plays to Parquet in memory as they arrive. The encoded plays of an hour with many plays
//! take about a fifth of the memory of the batches that were read; only these wait for the commit,
//! and the memory of the batches is reused at once.
//!
//! Only such an hour has a growing file. The plays of other hours wait in their batches, and become
//! files at the cut, one after the other: an imported history may have thousands of hours, and each
//! open file takes 20 KiB or more.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use anyhow::Result;
use arrow::array::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::file::metadata::ParquetMetaData;

use super::footer_checksum as checksum;
use super::gathering::Gathering;
use super::hours::{self, Hours};
use super::properties::properties;
use super::table::{PLAYS, TableKind};

/// How many files grow at the same time: each holds its dictionaries in memory. Live traffic lies
/// in one hour, and in two around the end of an hour.
const OPEN_MAX: usize = 4;

/// The plays since the last cut, encoded or waiting.
#[derive(Default)]
pub struct Encoder {
    /// The growing files, by hour since 1970.
    open: BTreeMap<i64, ArrowWriter<Vec<u8>>>,
    /// The plays of all other hours.
    waiting: Hours,
}

/// A complete Parquet file in memory.
pub struct Encoded {
    /// The content of the file.
    pub bytes: Vec<u8>,
    /// The content of its footer.
    pub metadata: ParquetMetaData,
}

impl Encoder {
    /// Adds a batch, whose columns are those of [`rows::schema`](super::rows::schema).
    ///
    /// # Errors
    /// If plays cannot be encoded.
    pub fn add(&mut self, batch: RecordBatch) -> Result<()> {
        let hours = hours::of(&batch)?;
        let (mut written, mut all) = (Vec::new(), true);
        for hour in &hours {
            let Some(writer) = self.open.get_mut(hour) else {
                all = false;
                continue;
            };
            match hours.len() {
                1 => writer.write(&batch)?,
                _ => writer.write(&hours::only(&batch, *hour)?)?,
            }
            written.push(*hour);
        }
        if !all {
            let rest = if written.is_empty() { batch } else { hours::except(&batch, &written)? };
            self.waiting.insert(rest)?;
            self.open_large()?;
        }
        Ok(())
    }

    /// Begins the files of hours that have become large.
    fn open_large(&mut self) -> Result<()> {
        while self.open.len() < OPEN_MAX
            && let Some(hour) = self.waiting.take_large()
        {
            let writer = writer_of(&mut self.open, hour)?;
            write(writer, self.waiting.take(hour))?;
        }
        Ok(())
    }

    /// Exchanges waiting plays with the other workers of the process, so that each hour ends up in
    /// one file.
    ///
    /// # Errors
    /// If small batches cannot be concatenated.
    pub fn gather(&mut self, gathering: &Gathering, worker: usize) -> Result<()> {
        let waiting = std::mem::take(&mut self.waiting);
        self.waiting = gathering.exchange(worker, waiting, self.open.keys().copied())?;
        Ok(())
    }

    /// Finishes and returns the file of the first hour since 1970 that has plays. The next call
    /// returns the file of the next hour. After the last hour it returns `None`, and the encoder is
    /// empty.
    ///
    /// # Errors
    /// If plays cannot be encoded. The encoder is then unusable.
    pub fn next_file(&mut self) -> Result<Option<(i64, Encoded)>> {
        self.waiting.settle()?;
        let open = self.open.keys().next().copied();
        let Some(hour) = self.waiting.first().into_iter().chain(open).min() else {
            self.waiting = Hours::default();
            return Ok(None);
        };
        let writer = writer_of(&mut self.open, hour)?;
        write(writer, self.waiting.take(hour))?;
        self.open.remove(&hour).map(|writer| Ok((hour, end(writer)?))).transpose()
    }
}

/// Encodes `batches` as one complete file of a table of `kind`.
pub fn encode(kind: &TableKind, batches: impl Iterator<Item = Result<RecordBatch>>) -> Result<Encoded> {
    let mut writer = begin(kind)?;
    write(&mut writer, batches)?;
    end(writer)
}

fn write(writer: &mut ArrowWriter<Vec<u8>>, batches: impl Iterator<Item = Result<RecordBatch>>) -> Result<()> {
    for batch in batches {
        writer.write(&batch?)?;
    }
    Ok(())
}

fn writer_of(open: &mut BTreeMap<i64, ArrowWriter<Vec<u8>>>, hour: i64) -> Result<&mut ArrowWriter<Vec<u8>>> {
    match open.entry(hour) {
        Entry::Occupied(entry) => Ok(entry.into_mut()),
        Entry::Vacant(entry) => Ok(entry.insert(begin(&PLAYS)?)),
    }
}

fn begin(kind: &TableKind) -> Result<ArrowWriter<Vec<u8>>> {
    Ok(ArrowWriter::try_new(Vec::new(), (kind.columns)(), Some(properties(kind)))?)
}

fn end(mut writer: ArrowWriter<Vec<u8>>) -> Result<Encoded> {
    // Reserves the space at once: the row group is copied there column by column, and growing the
    // buffer meanwhile would hold it twice.
    let bytes = writer.in_progress_size();
    writer.inner_mut().reserve(bytes);
    let metadata = checksum::finish(&mut writer)?;
    Ok(Encoded { bytes: std::mem::take(writer.inner_mut()), metadata })
}
