//! Which files are worth making into fewer, larger ones.
//!
//! Only partitions that have been quiet for a while: readers that go by names rather than by the log see what is merged
//! twice, until the old files are deleted, and one that still grows would be merged again and again.

use std::collections::BTreeMap;
use std::time::SystemTime;

use super::entries::Entry;
use super::ms;

/// What a file should have: large enough that opening it costs little, small enough to be shared out among workers.
pub const TARGET_BYTES: u64 = 128 << 20;
/// A file with less is merged, if there is another such one in its partition.
const SMALL_BYTES: u64 = TARGET_BYTES / 2;
/// What one commit rewrites: that much room on the disk is needed meanwhile, and lost if it cannot be committed.
const COMMIT_BYTES_MAX: u64 = 512 << 20;
const COMMIT_PARTITIONS_MAX: usize = 64;

/// The small files of one partition.
#[derive(Clone, Debug)]
pub struct Job {
    /// Column and value.
    pub partition: Vec<(String, String)>,
    pub files: Vec<Entry>,
}

impl Job {
    pub fn size_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size_bytes).sum()
    }
}

/// What there is to do for the partitions of `entries` that have got no file since `quiet_since`.
pub fn jobs(entries: Vec<Entry>, quiet_since: SystemTime) -> Vec<Job> {
    let mut partitions: BTreeMap<Vec<(String, String)>, Vec<Entry>> = BTreeMap::new();
    for entry in entries {
        if let Some(partition) = partition(&entry) {
            partitions.entry(partition).or_default().push(entry);
        }
    }
    let mut jobs = Vec::new();
    for (partition, mut files) in partitions {
        if files.iter().any(|file| file.modified_ms > ms(quiet_since)) {
            continue;
        }
        files.retain(|file| file.size_bytes < SMALL_BYTES && !file.has_deletions);
        if files.len() > 1 {
            jobs.push(Job { partition, files });
        }
    }
    jobs
}

/// Jobs that are committed together, in order.
pub fn commits(jobs: Vec<Job>) -> Vec<Vec<Job>> {
    let mut commits: Vec<Vec<Job>> = Vec::new();
    let mut bytes = 0;
    for job in jobs {
        match commits.last_mut() {
            Some(commit) if commit.len() < COMMIT_PARTITIONS_MAX && bytes + job.size_bytes() <= COMMIT_BYTES_MAX => {
                bytes += job.size_bytes();
                commit.push(job);
            }
            _ => {
                bytes = job.size_bytes();
                commits.push(vec![job]);
            }
        }
    }
    commits
}

/// The values of a file's partition, if they are such as our writers use: they become the name of its folder.
fn partition(entry: &Entry) -> Option<Vec<(String, String)>> {
    let is_ours = |value: &str| !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    let pairs = entry.partition.iter().map(|(column, value)| {
        let value = value.as_ref().filter(|value| is_ours(value))?;
        Some((column.clone(), value.clone()))
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn entry(hour: u8, modified_ms: i64, size_mib: u64) -> Entry {
        let values = [("date", "2026-11-20".to_owned()), ("hour", hour.to_string())];
        Entry {
            name: format!("date=2026-11-20/hour={hour}/part-{modified_ms}.parquet"),
            path: "part".into(),
            partition: values.map(|(column, value)| (column.to_owned(), Some(value))).into(),
            size_bytes: size_mib << 20,
            rows: Some(1),
            modified_ms,
            has_deletions: false,
        }
    }

    fn hours(entries: Vec<Entry>, quiet_since_ms: u64) -> Vec<(String, usize)> {
        let jobs = jobs(entries, UNIX_EPOCH + Duration::from_millis(quiet_since_ms));
        jobs.into_iter().map(|job| (job.partition[1].1.clone(), job.files.len())).collect()
    }

    #[test]
    fn hours_that_are_quiet_and_have_several_small_files_are_merged() {
        let entries = vec![
            // Quiet, and the large one stays as it is.
            entry(1, 10, 1),
            entry(1, 20, 2),
            entry(1, 30, 100),
            // Still growing.
            entry(2, 10, 1),
            entry(2, 200, 1),
            // Nothing to merge with.
            entry(3, 10, 1),
            entry(3, 20, 64),
        ];
        assert_eq!(hours(entries, 100), [("1".to_owned(), 2)]);
    }

    #[test]
    fn what_others_have_made_stays_as_it_is() {
        let null = |mut entry: Entry| {
            entry.partition.insert("date".to_owned(), None);
            entry
        };
        let outside = |mut entry: Entry| {
            entry.partition.insert("date".to_owned(), Some("../2026".to_owned()));
            entry
        };
        let deleted = |entry: Entry| Entry { has_deletions: true, ..entry };
        for change in [&null as &dyn Fn(Entry) -> Entry, &outside, &deleted] {
            assert_eq!(hours(vec![change(entry(1, 10, 1)), change(entry(1, 20, 1))], 100), []);
        }
    }

    #[test]
    fn commits_are_bounded() {
        let entries = (0..24).flat_map(|hour| (0..3).map(move |file| entry(hour, file, 60))).collect();
        let jobs = jobs(entries, UNIX_EPOCH + Duration::from_millis(100));
        let sizes: Vec<usize> = commits(jobs).iter().map(Vec::len).collect();
        assert_eq!(sizes, [2; 12], "of 180 MiB each");
    }
}
