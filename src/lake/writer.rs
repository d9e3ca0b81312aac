//! Rows into staged Parquet files, off the dataflow's thread: one writer per worker.
//!
//! A file is whole and durable when its [`NewFile`] is returned, under a name that no reader of Parquet looks for. It
//! becomes part of the lake when the committer says so, or is deleted at the next start.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Error, Result, bail};
use arrow::array::RecordBatch;
use parquet::basic::{Compression, Encoding};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::properties::{EnabledStatistics, WriterProperties};

use super::disk::{self, STAGING};
use super::encoder::{Encoded, Encoder, encode};
use super::intent::file_name;
use super::successor::or_overtaken;
use super::table::{self, DEAD_LETTERS, Kind, PLAYS, Table, WRITTEN_BY};
use super::{DeadLetter, NewFile, dead_letters, statistics};
use crate::failpoint;

/// Rows that readers skip or take as one.
pub const ROW_GROUP_ROWS_MAX: usize = 1 << 20;
/// Large enough for the songs of a whole row group: a column that outgrows its dictionary goes on without one, and
/// replay counts dictionary keys much faster than texts.
const DICTIONARY_BYTES_MAX: usize = 8 << 20;

/// Writes the files of one worker.
pub struct Writer {
    lake: PathBuf,
    topic: String,
    incarnation: i64,
    worker: usize,
    /// Files written so far.
    sequence: u64,
    encoder: Encoder,
    /// Files of plays by hour since 1970, which are not staged yet.
    hours: BTreeMap<i64, Encoded>,
    /// Below these the dead letters of each Kafka partition are in their table already.
    dead_letter_offsets: BTreeMap<i32, i64>,
}

impl Writer {
    /// A writer for `worker`, a number that no other worker of the cluster has, in the `incarnation` that the committer
    /// says. The lake must have been opened by the committer.
    pub fn new(lake: &Path, incarnation: i64, worker: usize) -> Result<Self> {
        let table = Table::open(lake, &DEAD_LETTERS, table::engine()?, None)?;
        let progress = table.progress()?;
        if progress.incarnation != incarnation {
            bail!(
                "the lake {} is at incarnation {}, not {incarnation}: another instance has taken over this lake, or \
                 this process sees another folder than process 0 does",
                lake.display(),
                progress.incarnation
            );
        }
        Ok(Self {
            lake: lake.to_path_buf(),
            topic: table.topic().unwrap_or_default().to_string(),
            incarnation,
            worker,
            sequence: 0,
            encoder: Encoder::default(),
            hours: BTreeMap::new(),
            dead_letter_offsets: progress.offsets,
        })
    }

    /// Why this writer has failed: see [`or_overtaken`].
    pub fn explain(&self, error: Error) -> Error {
        or_overtaken(&self.lake, self.incarnation, error)
    }

    /// Takes `plays`, whose columns are those of [`reprise_dataflows::play::schema`], for the next files.
    pub fn encode(&mut self, plays: RecordBatch) -> Result<()> {
        self.encoder.add(plays)
    }

    /// Stages the plays that were taken since this last succeeded, as one file per UTC hour. If it fails it can be tried again.
    pub fn stage_plays(&mut self, epoch: u64) -> Result<Vec<NewFile>> {
        let hours = self.encoder.finish()?;
        self.hours.extend(hours);
        let mut files = Vec::new();
        let staged = self.stage_hours(epoch, &mut files);
        let files = self.finish(&PLAYS, files, staged)?;
        self.hours.clear();
        Ok(files)
    }

    /// Takes plays and stages them.
    #[cfg(test)]
    pub fn write_plays(&mut self, epoch: u64, plays: Vec<RecordBatch>) -> Result<Vec<NewFile>> {
        plays.into_iter().try_for_each(|plays| self.encode(plays))?;
        self.stage_plays(epoch)
    }

    /// Stages `letters` as one file per UTC day of their Kafka timestamps. Leaves out those that are in the lake already,
    /// because they were read before a crash and again after it.
    pub fn write_dead_letters<'a>(
        &mut self,
        epoch: u64,
        letters: impl IntoIterator<Item = &'a DeadLetter>,
    ) -> Result<Vec<NewFile>> {
        let reached = &self.dead_letter_offsets;
        let is_new = |letter: &&DeadLetter| reached.get(&letter.partition).is_none_or(|next| letter.offset >= *next);
        let days = dead_letters::by_day(letters.into_iter().filter(is_new));
        let mut files = Vec::new();
        let staged = self.stage_dead_letters(epoch, days, &mut files);
        self.finish(&DEAD_LETTERS, files, staged)
    }

    fn stage_hours(&mut self, epoch: u64, files: &mut Vec<NewFile>) -> Result<()> {
        let hours = std::mem::take(&mut self.hours);
        let staged = hours.iter().try_for_each(|(hour, encoded)| {
            let partition = vec![
                ("date".to_string(), date(hour.div_euclid(24))?),
                ("hour".to_string(), hour.rem_euclid(24).to_string()),
            ];
            files.push(self.write(&PLAYS, epoch, partition, encoded)?);
            Ok(())
        });
        self.hours = hours;
        staged.and_then(|()| Ok(failpoint::reach("staged")?))
    }

    fn stage_dead_letters(
        &mut self,
        epoch: u64,
        days: BTreeMap<i32, Vec<&DeadLetter>>,
        files: &mut Vec<NewFile>,
    ) -> Result<()> {
        let topic = self.topic.clone();
        for (day, letters) in days {
            let partition = vec![("date".to_string(), date(day.into())?)];
            let encoded = encode(&DEAD_LETTERS, dead_letters::batches(&topic, &letters))?;
            files.push(self.write(&DEAD_LETTERS, epoch, partition, &encoded)?);
        }
        Ok(())
    }

    /// Makes the names of staged files durable. Or removes the files if not all of them were staged: who tries again
    /// stages new ones, and on a full disk these are in the way.
    fn finish(&self, kind: &Kind, files: Vec<NewFile>, staged: Result<()>) -> Result<Vec<NewFile>> {
        let folder = self.lake.join(kind.folder);
        let staged = staged.and_then(|()| match files.is_empty() {
            true => Ok(()),
            false => disk::sync_folder(&folder.join(STAGING)),
        });
        if let Err(error) = staged {
            files.iter().try_for_each(|file| disk::remove_if_there(&folder.join(&file.staged)))?;
            return Err(error);
        }
        Ok(files)
    }

    fn write(
        &mut self,
        kind: &Kind,
        epoch: u64,
        partition_values: Vec<(String, String)>,
        encoded: &Encoded,
    ) -> Result<NewFile> {
        let name = file_name(self.incarnation, epoch, self.worker, self.sequence);
        self.sequence += 1;
        let path = self.lake.join(kind.folder).join(staged_path(&name));
        write_file(&path, &encoded.bytes).with_context(|| format!("cannot write {}", path.display()))?;
        describe(kind, &self.lake.join(kind.folder), &name, partition_values, &encoded.metadata)
    }
}

/// What the log will say of the file `name`, which is staged in the folder `table`.
pub fn describe(
    kind: &Kind,
    table: &Path,
    name: &str,
    partition_values: Vec<(String, String)>,
    metadata: &ParquetMetaData,
) -> Result<NewFile> {
    let staged = staged_path(name);
    let path = table.join(&staged);
    let size_bytes = fs::metadata(&path).with_context(|| format!("cannot look at {}", path.display()))?.len();
    let folder: String = partition_values.iter().map(|(column, value)| format!("{column}={value}/")).collect();
    Ok(NewFile {
        path: folder + name,
        staged,
        partition_values,
        size_bytes: size_bytes as i64,
        rows: metadata.file_metadata().num_rows(),
        modified_ms: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64,
        time: statistics::bounds(metadata, kind.time_column),
        kafka_partition: statistics::bounds(metadata, "kafka_partition"),
        kafka_offset: statistics::bounds(metadata, "kafka_offset"),
    })
}

/// Where a file is before it is committed, relative to its table.
pub fn staged_path(name: &str) -> String {
    format!("{STAGING}/{name}.inprogress")
}

/// Writes and syncs one file, which must not exist. Leaves none if that fails.
fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if written.is_err() {
        disk::remove_if_there(path)?;
    }
    Ok(written?)
}

/// How each column is written. Statistics cost time for every value, so only the columns that somebody prunes by have
/// them. A dictionary of values that hardly repeat makes a file slower to write (by half, measured) and not much smaller.
pub fn properties(kind: &Kind) -> WriterProperties {
    const TEXTS_THAT_DIFFER: [&str; 5] = ["user_id", "event_id", "detail", "key", "value"];
    const NUMBERS_THAT_DIFFER: [&str; 3] = ["kafka_offset", "duration_ms", "listened_ms"];
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_created_by(WRITTEN_BY.to_string())
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS_MAX))
        .set_dictionary_page_size_limit(DICTIONARY_BYTES_MAX)
        .set_statistics_enabled(EnabledStatistics::None);
    for column in [kind.time_column, "kafka_partition", "kafka_offset"] {
        properties = properties.set_column_statistics_enabled(column.into(), EnabledStatistics::Chunk);
    }
    for column in TEXTS_THAT_DIFFER {
        properties = properties.set_column_dictionary_enabled(column.into(), false);
    }
    for column in NUMBERS_THAT_DIFFER.into_iter().chain([kind.time_column]) {
        properties = properties
            .set_column_dictionary_enabled(column.into(), false)
            .set_column_encoding(column.into(), Encoding::DELTA_BINARY_PACKED);
    }
    properties.build()
}

/// `YYYY-MM-DD` of a day since 1970.
fn date(day: i64) -> Result<String> {
    let date = jiff::civil::date(1970, 1, 1)
        .checked_add(jiff::Span::new().try_days(day)?)
        .context("a date after the year 9999")?;
    Ok(date.to_string())
}
