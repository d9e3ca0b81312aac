//! Encodes rows into staged Parquet files, off the dataflow's thread. Each worker has one writer.
//!
//! When its [`NewFile`] is returned, a file is complete and durable, under a name that no Parquet
//! reader looks for. The committer makes it part of the lake, or the next start deletes it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Error, Result, bail};
use arrow::array::RecordBatch;
use parquet::file::metadata::ParquetMetaData;

use super::encoder::{Encoded, Encoder, encode};
use super::intent::file_name;
use super::layout::STAGING;
use super::rows::Cuts;
use super::store::Place;
use super::successor::or_overtaken;
use super::table::{DEAD_LETTERS, PLAYS, Table, TableKind};
use super::{DiskFullRetry, Gathering, NewFile, dead_letters, statistics};
use crate::intake::DeadLetter;
use crate::process::failpoint;

/// How many small files are encoded, written and synced together. Each holds an open file
/// descriptor.
const TOGETHER_MAX: usize = 32;
/// A group of files is written once it has this many bytes.
const TOGETHER_BYTES_MAX: usize = 8 << 20;

/// Writes the files of one worker.
pub struct Writer {
    lake: Place,
    topic: String,
    incarnation: i64,
    worker: usize,
    /// Files written so far; part of the name of the next one.
    sequence: u64,
    encoder: Encoder,
    /// The `cut` of the plays that are added.
    cuts: Cuts,
    /// Where the writers of this process exchange plays at a cut.
    gathering: Arc<Gathering>,
    /// Dead letters below these offsets are already in their table.
    dead_letter_offsets: BTreeMap<i32, i64>,
    retry: DiskFullRetry,
}

/// A file to be written: the values of its partition columns, and its content.
type Unwritten = (Vec<(String, String)>, Encoded);

impl Writer {
    /// Opens a writer for `worker`, a number that is unique in the cluster, with the committer's
    /// `incarnation`. The committer must have opened the lake.
    ///
    /// # Errors
    /// If the lake has another incarnation, or cannot be read.
    pub fn new(lake: &Place, incarnation: i64, worker: usize) -> Result<Self> {
        let engine = lake.engine()?;
        let table = Table::open(lake, &DEAD_LETTERS, engine.clone(), None)?;
        let progress = table.progress()?;
        // No cut can be committed before all writers have staged their files for it.
        let last_cut = Table::open(lake, &PLAYS, engine, None)?.progress()?.epoch.max(progress.epoch);
        if progress.incarnation != incarnation {
            bail!(
                "the lake {lake} is at incarnation {}, not {incarnation}: another instance has taken over this lake, or \
                 this process sees another folder than process 0 does",
                progress.incarnation
            );
        }
        Ok(Self {
            lake: lake.clone(),
            topic: table.topic().unwrap_or_default().to_string(),
            incarnation,
            worker,
            sequence: 0,
            encoder: Encoder::default(),
            cuts: Cuts::after(last_cut),
            gathering: Arc::new(Gathering::new(1)),
            dead_letter_offsets: progress.offsets,
            retry: DiskFullRetry::default(),
        })
    }

    /// The reason why this writer failed with `error`: see [`or_overtaken`].
    pub fn explain(&self, error: Error) -> Error {
        or_overtaken(&self.lake, self.incarnation, error)
    }

    /// Makes this writer wait in `retry` while the disk is full, instead of failing.
    pub fn retry_with(&mut self, retry: DiskFullRetry) {
        self.retry = retry;
    }

    /// Makes this writer exchange plays with the other writers of its process in `gathering`, which
    /// must have been made for all of them.
    pub fn gather_in(&mut self, gathering: Arc<Gathering>) {
        self.gathering = gathering;
    }

    /// Adds `plays`, whose columns are those of [`crate::intake::schema`], to the next files.
    pub fn encode(&mut self, plays: &RecordBatch) -> Result<()> {
        self.encoder.add(self.cuts.add(plays)?)
    }

    /// Stages the plays added since the last call, as one file per UTC hour. `epoch` becomes part
    /// of the file names.
    ///
    /// # Errors
    /// If plays cannot be encoded or files cannot be written. No file is left behind.
    pub fn stage_plays(&mut self, epoch: u64) -> Result<Vec<NewFile>> {
        self.cuts = Cuts::after(Some(epoch));
        self.encoder.gather(&self.gathering, self.worker)?;
        self.stage_each(&PLAYS, epoch, |this| {
            let Some((hour, encoded)) = this.encoder.next_file()? else { return Ok(None) };
            let date = ("date".to_string(), date(hour.div_euclid(24))?);
            Ok(Some((vec![date, ("hour".to_string(), hour.rem_euclid(24).to_string())], encoded)))
        })
    }

    /// Adds plays and stages them.
    #[cfg(test)]
    pub fn write_plays(&mut self, epoch: u64, plays: Vec<RecordBatch>) -> Result<Vec<NewFile>> {
        plays.iter().try_for_each(|plays| self.encode(plays))?;
        self.stage_plays(epoch)
    }

    /// Stages `letters` as one file per UTC day of their Kafka timestamps. Leaves out those that
    /// are already in the lake, because they were read before a crash and again after it.
    ///
    /// # Errors
    /// As for [`Writer::stage_plays`].
    pub fn write_dead_letters<'a>(
        &mut self,
        epoch: u64,
        letters: impl IntoIterator<Item = &'a DeadLetter>,
    ) -> Result<Vec<NewFile>> {
        let reached = &self.dead_letter_offsets;
        let is_new = |letter: &&DeadLetter| reached.get(&letter.partition).is_none_or(|next| letter.offset >= *next);
        let mut days = dead_letters::by_day(letters.into_iter().filter(is_new));
        self.stage_each(&DEAD_LETTERS, epoch, |this| {
            let Some((day, letters)) = days.pop_first() else { return Ok(None) };
            let encoded = encode(&DEAD_LETTERS, dead_letters::batches(&this.topic, &letters))?;
            Ok(Some((vec![("date".to_string(), date(day.into())?)], encoded)))
        })
    }

    /// Stages the files that `next` returns until it returns `None`, a few at a time, so that only
    /// those are in memory. If it fails it deletes the files that it has staged: after a run was
    /// stopped on a full disk, the next start needs the space.
    fn stage_each(
        &mut self,
        kind: &'static TableKind,
        epoch: u64,
        mut next: impl FnMut(&mut Self) -> Result<Option<Unwritten>>,
    ) -> Result<Vec<NewFile>> {
        let folder = self.lake.join(kind.folder);
        let mut files = Vec::new();
        let mut stage_all = || loop {
            let (mut some, mut bytes) = (Vec::new(), 0);
            while some.len() < TOGETHER_MAX
                && bytes < TOGETHER_BYTES_MAX
                && let Some(unwritten) = next(self)?
            {
                bytes += unwritten.1.bytes.len();
                some.push(unwritten);
            }
            if some.is_empty() {
                return self.finish(kind, &files);
            }
            let retry = self.retry.clone();
            files.append(&mut retry.wait_for(|| self.stage(kind, epoch, &some))?);
        };
        if let Err(error) = stage_all() {
            remove(&folder, &files)?;
            return Err(error);
        }
        Ok(files)
    }

    /// Makes the names of staged files durable.
    fn finish(&self, kind: &TableKind, files: &[NewFile]) -> Result<()> {
        self.retry.wait_for(|| {
            if kind.folder == PLAYS.folder {
                failpoint::reach("staged")?;
            }
            match files.is_empty() {
                true => Ok(()),
                false => self.lake.join(kind.folder).join(STAGING).sync_names(),
            }
        })
    }

    /// Writes and syncs files. Leaves no file behind if that fails.
    fn stage(&mut self, kind: &TableKind, epoch: u64, files: &[Unwritten]) -> Result<Vec<NewFile>> {
        let first = self.sequence;
        self.sequence += files.len() as u64;
        let name = |sequence| file_name(self.incarnation, epoch, self.worker, sequence);
        let contents = (first..).zip(files);
        let contents: Vec<_> =
            contents.map(|(sequence, (_, encoded))| (in_progress(&name(sequence)), &*encoded.bytes)).collect();
        self.lake.join(kind.folder).join(STAGING).put_all(&contents)?;
        let staged = (first..).zip(files).map(|(sequence, (partition_values, encoded))| {
            let size_bytes = encoded.bytes.len() as u64;
            describe(kind, &name(sequence), size_bytes, partition_values.clone(), &encoded.metadata)
        });
        Ok(staged.collect())
    }
}

fn remove(folder: &Place, staged: &[NewFile]) -> Result<()> {
    staged.iter().try_for_each(|file| folder.join(&file.staged).remove())
}

/// Describes the staged file `name` for the log.
pub fn describe(
    kind: &TableKind,
    name: &str,
    size_bytes: u64,
    partition_values: Vec<(String, String)>,
    metadata: &ParquetMetaData,
) -> NewFile {
    let folder: String = partition_values.iter().map(|(column, value)| format!("{column}={value}/")).collect();
    NewFile {
        path: folder + name,
        staged: staged_path(name),
        partition_values,
        size_bytes: size_bytes as i64,
        rows: metadata.file_metadata().num_rows(),
        modified_ms: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64,
        bounds: statistics::all_bounds(metadata, kind),
    }
}

/// The path of a file before it is committed, relative to its table.
pub fn staged_path(name: &str) -> String {
    format!("{STAGING}/{}", in_progress(name))
}

fn in_progress(name: &str) -> String {
    format!("{name}.inprogress")
}

/// The date `YYYY-MM-DD` of a day since 1970.
fn date(day: i64) -> Result<String> {
    let date = jiff::civil::date(1970, 1, 1)
        .checked_add(jiff::Span::new().try_days(day)?)
        .context("a date after the year 9999")?;
    Ok(date.to_string())
}
