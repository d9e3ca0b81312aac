//! Merges several Parquet files into few, copying their rows unchanged, and verifies that no row
//! was lost.
//!
//! Memory is bounded by one row group, whatever the size of the files. The files that were written
//! are read back: a digest of the Kafka coordinates of their rows, independent of the order, must
//! equal the digest of the input files.

use anyhow::{Context, Result, bail, ensure};
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type, SchemaRef};
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::arrow::{ArrowWriter, ProjectionMask};

use super::attention::Attention;
use super::plan::{Job, TARGET_BYTES};
use crate::lake::entries::Entry;
use crate::lake::footer_checksum;
use crate::lake::footer_checksum::FooterChecksum;
use crate::lake::layout::{MERGED, STAGING};
use crate::lake::properties::properties;
use crate::lake::store::{Draft, Place};
use crate::lake::table::{DEAD_LETTERS, TableKind};
use crate::lake::writer::{describe, staged_path};
use crate::lake::{NewFile, origin_hash, rows, statistics};

/// How many plays are copied at once.
const BATCH_ROWS: usize = 16 << 10;
/// How many dead letters are copied at once: each may be as large as a Kafka record.
const BATCH_DEAD_LETTERS: usize = 64;
/// The greatest size of a row group in memory before it is written.
const ROW_GROUP_BYTES_MAX: usize = 96 << 20;

/// A digest of the rows of some files, independent of their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest {
    /// The number of rows.
    pub rows: u64,
    /// The sum of a hash of each row's Kafka partition and offset, which identify the row.
    pub sum: u64,
}

impl Digest {
    fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let column = |name: &str| batch.column_by_name(name).with_context(|| format!("there is no column {name}"));
        let partitions = column("kafka_partition")?.as_primitive_opt::<Int32Type>().context("partitions")?;
        let offsets = column("kafka_offset")?.as_primitive_opt::<Int64Type>().context("offsets")?;
        for (partition, offset) in partitions.values().iter().zip(offsets.values()) {
            self.rows += 1;
            self.sum = self.sum.wrapping_add(origin_hash(*partition, *offset));
        }
        Ok(())
    }

    /// Computes the digest of all rows of `file`.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn of(file: &Place) -> Result<Self> {
        let read = || {
            let builder = ParquetRecordBatchReaderBuilder::try_new(file.open()?)?;
            let mask = ProjectionMask::columns(builder.parquet_schema(), ["kafka_partition", "kafka_offset"]);
            let mut digest = Self::default();
            for batch in builder.with_projection(mask).with_batch_size(BATCH_ROWS).build()? {
                digest.add(&batch?)?;
            }
            anyhow::Ok(digest)
        };
        read().with_context(|| format!("cannot read {file}"))
    }

    fn and(self, other: Self) -> Self {
        Self { rows: self.rows + other.rows, sum: self.sum.wrapping_add(other.sum) }
    }
}

/// The files of `job` whose columns are those of `kind`, ordered by their first offsets. Other
/// files stay unmerged, because their unknown columns would be lost.
///
/// # Errors
/// If a file cannot be read.
pub fn inputs(kind: &TableKind, job: &Job) -> Result<Vec<Entry>> {
    let mut inputs = Vec::new();
    for entry in &job.files {
        let context = || format!("cannot read {}, which the log of the lake names", entry.place);
        let file = entry.place.open().with_context(context)?;
        let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()).with_context(context)?;
        if rows::union(&(kind.columns)(), [&**metadata.schema()].into_iter()).is_some() {
            let first = ["kafka_partition", "kafka_offset"]
                .map(|column| statistics::bounds(metadata.metadata(), column).min.unwrap_or(i64::MIN));
            inputs.push((first, entry.clone()));
        }
    }
    inputs.sort_by_key(|(first, _)| *first);
    Ok(inputs.into_iter().map(|(_, entry)| entry).collect())
}

/// Stages the rows of `inputs` in files of about the target size, whose names contain `id`, and
/// verifies that no row is lost. Calls `done` with the size of each input that has been copied.
///
/// # Errors
/// If a file cannot be read or written, if the rows differ, or if `attention` ends the merge early.
/// No staged file is left behind.
pub fn merge(
    kind: &TableKind,
    table: &Place,
    id: &str,
    job: &Job,
    inputs: &[Entry],
    attention: &Attention<'_>,
    done: &mut dyn FnMut(u64),
) -> Result<Vec<NewFile>> {
    let columns = columns(kind, inputs)?;
    let mut merger = Merger { kind, columns, table, id, job, files: Vec::new(), open: None };
    let merged = merger.copy(inputs, attention, done).and_then(|before| merger.check(before));
    if merged.is_err() {
        let open = merger.open.take().map(|(name, _)| staged_path(&name));
        let staged = merger.files.iter().map(|file| file.staged.clone()).chain(open);
        for staged in staged.collect::<Vec<_>>() {
            table.join(&staged).remove()?;
        }
    }
    merged.map(|()| merger.files)
}

/// The columns of the merged files: a column that some of `inputs` lack is nullable.
fn columns(kind: &TableKind, inputs: &[Entry]) -> Result<SchemaRef> {
    let schema = |entry: &Entry| {
        let metadata = ArrowReaderMetadata::load(&entry.place.open()?, ArrowReaderOptions::new());
        Ok(metadata.with_context(|| format!("cannot read {}", entry.place))?.schema().clone())
    };
    let schemas = inputs.iter().map(schema).collect::<Result<Vec<_>>>()?;
    rows::union(&(kind.columns)(), schemas.iter().map(|schema| &**schema))
        .context("files with other columns cannot be merged")
}

struct Merger<'a> {
    kind: &'a TableKind,
    columns: SchemaRef,
    table: &'a Place,
    id: &'a str,
    job: &'a Job,
    files: Vec<NewFile>,
    open: Option<(String, ArrowWriter<Box<dyn Draft>>)>,
}

/// Opens a file for reading after its checksums have been verified: the merged file gets new
/// checksums and replaces this one, so it must not contain damage.
fn open(file: &Place, rows: usize) -> Result<ParquetRecordBatchReader> {
    let file = file.open()?;
    let checksum = FooterChecksum::read(&file)?;
    let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new())?;
    checksum.check(&file, metadata.metadata(), |_| true)?;
    Ok(ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata).with_batch_size(rows).build()?)
}

impl Merger<'_> {
    fn copy(&mut self, inputs: &[Entry], attention: &Attention<'_>, done: &mut dyn FnMut(u64)) -> Result<Digest> {
        let batch_rows = if self.kind.folder == DEAD_LETTERS.folder { BATCH_DEAD_LETTERS } else { BATCH_ROWS };
        let mut digest = Digest::default();
        for entry in inputs {
            let context = || format!("cannot read {}, which the log of the lake names", entry.place);
            let batches = open(&entry.place, batch_rows).with_context(context)?;
            for batch in batches {
                let batch = batch.with_context(context)?;
                digest.add(&batch).with_context(context)?;
                self.write(&batch).context("cannot write a compacted file")?;
                if attention.is_over() {
                    bail!("stopped while files were merged: nothing has changed");
                }
            }
            done(entry.size_bytes);
        }
        self.close()?;
        self.table.join(STAGING).sync_names()?;
        Ok(digest)
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        if self.open.is_none() {
            let first = &self.job.partition.iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>().join("-");
            let name = format!("compacted-{}-{first}-{}.snappy.parquet", self.id, self.files.len());
            let place = self.table.join(&staged_path(&name));
            let file = place.create().with_context(|| format!("cannot create {place}"))?;
            let writer = ArrowWriter::try_new(file, self.columns.clone(), Some(properties(self.kind)))?;
            self.open = Some((name, writer));
        }
        let Some((_, writer)) = &mut self.open else { return Ok(()) };
        writer.write(&rows::widened(batch, &self.columns)?)?;
        if writer.memory_size() >= ROW_GROUP_BYTES_MAX {
            writer.flush()?;
        }
        if (writer.bytes_written() + writer.in_progress_size()) as u64 >= TARGET_BYTES {
            self.close()?;
        }
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        let Some((name, writer)) = &mut self.open else { return Ok(()) };
        let finished = footer_checksum::finish(writer).and_then(|metadata| {
            writer.inner().sync()?;
            Ok((metadata, writer.inner().length()?))
        });
        let (metadata, size_bytes) = finished.with_context(|| format!("cannot write the compacted file {name}"))?;
        let file = describe(self.kind, name, size_bytes, self.job.partition.clone(), &metadata);
        // In `_merged`, where readers that find files by name do not look: see `publish.rs`.
        self.files.push(NewFile { path: format!("{MERGED}/{}", file.path), ..file });
        self.open = None;
        Ok(())
    }

    fn check(&self, before: Digest) -> Result<()> {
        let mut after = Digest::default();
        for file in &self.files {
            after = after.and(Digest::of(&self.table.join(&file.staged))?);
        }
        let said: i64 = self.files.iter().map(|file| file.rows).sum();
        ensure!(
            after == before && said as u64 == before.rows,
            "the rows of {:?} are not the same after compaction ({before:?} before, {after:?} after): nothing has been \
             changed; this is a fault of reprise, or of the disk",
            self.job.partition
        );
        Ok(())
    }
}
