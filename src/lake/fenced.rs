//! A table that one process writes at a time, and the order of steps that makes every commit happen
//! exactly once or not at all.
//!
//! ```text
//! writer     stage files ─ sync ─┐
//! committer                      └─ intent ─ check ─ rename ─ sync ─ append ─ delete intent
//! successor  append incarnation + 1 ─ finish or undo each older intent ─ delete older staged files
//! ```
//!
//! **Invariants**
//! 1. A process appends its incarnation, one more than the last, before it changes anything that a
//!    commit depends on.
//! 2. The log has each version once, and an append is valid only on top of a version with the
//!    writer's own incarnation and the offsets that it expects. So after (1) no earlier process can
//!    append, however late it resumes.
//! 3. Names of files and intents contain the incarnation, and staged files are always created,
//!    never opened. So no attempt can overwrite a file of another attempt.
//! 4. A file is complete and durable before the intent that names it is.
//! 5. The intent is durable before the incarnation is checked again, and that check comes before
//!    the first rename. So either the check finds the successor, and nothing is renamed, or the
//!    successor comes later and finds the intent.
//! 6. All renames are durable before the append, and the intent is deleted only after the append.
//!    So a file outside the staging folder is named by the log or by an intent.
//! 7. Renaming is idempotent, and a file moves only from its staged name to its final name. So a
//!    successor may finish an intent, or undo it (staged name first), while the process that wrote
//!    the intent is still renaming.
//! 8. Epochs grow with every commit. So nothing remains to be done for an intent whose epoch the
//!    log has reached: its commit is in the log, or its process was stopped by (5) before it
//!    renamed anything.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Error, Result, anyhow, bail};

use super::columns;
use super::entries::entries;
use super::intent::{self, DamagedIntent, Intent};
use super::store::Place;
use super::successor::{or_overtaken, overtaken};
use super::table::{Marks, Table};
use super::{Account, DiskFullRetry, LakeProgress, NewFile};
use crate::process::failpoint;

/// How many versions other processes, such as a compaction, may append during one commit before the
/// commit fails.
const CONFLICTS_MAX: usize = 100;

/// A table whose writer this process has become.
pub struct FencedTable {
    table: Table,
    progress: LakeProgress,
    /// The retry that commits wait in while the disk is full.
    pub(super) retry: DiskFullRetry,
}

impl FencedTable {
    /// Becomes the writer of `table`: fences off every earlier process, then settles the commits
    /// that they left unfinished.
    ///
    /// `choose` maps the incarnation that the log has to the new one.
    ///
    /// # Errors
    /// If the new incarnation is not greater than the one in the log, if the table changes too
    /// fast, or if it cannot be read or written.
    pub fn take_over(mut table: Table, choose: impl Fn(i64) -> i64) -> Result<Self> {
        for _ in 0..CONFLICTS_MAX {
            let found = table.progress()?.incarnation;
            let incarnation = choose(found);
            if incarnation <= found {
                return Err(overtaken(&table.lake, found));
            }
            if table.append(&[], &Marks { incarnation, ..Marks::default() })? {
                let progress = table.progress()?;
                let mut this = Self { table, progress, retry: DiskFullRetry::default() };
                this.settle()?;
                return Ok(this);
            }
            table.refresh()?;
        }
        Err(busy(&table))
    }

    /// Gives the table the columns of this format that it lacks. A process that is killed meanwhile
    /// leaves an unchanged table, or one that has them.
    ///
    /// # Errors
    /// If another process has taken over, or the log cannot be read or written.
    pub fn add_columns(&mut self) -> Result<()> {
        let expected = self.progress.offsets.clone();
        for _ in 0..CONFLICTS_MAX {
            self.require(&expected)?;
            let Some(metadata) = columns::missing(&self.table)? else { return Ok(()) };
            if self.table.append_actions(&[columns::commit_info(), metadata])? {
                self.progress = self.table.progress()?;
                return Ok(());
            }
            self.table.refresh()?;
        }
        Err(busy(&self.table))
    }

    /// How far the table has come by its own log, as of this process's last commit.
    pub fn progress(&self) -> &LakeProgress {
        &self.progress
    }

    /// Commits `offsets` and `account` without any rows: the start offsets of partitions, or
    /// offsets that skip missing records.
    ///
    /// # Errors
    /// If another process has taken over or has changed the offsets, or if the log cannot be
    /// written.
    pub fn record(&mut self, offsets: BTreeMap<i32, i64>, account: Account) -> Result<()> {
        let marks = Marks { incarnation: self.progress.incarnation, offsets, account, ..Marks::default() };
        let expected = self.progress.offsets.clone();
        self.append(&[], &marks, &expected)
    }

    /// Sets the clock to an earlier moment, in µs since 1970, without any rows. The commit records
    /// the clock from before.
    ///
    /// # Errors
    /// As for [`FencedTable::record`].
    pub fn reset_clock(&mut self, clock_us: i64) -> Result<()> {
        let LakeProgress { incarnation, clock_us: clock_before_us, offsets, .. } = self.progress.clone();
        let marks = Marks { incarnation, clock_us: Some(clock_us), clock_before_us, offsets, ..Marks::default() };
        let expected = marks.offsets.clone();
        self.append(&[], &marks, &expected)
    }

    /// Commits `files` and progress in one version of the table. `clock_us` is in µs since 1970.
    ///
    /// # Errors
    /// If another process has taken over or has changed the offsets, or if a file cannot be
    /// written. The commit may be in the log nevertheless: the next [`FencedTable::take_over`]
    /// finds out.
    pub fn commit(
        &mut self,
        epoch: u64,
        clock_us: Option<i64>,
        files: Vec<NewFile>,
        offsets: BTreeMap<i32, i64>,
        account: Account,
    ) -> Result<()> {
        let intent = self.intent(epoch, clock_us, files, offsets, account);
        let committed = self.commit_intent(&intent);
        // A successor deletes the files of commits in progress, so any step may fail because a file
        // is missing. The takeover is then the cause to report.
        committed.map_err(|error| or_overtaken(&self.table.lake, intent.incarnation, error))
    }

    fn commit_intent(&mut self, intent: &Intent) -> Result<()> {
        let retry = self.retry.clone();
        retry.wait_for(|| self.declare(intent))?;
        retry.wait_for(|| self.publish(intent))?;
        retry.wait_for(|| {
            failpoint::reach("renamed")?;
            self.append_intent(intent)
        })?;
        retry.wait_for(|| {
            failpoint::reach("appended")?;
            self.forget(intent)
        })
    }

    /// The first step of a commit: makes the intent durable, then checks that no other process has
    /// taken over.
    #[cfg(test)]
    pub(super) fn intend(
        &mut self,
        epoch: u64,
        clock_us: Option<i64>,
        files: Vec<NewFile>,
        offsets: BTreeMap<i32, i64>,
        account: Account,
    ) -> Result<Intent> {
        let intent = self.intent(epoch, clock_us, files, offsets, account);
        self.declare(&intent)?;
        Ok(intent)
    }

    fn intent(
        &self,
        epoch: u64,
        clock_us: Option<i64>,
        files: Vec<NewFile>,
        offsets: BTreeMap<i32, i64>,
        account: Account,
    ) -> Intent {
        let incarnation = self.progress.incarnation;
        let offsets_before = self.progress.offsets.clone();
        Intent { incarnation, epoch, clock_us, files, offsets_before, offsets, account }
    }

    fn declare(&mut self, intent: &Intent) -> Result<()> {
        if !intent.files.is_empty() {
            intent.write(&self.table.root)?;
        }
        failpoint::reach("intended")?;
        self.table.refresh()?;
        self.require(&intent.offsets_before)
    }

    /// Gives the files of `intent` their final names, durably. Idempotent.
    pub(super) fn publish(&self, intent: &Intent) -> Result<()> {
        intent.publish(&self.table.root)
    }

    /// Appends the commit of `intent` to the log.
    pub(super) fn append_intent(&mut self, intent: &Intent) -> Result<()> {
        let marks = Marks {
            incarnation: self.progress.incarnation,
            epoch: Some(intent.epoch),
            clock_us: intent.clock_us,
            clock_before_us: None,
            offsets: intent.offsets.clone(),
            account: intent.account.clone(),
        };
        self.append(&intent.files, &marks, &intent.offsets_before)
    }

    fn forget(&self, intent: &Intent) -> Result<()> {
        if intent.files.is_empty() { Ok(()) } else { intent.forget(&self.table.root) }
    }

    fn append(&mut self, files: &[NewFile], marks: &Marks, expected: &BTreeMap<i32, i64>) -> Result<()> {
        for _ in 0..CONFLICTS_MAX {
            self.require(expected)?;
            match self.table.append(files, marks) {
                Ok(true) => {
                    self.progress = self.table.progress()?;
                    return Ok(());
                }
                Ok(false) => self.table.refresh()?,
                Err(error) => return if self.has_come_through(marks)? { Ok(()) } else { Err(error) },
            }
        }
        Err(busy(&self.table))
    }

    /// Whether a failed append is in the log nevertheless. The entry may have been written before
    /// the error, for example when the folder could not be synced. Epochs grow with every commit,
    /// so the newest epoch in the log decides.
    pub(super) fn has_come_through(&mut self, marks: &Marks) -> Result<bool> {
        self.table.refresh()?;
        let found = self.table.progress()?;
        if marks.epoch.is_none() || (found.incarnation, found.epoch) != (marks.incarnation, marks.epoch) {
            return Ok(false);
        }
        self.table.log().sync_names()?;
        self.progress = found;
        Ok(true)
    }

    /// Fails unless the loaded version has this process's incarnation and the `expected` offsets.
    fn require(&self, expected: &BTreeMap<i32, i64>) -> Result<()> {
        let found = self.table.progress()?;
        if found.incarnation != self.progress.incarnation {
            return Err(overtaken(&self.table.lake, found.incarnation));
        }
        if found.offsets != *expected {
            bail!(
                "the log of {} has the offsets {:?} where this process left {expected:?}: another program has changed them; \
                 find out which one before starting again",
                self.table.root,
                found.offsets,
            );
        }
        Ok(())
    }

    /// Finishes or undoes the unfinished commits of older incarnations, and deletes their other
    /// staged files.
    fn settle(&mut self) -> Result<()> {
        let (root, incarnation) = (self.table.root.clone(), self.progress.incarnation);
        let (intents, damaged) = Intent::pending(&root, incarnation)?;
        for intent in intents {
            let done = self.progress.epoch.is_some_and(|epoch| epoch >= intent.epoch);
            if !done && intent.offsets_before == self.progress.offsets && intent.is_whole(&root)? {
                intent.publish(&root)?;
                self.append_intent(&intent)?;
                tracing::info!(epoch = intent.epoch, table = %root, "finished an interrupted commit");
            } else if !done {
                intent.undo(&root)?;
                tracing::info!(epoch = intent.epoch, table = %root, "undid an interrupted commit");
            }
            intent.forget(&root)?;
        }
        for damaged in damaged {
            self.give_up(&damaged)?;
        }
        intent::clean_staging(&root, incarnation)
    }

    /// Settles the commit of a damaged intent by the log alone. If the log names its files, they
    /// stay. Otherwise they are deleted: the log then lacks the offsets of that commit as well, so
    /// Kafka delivers the records again.
    fn give_up(&self, damaged: &DamagedIntent) -> Result<()> {
        let named: BTreeSet<_> = entries(&self.table)?.into_iter().map(|entry| entry.place).collect();
        self.table.root.for_each_partition(|_, files| {
            let is_its = |file: &&Place| file.name().starts_with(&damaged.files) && !named.contains(*file);
            files.iter().filter(is_its).try_for_each(Place::remove)
        })?;
        damaged.place.remove()
    }
}

fn busy(table: &Table) -> Error {
    anyhow!(
        "the table {} changes faster than it can be committed to: stop the other programs that write to it",
        table.root
    )
}
