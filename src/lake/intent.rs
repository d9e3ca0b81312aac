//! The intent of a commit: every rename that the commit needs and everything that it will write
//! into the log, durable before the first rename. With it, a process that starts later finishes the
//! commit or undoes it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use twox_hash::XxHash64;

use super::layout::STAGING;
use super::store::Place;
use super::{Account, NewFile};
use crate::process::failpoint;

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
    pub place: Place,
    /// The prefix of the names of its files.
    pub files: String,
}

impl Intent {
    fn place(&self, table: &Place) -> Place {
        // The incarnation in the name keeps a process that was overtaken from replacing its
        // successor's intent.
        table.join(STAGING).join(&format!("commit-{}-{}.json", self.incarnation, self.epoch))
    }

    /// Makes the intent durable, in the staging folder of `table`.
    pub fn write(&self, table: &Place) -> Result<()> {
        self.place(table).replace(&sealed(serde_json::to_vec(self)?))
    }

    /// The intents that incarnations before `incarnation` left, oldest epoch first, and those that
    /// are damaged, each with a warning in the log.
    pub fn pending(table: &Place, incarnation: i64) -> Result<(Vec<Self>, Vec<DamagedIntent>)> {
        let (mut intents, mut damaged) = (Vec::new(), Vec::new());
        for name in table.join(STAGING).names()? {
            if !(is_intent(&name) && is_older(&name, incarnation)) {
                continue;
            }
            let place = table.join(STAGING).join(&name);
            match parse(&place.read()?) {
                Ok(intent) => intents.push(intent),
                Err(error) => {
                    tracing::warn!("the intent {place} is damaged: {error:#}");
                    damaged.push(DamagedIntent {
                        place,
                        files: name.replacen("commit-", "part-", 1).replace(".json", "-"),
                    });
                }
            }
        }
        intents.sort_by_key(|intent: &Self| (intent.epoch, intent.incarnation));
        Ok((intents, damaged))
    }

    /// Whether every file exists with its full size, under its staged or its final name.
    pub fn is_whole(&self, table: &Place) -> Result<bool> {
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
    pub fn publish(&self, table: &Place) -> Result<()> {
        publish(table, &self.files, "renaming")
    }

    /// Deletes every file, staged or renamed. Only for a commit that is not in the log.
    pub fn undo(&self, table: &Place) -> Result<()> {
        undo(table, &self.files)
    }

    /// Deletes the intent itself, after its commit is in the log or is undone.
    pub fn forget(&self, table: &Place) -> Result<()> {
        self.place(table).remove()
    }
}

/// The paths, relative to `table`, of the final files of all commits in progress.
///
/// # Errors
/// If an intent cannot be read: it might name any file.
pub fn files_under_way(table: &Place) -> Result<BTreeSet<String>> {
    let folder = table.join(STAGING);
    let mut paths = BTreeSet::new();
    if !folder.is_folder() {
        return Ok(paths);
    }
    for name in folder.names()?.iter().filter(|name| is_intent(name)) {
        let place = folder.join(name);
        // It may be settled and deleted since the folder was listed.
        let intent = place.read_if_there().map_err(Into::into).and_then(|text| text.as_deref().map(parse).transpose());
        let intent = intent
            .with_context(|| format!("cannot read the intent {place}: the next start of `reprise run` settles it"))?;
        paths.extend(intent.into_iter().flat_map(|intent| intent.files).map(|file| file.path));
    }
    Ok(paths)
}

fn parse(text: &[u8]) -> Result<Intent> {
    Ok(serde_json::from_slice(unsealed(text)?)?)
}

fn is_intent(name: &str) -> bool {
    name.starts_with("commit-") && name.ends_with(".json")
}

/// Gives the staged `files` of `table` their final names, durably. Idempotent. Reaches the
/// failpoint `point` between two files.
pub fn publish(table: &Place, files: &[NewFile], point: &str) -> Result<()> {
    let moves: Vec<_> = files.iter().map(|file| (&*file.staged, &*file.path)).collect();
    table.publish(&moves, &mut || failpoint::reach(point))
}

/// Deletes `files`, staged or final, of a commit that is not in the log.
pub fn undo(table: &Place, files: &[NewFile]) -> Result<()> {
    for file in files {
        table.join(&file.staged).remove()?;
        table.join(&file.path).remove()?;
    }
    Ok(())
}

/// Deletes the files that older incarnations left in the staging folder. Call it only after their
/// intents are settled.
pub fn clean_staging(table: &Place, incarnation: i64) -> Result<()> {
    let folder = table.join(STAGING);
    for name in folder.names()? {
        if is_older(&name, incarnation) {
            folder.join(&name).remove()?;
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

fn size_bytes(file: &Place) -> Result<Option<u64>> {
    let about = file.about().with_context(|| format!("cannot look at {file}"))?;
    Ok(about.map(|about| about.size_bytes))
}

/// `content` followed by a line with its checksum, by which damage is detected: an intent with a
/// flipped digit would still parse.
pub fn sealed(mut content: Vec<u8>) -> Vec<u8> {
    let checksum = format!("\n{:016x}\n", XxHash64::oneshot(0, &content));
    content.extend(checksum.into_bytes());
    content
}

/// The content that was given to [`sealed`].
///
/// # Errors
/// If the checksum does not match.
pub fn unsealed(sealed: &[u8]) -> Result<&[u8]> {
    const SEAL_BYTES: usize = 18;
    let (content, found) = sealed.split_at(sealed.len().saturating_sub(SEAL_BYTES));
    if found != format!("\n{:016x}\n", XxHash64::oneshot(0, content)).as_bytes() {
        bail!("its checksum is not that of its content");
    }
    Ok(content)
}
