//! The committer: the one place that makes staged files part of the lake.
//!
//! A cut is two commits. The dead letters come first, in a table of their own and only if there are any, and the plays
//! second: the plays' offsets alone say how far the lake has come. After a crash between the two the records are read
//! again, and the dead letters among them that lie below their own table's offsets are left out by the writers.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::fenced::FencedTable;
use super::table::{self, DEAD_LETTERS, PLAYS, Table};
use super::{Account, Cut, DiskFullRetry, Identity, LakeProgress, create, disk};
use crate::intake::Gap;

type CheckOrigin = Box<dyn Fn(&LakeProgress) -> Result<()> + Send>;

/// The single writer of a lake, as far as its logs go.
pub struct Committer {
    pub(super) plays: FencedTable,
    pub(super) dead_letters: FencedTable,
    progress: LakeProgress,
    check_origin: CheckOrigin,
}

impl Committer {
    /// How far the lake in the folder `lake` has come, without becoming its writer or changing anything; nowhere if there is
    /// none yet.
    ///
    /// # Errors
    /// Whatever is wrong with the lake or with where it came from. What is refused must be refused here: [`Committer::open`]
    /// ends the process that writes to the lake.
    pub fn found(lake: &Path, identity: &Identity) -> Result<LakeProgress> {
        disk::refuse_object_store(lake)?;
        [&PLAYS, &DEAD_LETTERS].into_iter().try_for_each(|kind| create::refuse_foreign(lake, kind))?;
        if !create::exists(lake, &PLAYS)? {
            return Ok(LakeProgress::default());
        }
        let plays = Table::open(lake, &PLAYS, table::engine()?, None)?;
        check_identity(lake, &plays, identity)?;
        if create::exists(lake, &DEAD_LETTERS)? {
            check_identity(lake, &Table::open(lake, &DEAD_LETTERS, table::engine()?, None)?, identity)?;
        }
        let found = plays.progress()?;
        if found.epoch.is_some() && found.offsets.is_empty() {
            bail!(
                "the lake {} has plays, and its log does not say up to which offsets: it is damaged, or was made before \
                 version 0.1.0; `reprise replay` reads it. To go on from Kafka give --lake another folder",
                lake.display()
            );
        }
        Ok(found)
    }

    /// Opens the lake in the folder `lake`, creating it if need be, and becomes its only writer: from here on every
    /// process that was it before can commit nothing more. Finishes or undoes the commits that those left half done.
    ///
    /// Refuses a lake that was made from another topic or another Kafka cluster.
    pub fn open(lake: &Path, identity: &Identity) -> Result<Self> {
        disk::refuse_object_store(lake)?;
        let engine = table::engine()?;
        let open = |kind| {
            create::create(lake, kind, identity)?;
            let table = Table::open(lake, kind, engine.clone(), None)?;
            check_identity(lake, &table, identity)?;
            anyhow::Ok(table)
        };
        let (plays, dead_letters) = (open(&PLAYS)?, open(&DEAD_LETTERS)?);
        // The dead letters follow the plays. That theirs is greater happens when somebody has deleted the plays.
        let floor = dead_letters.progress()?.incarnation;
        let plays = FencedTable::take_over(plays, |found| found.max(floor) + 1)?;
        let incarnation = plays.progress().incarnation;
        let dead_letters = FencedTable::take_over(dead_letters, |_| incarnation)?;
        let mut this =
            Self { plays, dead_letters, progress: LakeProgress::default(), check_origin: Box::new(|_| Ok(())) };
        this.note_progress();
        Ok(this)
    }

    /// Lets commits wait in `retry` while the disk is full, instead of failing.
    pub fn retry_with(&mut self, retry: &DiskFullRetry) {
        self.plays.retry = retry.clone();
        self.dead_letters.retry = retry.clone();
    }

    /// Has each commit call `check` before it begins, with the offsets and times of the partitions that have got on. It fails if what
    /// is to be committed may be of another topic.
    pub fn check_origin_by(&mut self, check: impl Fn(&LakeProgress) -> Result<()> + Send + 'static) {
        self.check_origin = Box::new(check);
    }

    /// How far the plays have come. The epoch is the newest in either table: each later one must be greater.
    pub fn progress(&self) -> &LakeProgress {
        &self.progress
    }

    /// Records the start offset of each partition that has none yet. Call it before anything of them is read, with all
    /// partitions of the topic. One that is found later may bring its start with the first cut that has it.
    pub fn begin(&mut self, starts: &BTreeMap<i32, i64>) -> Result<()> {
        let is_new = |(partition, _): &(&i32, &i64)| !self.progress.offsets.contains_key(partition);
        let starts: BTreeMap<i32, i64> =
            starts.iter().filter(is_new).map(|(&partition, &start)| (partition, start)).collect();
        if !starts.is_empty() {
            let mut offsets = self.progress.offsets.clone();
            offsets.extend(&starts);
            self.plays.record(offsets, Account { starts, ..Account::default() })?;
            self.note_progress();
        }
        Ok(())
    }

    /// Records that `gaps`, which begin where the lake ends, will never be read, and goes on behind them.
    pub fn pass(&mut self, gaps: &[Gap]) -> Result<()> {
        let mut offsets = self.progress.offsets.clone();
        for gap in gaps {
            if offsets.insert(gap.partition, gap.end) != Some(gap.first) || gap.length() < 0 {
                bail!("{gap:?} does not begin where the lake ends: {:?}", self.progress.offsets);
            }
        }
        if !gaps.is_empty() {
            let account = Account::of_gaps(gaps, &self.progress);
            self.plays.record(offsets, account)?;
            self.note_progress();
        }
        Ok(())
    }

    /// Sets the clock of the lake to an earlier moment, in µs since 1970, which its log keeps on record.
    ///
    /// # Errors
    /// If the log cannot be written, or another process has taken over.
    pub fn reset_clock(&mut self, clock_us: i64) -> Result<()> {
        self.plays.reset_clock(clock_us).context("the clock of the lake cannot be set back")?;
        self.note_progress();
        Ok(())
    }

    /// Makes `cut` durable, and returns how far the lake has come by it.
    ///
    /// An error leaves the cut committed or not, and the process should end: the next [`Committer::open`] finds out.
    pub fn commit(&mut self, cut: Cut) -> Result<&LakeProgress> {
        self.check(&cut)?;
        let (offsets, times_ms) = (cut.offsets.clone(), cut.account.times_ms.clone());
        (self.check_origin)(&LakeProgress { offsets, times_ms, ..LakeProgress::default() })?;
        if !cut.dead_letters.is_empty() {
            let offsets = self.dead_letter_offsets(&cut);
            self.dead_letters
                .commit(cut.epoch, cut.clock_us, cut.dead_letters, offsets, Account::default())
                .with_context(|| format!("the dead letters of epoch {}", cut.epoch))?;
        }
        self.plays
            .commit(cut.epoch, cut.clock_us, cut.plays, cut.offsets, cut.account)
            .with_context(|| format!("the plays of epoch {}", cut.epoch))?;
        self.note_progress();
        Ok(&self.progress)
    }

    /// Refuses what would break the order of epochs or lose plays, before anything is written.
    fn check(&self, cut: &Cut) -> Result<()> {
        if self.progress.epoch.is_some_and(|last| cut.epoch <= last) {
            bail!("the cut at epoch {} is not after the last one, {:?}", cut.epoch, self.progress.epoch);
        }
        for (partition, next) in &cut.offsets {
            let start = cut.account.starts.get(partition);
            match self.progress.offsets.get(partition).or(start) {
                None => bail!("partition {partition} has no start offset in the lake: `begin` comes first"),
                Some(last) if next < last => bail!("partition {partition} would go back from offset {last} to {next}"),
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// Below these every dead letter will be in its table. They never go back, though the plays may have been behind.
    fn dead_letter_offsets(&self, cut: &Cut) -> BTreeMap<i32, i64> {
        let mut offsets = self.progress.offsets.clone();
        offsets.extend(&cut.offsets);
        for (partition, reached) in &self.dead_letters.progress().offsets {
            let offset = offsets.entry(*partition).or_insert(*reached);
            *offset = (*offset).max(*reached);
        }
        offsets
    }

    fn note_progress(&mut self) {
        self.progress = self.plays.progress().clone();
        self.progress.epoch = self.progress.epoch.max(self.dead_letters.progress().epoch);
    }
}

fn check_identity(lake: &Path, table: &Table, identity: &Identity) -> Result<()> {
    let (Some(topic), Some(cluster_id)) = (table.topic(), table.cluster_id()) else {
        bail!(
            "the lake {} does not say which topic it came from, so it was not made by `reprise run` and cannot be \
             continued: `reprise replay` reads it; give --lake another folder",
            lake.display()
        );
    };
    if topic != identity.topic {
        bail!(
            "the lake {} holds the topic {topic}, not {}: give each topic a lake of its own",
            lake.display(),
            identity.topic
        );
    }
    if cluster_id != identity.cluster_id {
        bail!(
            "the lake {} was filled from the Kafka cluster {cluster_id}, not {}: its offsets mean nothing here; give \
             --lake another folder, or --brokers of the cluster it came from",
            lake.display(),
            identity.cluster_id
        );
    }
    match (table.topic_id(), &identity.topic_id) {
        (Some(known), Some(found)) if known != found => bail!(
            "topic {topic} is not the one that the lake {} was made from: its id was {known}, and now it is {found}. It was \
             deleted and made again, which is another topic to Kafka. This lake is whole, and `reprise replay` reads it: keep it, \
             and give the new topic a lake of its own by --lake",
            lake.display()
        ),
        _ => Ok(()),
    }
}
