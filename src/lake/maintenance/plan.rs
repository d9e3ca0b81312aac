//! Decides which files are merged into fewer, larger ones.
//!
//! A small file is merged when it is old, by its own age rather than that of its partition: late
//! plays may keep a partition young for ever, and must not keep its small files from being merged.
//! The cost is bounded:
//! - A partition that still gets files waits for [`BUSY_MIN`] old ones.
//! - A merge takes the smallest files, and the largest of them is at most [`RATIO`] times as large
//!   as the others together. So a merge writes at most 1 + `RATIO` bytes for each byte of the
//!   others, and these end up in a file of at least twice the size: the number of times that a byte
//!   is written grows with the logarithm of the largest size.
//! - In a partition that gets no more files, all files up to [`TINY_BYTES`] are merged, whatever
//!   their ratio.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Result;

use super::attention::ms;
use crate::lake::entries::{Entry, for_each};
use crate::lake::table::Table;

/// The target size of a file: large enough that opening it costs little, small enough that the
/// files can be divided among workers.
pub const TARGET_BYTES: u64 = 128 << 20;
/// A smaller file is merged, if its partition has others.
const SMALL_BYTES: u64 = TARGET_BYTES / 2;
/// The greatest size of the largest file of a merge, as a multiple of the other files together.
const RATIO: u64 = 4;
/// Files up to this size are always merged in a quiet partition.
const TINY_BYTES: u64 = 1 << 20;
/// The least number of files of a merge in a partition that still gets files.
const BUSY_MIN: usize = 8;
/// A partition with more small files than this is merged before they are old.
const FILES_MAX: usize = 100;
/// The least age of a file that is merged because there are too many.
const SETTLED: Duration = Duration::from_secs(10);
/// The greatest number of bytes that one commit rewrites. That much space on the disk is needed
/// meanwhile, and the work is lost if the commit fails.
const COMMIT_BYTES_MAX: u64 = 512 << 20;
/// The greatest number of partitions that one commit rewrites.
const COMMIT_PARTITIONS_MAX: usize = 256;

/// The files of one partition that are to be merged.
#[derive(Clone, Debug)]
pub struct Job {
    /// Partition columns and their values.
    pub partition: Vec<(String, String)>,
    /// The files, smallest first.
    pub files: Vec<Entry>,
}

/// The times, as of one moment, up to which files count as old or as settled.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    old_ms: i64,
    settled_ms: i64,
}

/// The partitions of a table that are to be compacted, without the names of their files, of which
/// there may be hundreds of thousands.
#[derive(Debug, Default)]
pub struct Plan {
    /// For each commit, the folders of the partitions that it rewrites.
    pub commits: Vec<BTreeSet<String>>,
    /// The size of all files that are to be merged.
    pub bytes: u64,
}

/// The small files of a partition, and the time in ms since 1970 when it got its last file.
struct Partition<T> {
    small: Vec<T>,
    newest_ms: i64,
}

/// The size in bytes, and the time of writing in ms since 1970.
type Measure = (u64, i64);

impl Rule {
    /// A rule by which a file is old once it has existed for `after`.
    pub fn new(after: Duration) -> Self {
        let ago = |span| ms(super::attention::ago(span));
        Self { old_ms: ago(after), settled_ms: ago(after.min(SETTLED)) }
    }

    /// Chooses the small files of a partition that are merged now; none if a merge is not worth its
    /// cost.
    fn choose<T>(&self, partition: Partition<T>, measure: impl Fn(&T) -> Measure) -> Vec<T> {
        let Partition { mut small, newest_ms } = partition;
        let is_quiet = newest_ms <= self.old_ms;
        let youngest_ms = if small.len() > FILES_MAX { self.settled_ms } else { self.old_ms };
        small.retain(|file| measure(file).1 <= youngest_ms);
        small.sort_by_key(|file| measure(file).0);
        let (mut count, mut bytes) = (0, 0);
        for (index, file) in small.iter().enumerate() {
            let (size_bytes, _) = measure(file);
            if size_bytes <= RATIO * bytes || (is_quiet && size_bytes <= TINY_BYTES) {
                count = index + 1;
            }
            bytes += size_bytes;
        }
        small.truncate(if count < if is_quiet { 2 } else { BUSY_MIN } { 0 } else { count });
        small
    }
}

impl<T> Default for Partition<T> {
    fn default() -> Self {
        Self { small: Vec::new(), newest_ms: i64::MIN }
    }
}

impl<T> Partition<T> {
    fn add(&mut self, entry: Entry, of: impl FnOnce(Entry) -> T) {
        self.newest_ms = self.newest_ms.max(entry.modified_ms);
        if entry.size_bytes < SMALL_BYTES && !entry.has_deletions {
            self.small.push(of(entry));
        }
    }
}

/// The folder of the partition that counts the file; `None` if the plan ignores the file. It
/// ignores a merged file that is not published yet: the files that it replaces are still there for
/// readers that find files by name, and its log entry is the only record that they are replaced.
fn folder(entry: &Entry) -> Option<String> {
    if entry.final_name().is_some() { None } else { entry.folder() }
}

fn measure(entry: &Entry) -> Measure {
    (entry.size_bytes, entry.modified_ms)
}

/// Plans the compaction of `table` by `rule`.
///
/// # Errors
/// If the log cannot be read.
pub fn plan(table: &Table, rule: &Rule) -> Result<Plan> {
    let mut partitions: BTreeMap<String, Partition<Measure>> = BTreeMap::new();
    for_each(table, |entry| {
        if let Some(folder) = folder(&entry) {
            partitions.entry(folder).or_default().add(entry, |entry| measure(&entry));
        }
        Ok(())
    })?;
    let mut plan = Plan::default();
    let mut commit_bytes = 0;
    for (folder, partition) in partitions {
        let chosen = rule.choose(partition, |file| *file);
        if chosen.is_empty() {
            continue;
        }
        let bytes: u64 = chosen.iter().map(|(size_bytes, _)| size_bytes).sum();
        plan.bytes += bytes;
        commit_bytes += bytes;
        match plan.commits.last_mut() {
            Some(commit) if commit.len() < COMMIT_PARTITIONS_MAX && commit_bytes <= COMMIT_BYTES_MAX => {
                commit.insert(folder);
            }
            _ => {
                commit_bytes = bytes;
                plan.commits.push(BTreeSet::from([folder]));
            }
        }
    }
    Ok(plan)
}

/// The merges in the partitions in `folders` of `table`, by `rule`.
///
/// # Errors
/// If the log cannot be read.
pub fn jobs(table: &Table, folders: &BTreeSet<String>, rule: &Rule) -> Result<Vec<Job>> {
    let mut partitions: BTreeMap<String, Partition<Entry>> = BTreeMap::new();
    for_each(table, |entry| {
        if let Some(folder) = folder(&entry).filter(|folder| folders.contains(folder)) {
            partitions.entry(folder).or_default().add(entry, |entry| entry);
        }
        Ok(())
    })?;
    let chosen = partitions.into_values().map(|partition| rule.choose(partition, measure));
    let job = |files: Vec<Entry>| Some(Job { partition: files.first()?.partition_values(), files });
    Ok(chosen.filter_map(job).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lake::store;

    const MIB: u64 = 1 << 20;
    const KIB: u64 = 1 << 10;
    const NONE: [u64; 0] = [];
    const RULE: Rule = Rule { old_ms: 100, settled_ms: 190 };

    fn entry(name: &str, size_bytes: u64, modified_ms: i64) -> Entry {
        let values = [("date", "2026-11-20"), ("hour", "9")];
        Entry {
            name: name.to_owned(),
            place: store::open("part".as_ref()).unwrap(),
            partition: values.map(|(column, value)| (column.to_owned(), Some(value.to_owned()))).into(),
            size_bytes,
            rows: Some(1),
            modified_ms,
            has_deletions: false,
        }
    }

    /// The sizes of the `files` that are merged.
    fn merged(files: &[Measure]) -> Vec<u64> {
        let mut partition = Partition::default();
        for (size_bytes, modified_ms) in files {
            partition.add(entry("part", *size_bytes, *modified_ms), |entry| measure(&entry));
        }
        RULE.choose(partition, |file| *file).into_iter().map(|(size_bytes, _)| size_bytes).collect()
    }

    #[test]
    fn what_is_old_is_merged() {
        assert_eq!(
            merged(&[(MIB, 10), (2 * MIB, 20), (100 * MIB, 30)]),
            [MIB, 2 * MIB],
            "the large one stays as it is"
        );
        assert_eq!(merged(&[(MIB, 10), (64 * MIB, 20)]), NONE, "there is nothing to merge with");
        assert_eq!(merged(&[(MIB, 10), (MIB, 200)]), NONE, "one is young");
        assert_eq!(merged(&[(KIB, 10), (9 * KIB, 20)]), [KIB, 9 * KIB], "tiny files are always merged");
        assert_eq!(merged(&[(KIB, 10), (50 * MIB, 20)]), NONE, "a large file is not rewritten for a tiny one");
        assert_eq!(merged(&[(8 * MIB, 10), (6 * MIB, 10), (50 * MIB, 20)]).len(), 3);
    }

    /// Files are judged by their own age: a partition that keeps getting late plays is never quiet.
    #[test]
    fn old_files_are_merged_where_young_ones_come_for_ever() {
        let old = |count: i64| (0..count).map(|at| (KIB, at));
        let files = |count| old(count).chain([(KIB, 200)]).collect::<Vec<_>>();
        assert_eq!(merged(&files(7)), NONE, "it waits for more");
        assert_eq!(merged(&files(8)), [KIB; 8]);
        let with_large: Vec<_> = files(8).into_iter().chain([(MIB, 5)]).collect();
        assert_eq!(merged(&with_large), [KIB; 8], "the large one waits for more bytes");
    }

    #[test]
    fn too_many_files_are_merged_before_they_are_old() {
        let young = |count| (0..count).map(|at| (KIB, 150 + at)).collect::<Vec<_>>();
        assert_eq!(merged(&young(40)), NONE);
        assert_eq!(merged(&young(100)), NONE);
        assert_eq!(merged(&young(101)).len(), 41, "but for those of the last seconds");
    }

    #[test]
    fn what_others_have_made_stays_as_it_is() {
        let part = || entry("date=2026-11-20/hour=9/part", MIB, 10);
        assert_eq!(folder(&part()).as_deref(), Some("date=2026-11-20/hour=9/"));
        for value in [None, Some("../2026".to_owned()), Some(String::new())] {
            let mut entry = part();
            entry.partition[0].1 = value;
            assert_eq!(folder(&entry), None);
        }
        assert_eq!(
            folder(&entry("_merged/date=2026-11-20/hour=9/part.parquet", MIB, 10)),
            None,
            "it is not published yet"
        );
        let mut partition = Partition::default();
        partition.add(Entry { has_deletions: true, ..part() }, |entry| entry);
        assert!(partition.small.is_empty());
    }

    /// One file arrives every minute for two weeks, and every minute the rule is applied.
    #[test]
    fn what_a_trickle_costs_is_bounded() {
        let mut files: Vec<Measure> = vec![(50 * MIB, i64::MIN)];
        let (mut sent, mut written, mut most) = (0, 0, 0);
        for minute in 0..14 * 24 * 60 {
            sent += 8 * KIB;
            files.push((8 * KIB, minute));
            let rule = Rule { old_ms: minute - 120, settled_ms: minute };
            let partition = Partition { small: files.clone(), newest_ms: minute };
            let chosen = rule.choose(partition, |file| *file);
            if !chosen.is_empty() {
                files.retain(|file| !chosen.contains(file));
                let bytes = chosen.iter().map(|(size_bytes, _)| size_bytes).sum();
                written += bytes;
                files.push((bytes, minute));
            }
            most = most.max(files.len());
        }
        assert!(most <= 120 + 2 * BUSY_MIN, "{most} files");
        assert!(written <= 10 * sent, "{} bytes were written for each that came", written as f64 / sent as f64);
    }
}
