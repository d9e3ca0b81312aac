//! Cleans up the log. Each version is an entry in one folder, and without cleaning up there would
//! be one more each minute, for ever.
//!
//! An entry is deleted once it is older than a day and a checkpoint that is also older than a day
//! replaces it. So every version that was the newest one at any moment of the last day can be
//! opened, and a process that was suspended for less than a day finds the entries of the writer
//! that overtook it. Entries are deleted oldest first, so a reader that sees an entry sees all
//! later ones.

use std::time::{Duration, SystemTime};

use anyhow::Result;
use parquet::file::metadata::ParquetMetaDataReader;
use serde::Deserialize;

use super::Lock;
use super::attention::{ago, open};
use crate::lake::store::Place;
use crate::lake::table::{DEAD_LETTERS, PLAYS};

/// How long every version can be opened, at least.
const KEEP_MIN: Duration = Duration::from_secs(24 * 3600);
/// How many of the newest versions keep their checksums. A checksum only saves reading entries, so
/// older ones are deleted regardless of their age.
const CHECKSUMS_KEPT: u64 = 300;
/// How many checkpoints are kept, because they are large. Readers look for the newest only; the one
/// before stays for a reader that has just begun to read it.
const CHECKPOINTS_KEPT: usize = 2;

/// The files in the folder of a log.
pub struct Log {
    folder: Place,
    files: Vec<LogFile>,
}

struct LogFile {
    name: String,
    version: u64,
    kind: LogKind,
    modified: SystemTime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LogKind {
    Entry,
    Checksum,
    /// A checkpoint in one file, as reprise writes it.
    Checkpoint,
    /// A checkpoint in several files, or with a random name.
    OtherCheckpoint,
    /// A file that is being written, or was when its process died.
    Temporary,
}

/// Cleans up the logs of both tables, but keeps the files that a version of the last `keep`, or of
/// the last day if that is longer, needs. Returns how many files were deleted.
///
/// # Errors
/// If a log cannot be read, or a file cannot be deleted. The files deleted before stay deleted.
pub fn clean(lake: &Place, _lock: &Lock, keep: Duration) -> Result<usize> {
    let mut deleted = 0;
    for kind in [&PLAYS, &DEAD_LETTERS] {
        let log = Log::read(&open(lake, kind)?.log())?;
        for name in log.needless(ago(keep.max(KEEP_MIN)))? {
            log.folder.join(name).remove()?;
            deleted += 1;
        }
    }
    Ok(deleted)
}

impl Log {
    /// Lists the files in the folder of a log, oldest version first.
    ///
    /// # Errors
    /// If the folder cannot be listed.
    pub fn read(folder: &Place) -> Result<Self> {
        let mut files = Vec::new();
        for name in folder.names()? {
            let Some((version, kind)) = parse(&name) else { continue };
            // The file may be gone by now: another process may clean up, and temporary files are
            // renamed.
            let Ok(Some(about)) = folder.join(&name).about() else { continue };
            files.push(LogFile { name, version, kind, modified: about.modified });
        }
        Ok(Self { folder: folder.clone(), files })
    }

    /// The number of files.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    fn of(&self, kind: LogKind) -> impl DoubleEndedIterator<Item = &LogFile> {
        self.files.iter().filter(move |file| file.kind == kind)
    }

    /// The version that was the newest one at `moment`, or the oldest version that can still be
    /// opened. `None` if the log has no entry.
    pub fn version_at(&self, moment: SystemTime) -> Option<u64> {
        let first = self.of(LogKind::Entry).next()?.version;
        let oldest = if first == 0 { Some(0) } else { self.of(LogKind::Checkpoint).next().map(|file| file.version) };
        let then = self.of(LogKind::Entry).rfind(|file| file.modified <= moment).map(|file| file.version);
        oldest.max(then)
    }

    /// The names of the files that no version needs which was the newest one after `since`, oldest
    /// version first.
    fn needless(&self, since: SystemTime) -> Result<Vec<&str>> {
        let base = self.base(since);
        let kept = self.kept_checkpoints(base)?;
        let newest = self.of(LogKind::Entry).next_back().map_or(0, |file| file.version);
        let below_base = |file: &LogFile| base.is_some_and(|base| file.version < base) && file.modified <= since;
        let is_needless = |file: &&LogFile| match file.kind {
            LogKind::Entry | LogKind::OtherCheckpoint => below_base(file),
            LogKind::Checksum => below_base(file) || file.version + CHECKSUMS_KEPT < newest,
            LogKind::Checkpoint => !kept.contains(&file.version),
            LogKind::Temporary => file.modified <= since,
        };
        Ok(self.files.iter().filter(is_needless).map(|file| file.name.as_str()).collect())
    }

    /// The newest intact checkpoint that already existed at `since`. Everything below it is deleted
    /// in reliance on it.
    fn base(&self, since: SystemTime) -> Option<u64> {
        let is_whole = |file: &&LogFile| {
            let opened = self.folder.join(&file.name).open().ok();
            opened.is_some_and(|opened| ParquetMetaDataReader::new().parse_and_finish(&opened).is_ok())
        };
        self.of(LogKind::Checkpoint).rev().filter(|file| file.modified <= since).find(is_whole).map(|file| file.version)
    }

    fn kept_checkpoints(&self, base: Option<u64>) -> Result<Vec<u64>> {
        let newest = self.of(LogKind::Checkpoint).rev().take(CHECKPOINTS_KEPT).map(|file| file.version);
        // Without a base no entry is deleted, so the oldest checkpoint, which the oldest entries
        // may need, stays as well.
        let lowest = base.or_else(|| self.of(LogKind::Checkpoint).next().map(|file| file.version));
        Ok(newest.chain(lowest).chain(self.last_checkpoint()?).collect())
    }

    /// The checkpoint that the log's hint tells readers to begin with.
    fn last_checkpoint(&self) -> Result<Option<u64>> {
        #[derive(Deserialize)]
        struct Hint {
            version: u64,
        }
        let hint = self.folder.join("_last_checkpoint");
        if !hint.exists() {
            return Ok(None);
        }
        // Readers ignore a hint that they cannot parse, so it protects no checkpoint.
        Ok(serde_json::from_slice::<Hint>(&hint.read()?).ok().map(|hint| hint.version))
    }
}

/// Whether `name` is that of a temporary file: it begins like a file of the log, but its content is
/// not complete yet, or never will be because its process died.
pub fn is_temporary(name: &str) -> bool {
    name.contains('#') || name.ends_with(".tmp")
}

/// The version and the kind of a file of the log; `None` for a file that is never cleaned up.
fn parse(name: &str) -> Option<(u64, LogKind)> {
    const DIGITS: usize = 20;
    let version = name.get(..DIGITS).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    let kind = match name.get(DIGITS..)? {
        ".json" => LogKind::Entry,
        ".crc" => LogKind::Checksum,
        ".checkpoint.parquet" => LogKind::Checkpoint,
        rest if is_temporary(rest) => LogKind::Temporary,
        rest if rest.starts_with(".checkpoint.") && rest.ends_with(".parquet") => LogKind::OtherCheckpoint,
        _ => return None,
    };
    Some((version?.parse().ok()?, kind))
}
