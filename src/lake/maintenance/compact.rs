//! Compaction: merges the small files of a partition into few of the target size, in one Delta
//! commit that changes no data.
//!
//! ```text
//! a compaction:             merge, sync, compare digests ─ intent ─ rename ─ sync
//!                           ─ append (remove + add, no data change) ─ delete intent
//! next holder of the lock:  intent in the log: delete it; else: delete its files, then the intent
//!                           ─ delete other staged files
//! ```
//!
//! A merged file goes into the folder `_merged`, which readers that find files by name skip: for
//! them the small files remain in use, until `publish.rs` replaces them.
//!
//! **Invariants**, besides those of `fenced.rs`:
//! 1. All steps happen under the lock, so an intent that the holder finds was left by a dead
//!    process.
//! 2. A compacted file outside the staging folder is named by the log or by an intent.
//! 3. The append removes only files that the log names at that version; otherwise the compaction is
//!    given up. So no row is ever there twice, even if another program compacts or deletes at the
//!    same time.
//! 4. Names are random and have a prefix of their own, so a starting writer never takes them for
//!    its own leftovers.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use delta_kernel::committer::FileSystemCommitter;
use delta_kernel::engine::arrow_data::ArrowEngineData;
use delta_kernel::transaction::{CommitResult, UpdateTableOperation};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::attention::{Attention, open};
use super::plan::{self, Job, Rule};
use super::{Lock, merge};
use crate::lake::entries::{entries, removals};
use crate::lake::layout::STAGING;
use crate::lake::store::Place;
use crate::lake::table::{DEAD_LETTERS, PLAYS, Table, TableKind, WRITTEN_BY};
use crate::lake::{NewFile, intent, statistics};
use crate::process::failpoint;

/// How many versions writers may append during one append before the compaction fails.
const CONFLICTS_MAX: usize = 100;
/// The prefix of the names of intents.
const INTENT: &str = "compact-";
/// The prefix of the names of merged files.
const STAGED: &str = "compacted-";

/// The result of a compaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    /// How many partitions had files merged.
    pub partitions: usize,
    /// How many files were merged.
    pub files_before: usize,
    /// How many files replaced them.
    pub files_after: usize,
    /// The size of the files that were merged.
    pub bytes_before: u64,
    /// The size of the files that replaced them.
    pub bytes_after: u64,
    /// How many partitions could not be compacted, each with a warning in the log.
    pub failed: usize,
}

/// The intent of a compaction: what it is about to commit.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct CompactIntent {
    /// The merged files.
    pub files: Vec<NewFile>,
    /// The names in the log of the files that `files` replace.
    pub removed: Vec<String>,
}

/// Merges the small files of the lake that have existed for `after`: see `plan.rs`. A partition
/// with an unreadable file is left out, with a warning.
///
/// # Errors
/// If there is no lake, or its log cannot be read or written. Commits before the error stay.
pub fn compact(lake: &Place, _lock: &Lock, after: Duration, attention: &Attention<'_>) -> Result<Compacted> {
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
    let id = Uuid::new_v4().to_string();
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
        tracing::warn!("another program has changed files of {} that were to be compacted", table.root);
    }
    Ok(())
}

/// Merges the files of each of `jobs` into staged files, whose names contain `id`. A job whose
/// files cannot be read or written is left out.
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
                tracing::warn!("{:?} of {} is not compacted: {error:#}", job.partition, table.root);
            }
        }
    }
    Ok((this, change))
}

/// Makes staged files part of the table in place of those that they replace. Returns false, and
/// changes nothing, if one of those is no longer in the log. After an error the next holder of the
/// lock finds out whether the commit happened.
pub(super) fn commit(table: &mut Table, id: &str, this: &CompactIntent) -> Result<bool> {
    failpoint::reach("compact-staged")?;
    let intent = intent_place(table, id);
    if let Err(error) = declare(table, id, this) {
        // Files that nothing needs must not occupy a full disk.
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
    intent.remove()?;
    Ok(committed)
}

fn intent_place(table: &Table, id: &str) -> Place {
    table.root.join(STAGING).join(&format!("{INTENT}{id}.json"))
}

/// Makes the intent durable.
pub(super) fn declare(table: &Table, id: &str, this: &CompactIntent) -> Result<()> {
    intent_place(table, id).replace(&intent::sealed(serde_json::to_vec(this)?))
}

/// Appends the commit to the log, on top of the newest version. Returns false if the log no longer
/// names one of the removed files.
pub(super) fn append(table: &mut Table, this: &CompactIntent) -> Result<bool> {
    let context = |table: &Table| format!("cannot commit to the table {}", table.root);
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
        let added = statistics::add_actions(&this.files, table.kind)?;
        transaction.add_files(Box::new(ArrowEngineData::new(added)));
        match transaction.commit(table.engine()).with_context(|| context(table))? {
            CommitResult::Committed(committed) => return table.adopt(&committed).map(|()| true),
            CommitResult::Conflicted(_) => {}
            CommitResult::Retryable(failed) => return Err(failed.error).with_context(|| context(table)),
        }
    }
    bail!("the table {} changes faster than it can be compacted: try again when it is quieter", table.root)
}

/// Settles the intents that a previous holder of the lock left: a commit in the log stands, any
/// other is undone. Deletes all staged leftovers.
pub(super) fn settle(table: &Table) -> Result<()> {
    let folder = table.root.join(STAGING);
    // A lake that was only read, or was copied without empty folders, lacks this folder.
    let names = if folder.is_folder() { folder.names()? } else { Vec::new() };
    let intents: Vec<Place> = names.iter().filter(|name| is_intent(name)).map(|name| folder.join(name)).collect();
    if !intents.is_empty() {
        let named: BTreeSet<Place> = entries(table)?.into_iter().map(|entry| entry.place).collect();
        for intent in intents {
            settle_intent(table, &intent, &named)?;
        }
    }
    for name in names.iter().filter(|name| name.starts_with(STAGED) || name.starts_with(INTENT)) {
        folder.join(name).remove()?;
    }
    Ok(())
}

fn settle_intent(table: &Table, place: &Place, named: &BTreeSet<Place>) -> Result<()> {
    let text = place.read()?;
    let intent = intent::unsealed(&text).and_then(|text| Ok(serde_json::from_slice::<CompactIntent>(text)?));
    match intent {
        // All files are added in one commit, so one that is in the log stands for all.
        Ok(this) if this.files.iter().any(|file| named.contains(&table.root.join(&file.path))) => {}
        Ok(this) => {
            intent::undo(&table.root, &this.files)?;
            tracing::info!(table = %table.root, "undid an interrupted compaction");
        }
        // The intent was renamed into place as a complete file, so the disk must have damaged it.
        // Its files are copies of rows: those that the log names stay, and a vacuum deletes the
        // others, like any file that nothing names.
        Err(error) => tracing::warn!("the intent {place} is damaged, and is given up: {error:#}"),
    }
    place.remove()
}

fn is_intent(name: &str) -> bool {
    name.starts_with(INTENT) && name.ends_with(".json")
}
