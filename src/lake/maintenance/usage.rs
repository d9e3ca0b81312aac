//! Summarises a lake for `reprise lake ls`: files, rows and bytes by day, files that no log names,
//! and how far the lake has come.

use std::collections::{BTreeMap, HashSet};

use anyhow::Result;
use serde::Serialize;

use super::log::Log;
use crate::lake::entries::for_each;
use crate::lake::layout::{MERGED, STAGING};
use crate::lake::store::Place;
use crate::lake::table::{DEAD_LETTERS, PLAYS, Table, TableKind};
use crate::lake::{LakeProgress, snapshot};
use crate::text::instant;

/// The summary of a lake.
#[derive(Debug, Serialize)]
pub struct Usage {
    /// The epoch of the last cut; `None` before the first one.
    pub epoch: Option<u64>,
    /// The clock, in µs since 1970; RFC 3339 in JSON.
    #[serde(rename = "clock", with = "instant")]
    pub clock_us: Option<i64>,
    /// How many times a process has become the writer of the lake.
    pub incarnation: i64,
    /// The next offset of each Kafka partition.
    pub offsets: BTreeMap<i32, i64>,
    /// The plays, and the dead letters if the lake has any.
    pub tables: Vec<TableUsage>,
}

/// The summary of one of its tables.
#[derive(Debug, Serialize)]
pub struct TableUsage {
    /// The name of the table's folder.
    pub table: &'static str,
    /// The version of the Delta table.
    pub version: u64,
    /// How many files its log has.
    pub log_files: usize,
    /// All days together.
    pub total: DayUsage,
    /// Each day's files, by date.
    pub days: BTreeMap<String, DayUsage>,
    /// How many files in the folders of partitions the newest version does not name: they were
    /// replaced, or left behind.
    pub untracked_files: usize,
    /// The size of these files.
    pub untracked_bytes: u64,
    /// Staged files of commits that are in progress, or were when their process died.
    pub staged_files: usize,
}

/// The files of one day, or of all days.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DayUsage {
    /// How many partitions have files: one for each hour that has plays, or one for each day in a
    /// table without hours.
    pub partitions: usize,
    /// The number of files.
    pub files: usize,
    /// The number of rows; files whose log entry lacks it count as 0.
    pub rows: u64,
    /// The size of all files.
    pub bytes: u64,
    /// The size of the smallest file.
    pub smallest_bytes: u64,
    /// The size of the largest file.
    pub largest_bytes: u64,
}

/// Summarises the lake without changing anything.
///
/// # Errors
/// If there is no lake, or it cannot be read.
pub fn usage(lake: &Place) -> Result<Usage> {
    snapshot::check_is_lake(lake)?;
    let plays = Table::open(lake, &PLAYS, lake.engine()?, None)?;
    let LakeProgress { epoch, clock_us, incarnation, offsets, .. } = plays.progress()?;
    let mut tables = vec![table_usage(&PLAYS, &plays)?];
    // An imported lake has no dead letters.
    if lake.join(DEAD_LETTERS.folder).is_folder() {
        tables.push(table_usage(&DEAD_LETTERS, &Table::open(lake, &DEAD_LETTERS, lake.engine()?, None)?)?);
    }
    Ok(Usage { epoch, clock_us, incarnation, offsets, tables })
}

fn table_usage(kind: &TableKind, table: &Table) -> Result<TableUsage> {
    let mut usage = TableUsage {
        table: kind.folder,
        version: table.snapshot().version(),
        log_files: Log::read(&table.log())?.len(),
        total: DayUsage::default(),
        days: BTreeMap::new(),
        untracked_files: 0,
        untracked_bytes: 0,
        staged_files: staged(&table.root)?,
    };
    let (mut partitions, mut tracked) = (HashSet::new(), HashSet::new());
    for_each(table, |entry| {
        let date = entry.partition.iter().find(|(column, _)| column == "date");
        let date = date.and_then(|(_, date)| date.clone()).unwrap_or_default();
        tracked.insert(entry.place);
        let partition = usize::from(partitions.insert(entry.partition));
        for usage in [&mut usage.total, usage.days.entry(date).or_default()] {
            usage.add(entry.rows.unwrap_or(0), entry.size_bytes, partition);
        }
        Ok(())
    })?;
    for place in [table.root.clone(), table.root.join(MERGED)] {
        place.for_each_partition(|_, files| {
            for file in files.iter().filter(|file| !tracked.contains(*file)) {
                usage.untracked_files += 1;
                usage.untracked_bytes += file.size_or_zero();
            }
            Ok(())
        })?;
    }
    Ok(usage)
}

fn staged(table: &Place) -> Result<usize> {
    let folder = table.join(STAGING);
    let names = if folder.is_folder() { folder.names()? } else { Vec::new() };
    Ok(names.iter().filter(|name| name.ends_with(".inprogress")).count())
}

impl DayUsage {
    fn add(&mut self, rows: u64, bytes: u64, partitions: usize) {
        self.smallest_bytes = if self.files == 0 { bytes } else { self.smallest_bytes.min(bytes) };
        self.largest_bytes = self.largest_bytes.max(bytes);
        self.partitions += partitions;
        self.files += 1;
        self.rows += rows;
        self.bytes += bytes;
    }
}
