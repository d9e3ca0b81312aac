//! The committer: the only code that makes staged files part of the lake.
//!
//! A cut is two commits. The dead letters are committed first, in a table of their own and only if
//! there are any; the plays are committed second. Only the offsets of the plays' table say how far
//! the lake has come. After a crash between the two commits the records are read again, and the
//! writers leave out dead letters below the offsets of the dead letters' table.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};

use super::fenced::FencedTable;
use super::store::Place;
use super::table::{DEAD_LETTERS, PLAYS, Table};
use super::{Account, Cut, DiskFullRetry, Identity, LakeProgress, create};
use crate::intake::Gap;

type CheckOrigin = Box<dyn Fn(&LakeProgress) -> Result<()> + Send>;

/// The single writer of a lake's logs.
pub struct Committer {
    pub(super) plays: FencedTable,
    pub(super) dead_letters: FencedTable,
    progress: LakeProgress,
    check_origin: CheckOrigin,
}

impl Committer {
    /// How far `lake` has come: the default progress if there is no lake
    /// yet. Changes nothing, and does not become the writer.
    ///
    /// # Errors
    /// If the lake is damaged or belongs to another topic or cluster. Every check that can refuse a
    /// start is made here, because [`Committer::open`] ends the process that writes to the lake.
    pub fn found(lake: &Place, identity: &Identity) -> Result<LakeProgress> {
        [&PLAYS, &DEAD_LETTERS].into_iter().try_for_each(|kind| create::refuse_foreign(lake, kind))?;
        if !create::exists(lake, &PLAYS)? {
            return Ok(LakeProgress::default());
        }
        let plays = Table::open(lake, &PLAYS, lake.engine()?, None)?;
        check_identity(lake, &plays, identity)?;
        if create::exists(lake, &DEAD_LETTERS)? {
            check_identity(lake, &Table::open(lake, &DEAD_LETTERS, lake.engine()?, None)?, identity)?;
        }
        let found = plays.progress()?;
        if found.epoch.is_some() && found.offsets.is_empty() {
            bail!(
                "the lake {lake} has plays, and its log does not say up to which offsets: it is damaged, or was made before \
                 version 0.1.0; `reprise replay` reads it. To go on from Kafka give --lake another folder"
            );
        }
        Ok(found)
    }

    /// Opens `lake`, creates it if it does not exist, and becomes its only
    /// writer: from here on no earlier process can commit. Finishes or undoes the commits that
    /// earlier processes left unfinished.
    ///
    /// # Errors
    /// If the lake was made from another topic or another Kafka cluster, if another process takes
    /// over at the same time, or if the lake cannot be read or written.
    pub fn open(lake: &Place, identity: &Identity) -> Result<Self> {
        let engine = lake.engine()?;
        let open = |kind| {
            create::create(lake, kind, identity)?;
            let table = Table::open(lake, kind, engine.clone(), None)?;
            check_identity(lake, &table, identity)?;
            anyhow::Ok(table)
        };
        let (plays, dead_letters) = (open(&PLAYS)?, open(&DEAD_LETTERS)?);
        // The dead letters' incarnation follows the plays'. It is greater only if somebody has
        // deleted the table of plays.
        let floor = dead_letters.progress()?.incarnation;
        let mut plays = FencedTable::take_over(plays, |found| found.max(floor) + 1)?;
        plays.add_columns()?;
        let incarnation = plays.progress().incarnation;
        let dead_letters = FencedTable::take_over(dead_letters, |_| incarnation)?;
        let mut this =
            Self { plays, dead_letters, progress: LakeProgress::default(), check_origin: Box::new(|_| Ok(())) };
        this.note_progress();
        Ok(this)
    }

    /// Makes commits wait in `retry` while the disk is full, instead of failing.
    pub fn retry_with(&mut self, retry: &DiskFullRetry) {
        self.plays.retry = retry.clone();
        self.dead_letters.retry = retry.clone();
    }

    /// Makes each commit call `check` before it begins, with the offsets and times of the
    /// partitions that have advanced. `check` fails if the records may be those of another topic.
    pub fn check_origin_by(&mut self, check: impl Fn(&LakeProgress) -> Result<()> + Send + 'static) {
        self.check_origin = Box::new(check);
    }

    /// How far the plays have come. The epoch is the newest of both tables, because the epoch of
    /// the next cut must be greater than either.
    pub fn progress(&self) -> &LakeProgress {
        &self.progress
    }

    /// Records the start offset of each partition that has none yet. Call it with all partitions of
    /// the topic, before any of their records are read. A partition that is found later may bring
    /// its start with the first cut that includes it.
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

    /// Records that `gaps`, which begin where the lake ends, will never be read, and moves the
    /// offsets past them.
    ///
    /// # Errors
    /// If a gap does not begin at the lake's offset, or if the log cannot be written.
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

    /// Sets the clock of the lake to an earlier moment, in µs since 1970. The log records the
    /// change.
    pub fn reset_clock(&mut self, clock_us: i64) -> Result<()> {
        self.plays.reset_clock(clock_us).context("the clock of the lake cannot be set back")?;
        self.note_progress();
        Ok(())
    }

    /// Makes `cut` durable, and returns how far the lake has come with it.
    ///
    /// # Errors
    /// After an error it is unknown whether the cut is committed. The process should end; the next
    /// [`Committer::open`] finds out.
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

    /// Refuses a cut that would break the order of epochs or lose plays, before anything is
    /// written.
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

    /// The offsets below which the table of dead letters is complete after this commit. They never
    /// go back, even though the plays' offsets may lie behind them.
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

fn check_identity(lake: &Place, table: &Table, identity: &Identity) -> Result<()> {
    table.format()?;
    let (Some(topic), Some(cluster_id)) = (table.topic(), table.cluster_id()) else {
        bail!(
            "the lake {lake} does not say which topic it came from, so it was not made by `reprise run` and cannot be \
             continued: `reprise replay` reads it; give --lake another folder"
        );
    };
    if topic != identity.topic {
        bail!("the lake {lake} holds the topic {topic}, not {}: give each topic a lake of its own", identity.topic);
    }
    if cluster_id != identity.cluster_id {
        bail!(
            "the lake {lake} was filled from the Kafka cluster {cluster_id}, not {}: its offsets have no meaning here; give \
             --lake another folder, or --brokers of the cluster it came from",
            identity.cluster_id
        );
    }
    match (table.topic_id(), &identity.topic_id) {
        (Some(known), Some(found)) if known != found => bail!(
            "topic {topic} is not the one that the lake {lake} was made from: its id was {known}, and now it is {found}. It was \
             deleted and created again, which is another topic to Kafka. This lake is complete, and `reprise replay` reads it: keep it, \
             and give the new topic a lake of its own by --lake"
        ),
        _ => Ok(()),
    }
}
