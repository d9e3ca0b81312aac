//! Vacuum: deletes files that no version needs which somebody may still read: what compaction has replaced, and orphans.
//!
//! Beside a running instance it is safe by the order of looking: first at the folders, then at the intents, then at the log.
//! A file that was there at the first look is in an intent until it is in the log (`fenced.rs`), so one of the two later
//! looks sees it, or its commit has been undone.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use serde::Deserialize;
use url::Url;

use super::entries::entries;
use super::{Attention, Lock, ago, compact, log, open};
use crate::failpoint;
use crate::lake::listing::resolve;
use crate::lake::table::{self, DEAD_LETTERS, Kind, PLAYS, Table, entry_name};
use crate::lake::{disk, intent};

/// What a vacuum has deleted, or would have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vacuumed {
    pub files: usize,
    pub bytes: u64,
}

/// Deletes the files of both tables that no version of the last `retain` has, nor any commit under way, and that are older
/// than that. With `dry_run` it only counts them.
pub fn vacuum(
    lake: &Path,
    _lock: &Lock,
    retain: Duration,
    dry_run: bool,
    attention: &Attention<'_>,
) -> Result<Vacuumed> {
    let mut outcome = Vacuumed::default();
    for kind in [&PLAYS, &DEAD_LETTERS] {
        let table = open(lake, kind)?;
        if !dry_run {
            compact::settle(&table)?;
        }
        let since = ago(retain);
        let garbage = garbage(lake, kind, &table.root, since)?;
        let total = garbage.iter().map(|(_, bytes)| bytes).sum();
        let mut done = 0;
        for (index, (path, bytes)) in garbage.iter().enumerate() {
            if attention.is_over() {
                return Ok(outcome);
            }
            if !dry_run {
                if index > 0 {
                    failpoint::reach("vacuum")?;
                }
                disk::remove_if_there(path)?;
            }
            outcome.files += 1;
            outcome.bytes += bytes;
            done += bytes;
            (attention.progress)(done, total);
        }
        if !dry_run {
            remove_empty_folders(&table.root, &garbage);
        }
    }
    Ok(outcome)
}

/// The files that nothing needs, with their sizes. The order of the three looks is what makes it safe.
fn garbage(lake: &Path, kind: &'static Kind, root: &Path, since: SystemTime) -> Result<Vec<(PathBuf, u64)>> {
    let mut found = Vec::new();
    for path in disk::partitioned_files(root)? {
        let Ok(metadata) = fs::metadata(&path) else { continue };
        let is_old = metadata.modified().is_ok_and(|modified| modified <= since);
        // Others may keep things of their own beside the data, such as checksums.
        if is_old && path.extension().is_some_and(|extension| extension == "parquet") {
            found.push((path, metadata.len()));
        }
    }
    let under_way = intent::files_under_way(root)?;
    let mut needed: BTreeSet<PathBuf> = under_way.iter().map(|path| root.join(path)).collect();
    let table = open(lake, kind)?;
    needed.extend(entries(&table)?.into_iter().map(|entry| entry.path));
    needed.extend(needed_since(lake, kind, &table, since)?);
    found.retain(|(path, _)| !needed.contains(path));
    Ok(found)
}

/// The files of every version that was the newest one at any moment after `since`: those of the first such version, and
/// all that were added later.
fn needed_since(lake: &Path, kind: &'static Kind, table: &Table, since: SystemTime) -> Result<Vec<PathBuf>> {
    let log = log::Log::read(&table.log())?;
    let Some(first) = log.version_at(since) else { return Ok(Vec::new()) };
    let past = Table::open(lake, kind, table::engine()?, Some(first))?;
    let mut paths: Vec<PathBuf> = entries(&past)?.into_iter().map(|entry| entry.path).collect();
    let root = Url::from_directory_path(&table.root).ok().context("the table's path is not absolute")?;
    for version in first + 1..=table.snapshot().version() {
        let path = table.log().join(entry_name(version));
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        for line in text.lines().filter(|line| line.contains("\"add\"")) {
            let action: Action =
                serde_json::from_str(line).with_context(|| format!("{} is damaged", path.display()))?;
            if let Some(add) = action.add {
                paths.push(resolve(&add.path, &root, &table.root)?);
            }
        }
    }
    Ok(paths)
}

/// A line of the log, as far as it is wanted.
#[derive(Deserialize)]
struct Action {
    add: Option<Add>,
}

#[derive(Deserialize)]
struct Add {
    path: String,
}

/// Removes the folders that have become empty, up to the table. One that is not empty stays, and so may any other: it does
/// no harm.
fn remove_empty_folders(root: &Path, removed: &[(PathBuf, u64)]) {
    let folders: BTreeSet<&Path> = removed.iter().filter_map(|(path, _)| path.parent()).collect();
    for folder in folders {
        for above in folder.ancestors().take_while(|above| above.starts_with(root) && *above != root) {
            if fs::remove_dir(above).is_err() {
                break;
            }
        }
    }
}
