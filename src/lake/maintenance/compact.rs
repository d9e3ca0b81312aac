//! Compaction: the small files of a partition become few of a sensible size, in one Delta commit that changes no data.
//!
//! ```text
//! merge, sync, compare digests ─ intent ─ rename ─ sync ─ append (remove + add, no data change) ─ forget the intent
//! next holder of the lock:  intents: in the log → forget, not → delete their files ─ delete staged leftovers
//! ```
//!
//! A merged file goes into the folder `_merged`, where readers that go by name do not find it: for them the small files are
//! still there, until `publish.rs` puts it in their place.
//!
//! **Invariants**, beside those of `fenced.rs`:
//! 1. All of it happens under the lock, so an intent that its holder finds was left by a dead process.
//! 2. A compacted file outside the staging folder is in the log or in an intent.
//! 3. The append removes files that the log has at that version, or it is given up. So rows are never there twice, even
//!    if somebody else compacts or deletes meanwhile.
//! 4. Names are random, and no start of a writer takes them for its own leftovers.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use delta_kernel::committer::FileSystemCommitter;
use delta_kernel::engine::arrow_data::ArrowEngineData;
use delta_kernel::transaction::{CommitResult, UpdateTableOperation};
use serde::{Deserialize, Serialize};

use super::attention::{Attention, open};
use super::plan::{self, Job, Rule};
use super::{Lock, merge};
use crate::lake::disk::{self, STAGING};
use crate::lake::entries::{entries, removals};
use crate::lake::table::{DEAD_LETTERS, PLAYS, Table, TableKind, WRITTEN_BY, random_uuid};
use crate::lake::{NewFile, intent, statistics};
use crate::process::failpoint;

/// Versions that writers may put in our way during one append.
const CONFLICTS_MAX: usize = 100;
const INTENT: &str = "compact-";
const STAGED: &str = "compacted-";

/// What a compaction has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    pub partitions: usize,
    pub files_before: usize,
    pub files_after: usize,
    pub bytes_before: u64,
    pub bytes_after: u64,
    /// Partitions that could not be compacted, each with a warning in the log.
    pub failed: usize,
}

/// What a compaction is about to commit.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct CompactIntent {
    pub files: Vec<NewFile>,
    /// The names in the log of the files that these replace.
    pub removed: Vec<String>,
}

/// Merges the small files of the lake that have been there for `after`, see `plan.rs`. What cannot be read is left out, with
/// a warning.
pub fn compact(lake: &Path, _lock: &Lock, after: Duration, attention: &Attention<'_>) -> Result<Compacted> {
    let rule = Rule::new(after);
    let mut outcome = Compacted::default();
    let mut tables = Vec::new();
    for kind in [&PLAYS, &DEAD_LETTERS] {
        let table = open(lake, kind)?;
        settle(&table)?;
        tables.push((kind, plan::plan(&table, &rule)?, table));
    }
    let total = tables.iter().map(|(_, plan, _)| plan.bytes).sum();
    let mut bytes = 0;
    let mut done = |more| {
        bytes += more;
        (attention.progress)(bytes, total);
    };
    for (kind, plan, table) in &mut tables {
        for folders in &plan.commits {
            if attention.is_over() {
                return Ok(outcome);
            }
            let jobs = plan::jobs(table, folders, &rule)?;
            rewrite(kind, table, jobs, attention, &mut done, &mut outcome)?;
        }
    }
    Ok(outcome)
}

/// Rewrites the partitions of `jobs` in one commit.
fn rewrite(
    kind: &TableKind,
    table: &mut Table,
    jobs: Vec<Job>,
    attention: &Attention<'_>,
    done: &mut dyn FnMut(u64),
    outcome: &mut Compacted,
) -> Result<()> {
    let id = random_uuid();
    let (this, change) = stage(kind, table, &id, jobs, attention, done)?;
    outcome.failed += change.failed;
    if attention.is_over() {
        return intent::undo(&table.root, &this.files);
    }
    if this.removed.is_empty() {
        return Ok(());
    }
    if commit(table, &id, &this)? {
        outcome.partitions += change.partitions;
        outcome.files_before += change.files_before;
        outcome.files_after += change.files_after;
        outcome.bytes_before += change.bytes_before;
        outcome.bytes_after += change.bytes_after;
    } else {
        outcome.failed += change.partitions;
        tracing::warn!("somebody else has changed what was to be compacted in {}", table.root.display());
    }
    Ok(())
}

/// Merges the files of each of `jobs` into staged ones. One whose files cannot be read, or written, is left out.
pub(super) fn stage(
    kind: &TableKind,
    table: &Table,
    id: &str,
    jobs: Vec<Job>,
    attention: &Attention<'_>,
    done: &mut dyn FnMut(u64),
) -> Result<(CompactIntent, Compacted)> {
    let mut this = CompactIntent { files: Vec::new(), removed: Vec::new() };
    let mut change = Compacted::default();
    for job in jobs {
        let merged = merge::inputs(kind, &job).and_then(|inputs| match inputs.len() {
            0 | 1 => Ok((Vec::new(), Vec::new())),
            _ => Ok((merge::merge(kind, &table.root, id, &job, &inputs, attention, done)?, inputs)),
        });
        match merged {
            Ok((_, inputs)) if inputs.is_empty() => {}
            Ok((files, inputs)) => {
                change.partitions += 1;
                change.files_before += inputs.len();
                change.files_after += files.len();
                change.bytes_before += inputs.iter().map(|entry| entry.size_bytes).sum::<u64>();
                change.bytes_after += files.iter().map(|file| file.size_bytes as u64).sum::<u64>();
                this.files.extend(files);
                this.removed.extend(inputs.into_iter().map(|entry| entry.name));
            }
            Err(_) if attention.is_over() => break,
            Err(error) => {
                change.failed += 1;
                tracing::warn!("{:?} of {} is not compacted: {error:#}", job.partition, table.root.display());
            }
        }
    }
    Ok((this, change))
}

/// Makes staged files part of the table in place of those that they replace. Returns false, and has changed nothing, if
/// one of those has gone. After an error the next holder of the lock finds out what has come of it.
pub(super) fn commit(table: &mut Table, id: &str, this: &CompactIntent) -> Result<bool> {
    failpoint::reach("compact-staged")?;
    let path = intent_path(table, id);
    if let Err(error) = declare(table, id, this) {
        // What nothing needs must not fill up a disk that is full.
        intent::undo(&table.root, &this.files)?;
        return Err(error);
    }
    failpoint::reach("compact-intended")?;
    intent::publish(&table.root, &this.files, "compact-renaming")?;
    failpoint::reach("compact-renamed")?;
    let committed = append(table, this)?;
    failpoint::reach("compact-appended")?;
    if !committed {
        intent::undo(&table.root, &this.files)?;
    }
    disk::remove_if_there(&path)?;
    Ok(committed)
}

fn intent_path(table: &Table, id: &str) -> PathBuf {
    table.root.join(STAGING).join(format!("{INTENT}{id}.json"))
}

/// Makes the intent durable.
pub(super) fn declare(table: &Table, id: &str, this: &CompactIntent) -> Result<()> {
    disk::replace(&intent_path(table, id), &disk::sealed(serde_json::to_vec(this)?))
}

pub(super) fn append(table: &mut Table, this: &CompactIntent) -> Result<bool> {
    let context = |table: &Table| format!("cannot commit to the table {}", table.root.display());
    let removed: BTreeSet<&str> = this.removed.iter().map(String::as_str).collect();
    for _ in 0..CONFLICTS_MAX {
        table.refresh()?;
        let Some(removals) = removals(table, &removed)? else { return Ok(false) };
        let mut transaction = table
            .snapshot()
            .clone()
            .update_table(UpdateTableOperation::Optimize, WRITTEN_BY, false)
            .build(table.engine(), Box::new(FileSystemCommitter::new()))
            .with_context(|| context(table))?;
        for removal in removals {
            transaction.remove_files(removal);
        }
        let added = statistics::add_actions(&this.files, table.kind.time_column)?;
        transaction.add_files(Box::new(ArrowEngineData::new(added)));
        match transaction.commit(table.engine()).with_context(|| context(table))? {
            CommitResult::Committed(committed) => return table.adopt(&committed).map(|()| true),
            CommitResult::Conflicted(_) => {}
            CommitResult::Retryable(failed) => return Err(failed.error).with_context(|| context(table)),
        }
    }
    bail!("the table {} changes faster than it can be compacted: let it be quiet for longer", table.root.display())
}

/// Finishes or undoes what a holder of the lock that died has left.
pub(super) fn settle(table: &Table) -> Result<()> {
    let folder = table.root.join(STAGING);
    // A lake that was only read, or copied without them, has no such folder.
    let names = if folder.is_dir() { disk::names(&folder)? } else { Vec::new() };
    let intents: Vec<PathBuf> = names.iter().filter(|name| is_intent(name)).map(|name| folder.join(name)).collect();
    if !intents.is_empty() {
        let named: BTreeSet<PathBuf> = entries(table)?.into_iter().map(|entry| entry.path).collect();
        for path in intents {
            settle_intent(table, &path, &named)?;
        }
    }
    for name in names.iter().filter(|name| name.starts_with(STAGED) || name.starts_with(INTENT)) {
        disk::remove_if_there(&folder.join(name))?;
    }
    Ok(())
}

fn settle_intent(table: &Table, path: &Path, named: &BTreeSet<PathBuf>) -> Result<()> {
    let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let intent = disk::unsealed(&text).and_then(|text| Ok(serde_json::from_slice::<CompactIntent>(text)?));
    match intent {
        // All of them came in one commit, so one tells of all.
        Ok(this) if this.files.iter().any(|file| named.contains(&table.root.join(&file.path))) => {}
        Ok(this) => {
            intent::undo(&table.root, &this.files)?;
            tracing::info!(table = %table.root.display(), "took back an interrupted compaction");
        }
        // It came under its name as a whole, so the disk has damaged it. What it names are copies: those in the log stay,
        // and the others are deleted by `vacuum`, like any file that nothing names.
        Err(error) => tracing::warn!("the intent {} is damaged, and is given up: {error:#}", path.display()),
    }
    disk::remove_if_there(path)
}

fn is_intent(name: &str) -> bool {
    name.starts_with(INTENT) && name.ends_with(".json")
}
