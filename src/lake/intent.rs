//! The intent of a commit: every rename that the commit needs and everything that it will write
//! into the log, durable before the first rename. With it, a process that starts later finishes the
//! commit or undoes it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::disk::{self, STAGING};
use super::{Account, NewFile};
use crate::process::failpoint;

/// How long a rename is retried while a vacuum keeps removing its target folder. A vacuum removes
/// each folder at most once.
const RENAME_MAX: Duration = Duration::from_secs(10);

/// One commit to one table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Intent {
    /// The incarnation of the process that wrote the intent.
    pub incarnation: i64,
    /// The epoch of the cut that is committed.
    pub epoch: u64,
    /// The clock that is committed, in µs since 1970; `None` before the first play.
    pub clock_us: Option<i64>,
    /// The files that become part of the table.
    pub files: Vec<NewFile>,
    /// The offsets that the log must have for the commit to be valid.
    pub offsets_before: BTreeMap<i32, i64>,
    /// The offsets that the commit writes.
    pub offsets: BTreeMap<i32, i64>,
    /// What the commit records about partitions besides their offsets. Intents from releases before
    /// accounts existed have none.
    #[serde(default)]
    pub account: Account,
}

/// An intent that can no longer be read. It was renamed into place as a complete file, so the disk
/// must have damaged it.
pub struct DamagedIntent {
    /// Where the intent file is.
    pub path: PathBuf,
    /// The prefix of the names of its files.
    pub files: String,
}

impl Intent {
    fn path(&self, table: &Path) -> PathBuf {
        // The incarnation in the name keeps a process that was overtaken from replacing its
        // successor's intent.
        table.join(STAGING).join(format!("commit-{}-{}.json", self.incarnation, self.epoch))
    }

    /// Makes the intent durable, in the staging folder of `table`.
    pub fn write(&self, table: &Path) -> Result<()> {
        disk::replace(&self.path(table), &disk::sealed(serde_json::to_vec(self)?))
    }

    /// The intents that incarnations before `incarnation` left, oldest epoch first, and those that
    /// are damaged, each with a warning in the log.
    pub fn pending(table: &Path, incarnation: i64) -> Result<(Vec<Self>, Vec<DamagedIntent>)> {
        let (mut intents, mut damaged) = (Vec::new(), Vec::new());
        for name in disk::names(&table.join(STAGING))? {
            if !(is_intent(&name) && is_older(&name, incarnation)) {
                continue;
            }
            let path = table.join(STAGING).join(&name);
            let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            match parse(&text) {
                Ok(intent) => intents.push(intent),
                Err(error) => {
                    tracing::warn!("the intent {} is damaged: {error:#}", path.display());
                    damaged.push(DamagedIntent {
                        path,
                        files: name.replacen("commit-", "part-", 1).replace(".json", "-"),
                    });
                }
            }
        }
        intents.sort_by_key(|intent: &Self| (intent.epoch, intent.incarnation));
        Ok((intents, damaged))
    }

    /// Whether every file exists with its full size, under its staged or its final name.
    pub fn is_whole(&self, table: &Path) -> Result<bool> {
        for file in &self.files {
            // The staged name is checked first, because a process that was overtaken may still be
            // renaming.
            let staged = size_bytes(&table.join(&file.staged))?;
            let size = if staged.is_some() { staged } else { size_bytes(&table.join(&file.path))? };
            if size != Some(file.size_bytes as u64) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Gives every file its final name, durably. Idempotent.
    pub fn publish(&self, table: &Path) -> Result<()> {
        publish(table, &self.files, "renaming")
    }

    /// Deletes every file, staged or renamed. Only for a commit that is not in the log.
    pub fn undo(&self, table: &Path) -> Result<()> {
        undo(table, &self.files)
    }

    /// Deletes the intent itself, after its commit is in the log or is undone.
    pub fn forget(&self, table: &Path) -> Result<()> {
        disk::remove_if_there(&self.path(table))
    }
}

/// The paths, relative to `table`, of the final files of all commits in progress.
///
/// # Errors
/// If an intent cannot be read: it might name any file.
pub fn files_under_way(table: &Path) -> Result<BTreeSet<String>> {
    let folder = table.join(STAGING);
    let mut paths = BTreeSet::new();
    if !folder.is_dir() {
        return Ok(paths);
    }
    for name in disk::names(&folder)?.iter().filter(|name| is_intent(name)) {
        let path = folder.join(name);
        match fs::read(&path) {
            // Settled and deleted since the folder was listed.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            read => {
                let intent = read.map_err(Into::into).and_then(|text| parse(&text));
                let intent = intent.with_context(|| {
                    format!("cannot read the intent {}: the next start of `reprise run` settles it", path.display())
                })?;
                paths.extend(intent.files.into_iter().map(|file| file.path));
            }
        }
    }
    Ok(paths)
}

fn parse(text: &[u8]) -> Result<Intent> {
    Ok(serde_json::from_slice(disk::unsealed(text)?)?)
}

fn is_intent(name: &str) -> bool {
    name.starts_with("commit-") && name.ends_with(".json")
}

/// Gives the staged `files` of `table` their final names, durably. Idempotent. Reaches the
/// failpoint `point` between two files.
pub fn publish(table: &Path, files: &[NewFile], point: &str) -> Result<()> {
    let mut folders = BTreeSet::new();
    for (index, file) in files.iter().enumerate() {
        if index > 0 {
            failpoint::reach(point)?;
        }
        let to = table.join(&file.path);
        rename(&table.join(&file.staged), &to)?;
        // The parent folders are synced even if they existed before: the process that created them
        // may have died before it synced them.
        folders.extend(to.ancestors().skip(1).take_while(|above| above.starts_with(table)).map(Path::to_path_buf));
    }
    disk::sync_folders(&folders)
}

/// Renames `from` to `to`, unless that is done, and creates the parent folder. A vacuum removes
/// empty folders, and this one is empty until the rename, so both steps are repeated until they
/// succeed together.
fn rename(from: &Path, to: &Path) -> Result<()> {
    let attempt = || {
        to.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::rename(from, to)
    };
    let began = Instant::now();
    let mut renamed = attempt();
    while let Err(error) = &renamed
        && matches!(error.kind(), ErrorKind::NotFound | ErrorKind::AlreadyExists)
        && from.exists()
        && began.elapsed() < RENAME_MAX
    {
        std::thread::sleep(Duration::from_millis(1));
        renamed = attempt();
    }
    match renamed {
        Err(error) if error.kind() == ErrorKind::NotFound && to.is_file() => Ok(()),
        renamed => renamed.with_context(|| format!("cannot rename {} to {}", from.display(), to.display())),
    }
}

/// Deletes `files`, staged or final, of a commit that is not in the log.
pub fn undo(table: &Path, files: &[NewFile]) -> Result<()> {
    for file in files {
        disk::remove_if_there(&table.join(&file.staged))?;
        disk::remove_if_there(&table.join(&file.path))?;
    }
    Ok(())
}

/// Deletes the files that older incarnations left in the staging folder. Call it only after their
/// intents are settled.
pub fn clean_staging(table: &Path, incarnation: i64) -> Result<()> {
    let folder = table.join(STAGING);
    for name in disk::names(&folder)? {
        if is_older(&name, incarnation) {
            disk::remove_if_there(&folder.join(name))?;
        }
    }
    Ok(())
}

/// The name of a new file. No two attempts have the same `incarnation`, `epoch`, `worker` and
/// `sequence`, so names never repeat.
pub fn file_name(incarnation: i64, epoch: u64, worker: usize, sequence: u64) -> String {
    format!("part-{incarnation}-{epoch}-{worker}-{sequence}.snappy.parquet")
}

fn is_older(name: &str, incarnation: i64) -> bool {
    let attempt = name.strip_prefix("part-").or_else(|| name.strip_prefix("commit-"));
    let of = attempt.and_then(|attempt| attempt.split('-').next()?.parse::<i64>().ok());
    of.is_some_and(|of| of < incarnation)
}

fn size_bytes(path: &Path) -> Result<Option<u64>> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata.len())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot look at {}", path.display())),
    }
}
