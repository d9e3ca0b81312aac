//! The intent of a commit: every rename that it needs and all that it will write into the log, on disk before the first
//! rename. A process that starts later finishes the commit by it, or takes it back.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::disk::{self, STAGING};
use super::{Account, NewFile};
use crate::failpoint;

/// One commit to one table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Intent {
    /// Of the process that wrote it.
    pub incarnation: i64,
    pub epoch: u64,
    pub clock_us: Option<i64>,
    pub files: Vec<NewFile>,
    /// The offsets that the log must have for the commit to be valid.
    pub offsets_before: BTreeMap<i32, i64>,
    /// The offsets that the commit writes.
    pub offsets: BTreeMap<i32, i64>,
    /// What it says of the partitions beside that. Intents that are older than accounts have none.
    #[serde(default)]
    pub account: Account,
}

impl Intent {
    fn path(&self, table: &Path) -> PathBuf {
        // With the incarnation in the name, a process that was overtaken cannot replace its successor's intent.
        table.join(STAGING).join(format!("commit-{}-{}.json", self.incarnation, self.epoch))
    }

    /// Makes the intent durable, and with it the names of the staged files.
    pub fn write(&self, table: &Path) -> Result<()> {
        disk::replace(&self.path(table), &serde_json::to_vec(self)?)
    }

    /// The intents that incarnations before `incarnation` left, oldest epoch first.
    pub fn pending(table: &Path, incarnation: i64) -> Result<Vec<Self>> {
        let mut intents = Vec::new();
        for name in disk::names(&table.join(STAGING))? {
            if !(name.starts_with("commit-") && name.ends_with(".json") && is_older(&name, incarnation)) {
                continue;
            }
            let path = table.join(STAGING).join(name);
            let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let intent: Self = serde_json::from_slice(&text).with_context(|| {
                format!("{} is damaged: look at the files in its folder, then move it away", path.display())
            })?;
            intents.push(intent);
        }
        intents.sort_by_key(|intent| (intent.epoch, intent.incarnation));
        Ok(intents)
    }

    /// Whether every file is there in full, renamed or not.
    pub fn is_whole(&self, table: &Path) -> Result<bool> {
        for file in &self.files {
            // In this order, because a process that was overtaken may be renaming still.
            let staged = size_bytes(&table.join(&file.staged))?;
            let size = if staged.is_some() { staged } else { size_bytes(&table.join(&file.path))? };
            if size != Some(file.size_bytes as u64) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Gives every file its final name, durably. May be repeated.
    pub fn publish(&self, table: &Path) -> Result<()> {
        let mut folders = BTreeSet::new();
        for (index, file) in self.files.iter().enumerate() {
            if index > 0 {
                failpoint::reach("renaming")?;
            }
            let (from, to) = (table.join(&file.staged), table.join(&file.path));
            if let Some(folder) = to.parent()
                && folders.insert(folder.to_path_buf())
            {
                fs::create_dir_all(folder).with_context(|| format!("cannot create the folder {}", folder.display()))?;
                // Those above too, even if they were there: who created them may have died before syncing them.
                folders.extend(
                    folder.ancestors().skip(1).take_while(|above| above.starts_with(table)).map(Path::to_path_buf),
                );
            }
            match fs::rename(&from, &to) {
                Err(error) if error.kind() == ErrorKind::NotFound && to.is_file() => {}
                renamed => renamed.with_context(|| format!("cannot rename {} to {}", from.display(), to.display()))?,
            }
        }
        folders.iter().try_for_each(|folder| disk::sync_folder(folder))
    }

    /// Deletes every file. Only for a commit that is not in the log.
    pub fn undo(&self, table: &Path) -> Result<()> {
        for file in &self.files {
            disk::remove_if_there(&table.join(&file.staged))?;
            disk::remove_if_there(&table.join(&file.path))?;
        }
        Ok(())
    }

    /// Deletes the intent itself: the commit is in the log, or undone.
    pub fn forget(&self, table: &Path) -> Result<()> {
        disk::remove_if_there(&self.path(table))
    }
}

/// Deletes what older incarnations left in the staging folder. Only after their intents have been settled.
pub fn clean_staging(table: &Path, incarnation: i64) -> Result<()> {
    let folder = table.join(STAGING);
    for name in disk::names(&folder)? {
        if is_older(&name, incarnation) {
            disk::remove_if_there(&folder.join(name))?;
        }
    }
    Ok(())
}

/// The name of a new file: no two attempts have the same.
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
