//! Reads everything that the log of a table says about each file, for the code that verifies a
//! lake.
//!
//! Other readers ask the kernel, which takes short cuts: a checksum file or a checkpoint may stand
//! for the commits before it. An audit reads the commits as well, and compares them, so that damage
//! to either is detected by the other.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::Value;
use url::Url;

use super::layout::LOG;
use super::listing::{resolve, walk};
use super::maintenance::is_temporary;
use super::store::Place;
use super::table::{DEAD_LETTERS, PLAYS, Table, TableKind};
use super::{Bounds, LakeProgress, snapshot};
use crate::intake::Gap;

/// A file, as the log describes it.
#[derive(Clone, Debug)]
pub struct AuditedFile {
    /// Where it is.
    pub place: Place,
    /// The size that the log has.
    pub size_bytes: u64,
    /// The value of its partition column `date`, if it has one.
    pub date: Option<String>,
    /// The value of its partition column `hour`, which only plays have.
    pub hour: Option<String>,
    /// The number of rows; `None` if the log does not have it.
    pub rows: Option<i64>,
    /// The bounds of the columns of [`LogAudit::bounded`]. Those of times are truncated to whole
    /// milliseconds.
    pub bounds: Vec<Bounds>,
}

/// The audit of one table of a lake at its newest version.
pub struct LogAudit {
    /// The name of the table's folder.
    pub name: &'static str,
    /// The columns whose bounds the log has, the times of the rows first.
    pub bounded: &'static [&'static str],
    /// The topic of the lake; `None` if the lake was imported.
    pub topic: Option<String>,
    /// How far the table has come.
    pub progress: LakeProgress,
    /// All files that the newest version names, sorted by place.
    pub files: Vec<AuditedFile>,
    /// The gaps that Kafka had deleted before they were read, as far as the remaining commits
    /// record them.
    pub gaps: Vec<Gap>,
    /// Faults of the log itself, one sentence each.
    pub problems: Vec<String>,
}

impl LogAudit {
    /// Audits the log of the plays of `lake`.
    ///
    /// # Errors
    /// If there is no lake, or its log cannot be read.
    pub fn of_plays(lake: &Place) -> Result<Self> {
        snapshot::check_is_lake(lake)?;
        Self::of(lake, &PLAYS)
    }

    /// Audits the log of the dead letters of `lake`; `None` if there are none, as in an imported
    /// lake.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub fn of_dead_letters(lake: &Place) -> Result<Option<Self>> {
        lake.join(DEAD_LETTERS.folder).exists().then(|| Self::of(lake, &DEAD_LETTERS)).transpose()
    }

    fn of(lake: &Place, kind: &'static TableKind) -> Result<Self> {
        let table = Table::open(lake, kind, lake.engine()?, None)?;
        let files = files(&table).with_context(|| format!("cannot list the files of {}", table.root))?;
        let commits = Commits::read(&table)?;
        let problems = commits.compare(&table, &files)?;
        Ok(Self {
            name: kind.folder,
            bounded: kind.bounded,
            topic: table.topic().map(str::to_owned),
            progress: table.progress()?,
            files,
            gaps: commits.gaps,
            problems,
        })
    }
}

fn files(table: &Table) -> Result<Vec<AuditedFile>> {
    let mut files = walk(table, table.kind.bounded, |listing, row, place| {
        let bounds = |column: &&str| Bounds {
            min: listing.statistic(row, "minValues", Some(column)),
            max: listing.statistic(row, "maxValues", Some(column)),
            nulls: 0,
        };
        Ok(AuditedFile {
            size_bytes: listing.sizes[row] as u64,
            date: listing.partition(row, "date").ok(),
            hour: listing.partition(row, "hour").ok(),
            rows: listing.statistic(row, "numRecords", None),
            bounds: table.kind.bounded.iter().map(bounds).collect(),
            place,
        })
    })?;
    files.sort_by(|a, b| a.place.cmp(&b.place));
    Ok(files)
}

/// The version in the name of a file of the log, for example 7 in `00000000000000000007.json`.
fn version_of(name: &str) -> Option<u64> {
    name.split('.').next().filter(|digits| digits.len() == 20)?.parse().ok()
}

/// The content of the commits that are still in the log. Older ones were cleaned up behind a
/// checkpoint.
#[derive(Default)]
struct Commits {
    /// The size of each file that was added and not removed.
    files: BTreeMap<Place, u64>,
    /// The last version of each transaction id.
    marks: BTreeMap<String, i64>,
    gaps: Vec<Gap>,
    /// Whether the commits begin with version 0.
    from_the_first: bool,
    problems: Vec<String>,
}

impl Commits {
    fn read(table: &Table) -> Result<Self> {
        let folder = table.root.join(LOG);
        let newest = table.snapshot().version();
        let names = folder.names()?;
        let commits = names.iter().filter(|name| name.ends_with(".json"));
        let versions: Vec<u64> =
            commits.filter_map(|name| version_of(name)).filter(|version| *version <= newest).collect();
        let mut this = Self { from_the_first: versions.first() == Some(&0), ..Self::default() };
        for pair in versions.windows(2).filter(|pair| pair[0] + 1 != pair[1]) {
            this.problems.push(format!("{folder}: no commit between {} and {}", pair[0], pair[1]));
        }
        // A running instance may have added newer versions, but it never writes a checksum or
        // checkpoint before its commit.
        let commit = |version: u64| folder.join(&format!("{version:020}.json"));
        let is_lost = |version: u64| version > newest && !commit(version).exists();
        let later = names.iter().find(|name| !is_temporary(name) && version_of(name).is_some_and(is_lost));
        if let Some(later) = later {
            this.problems.push(format!("{folder}: {later} is there, but not its commit"));
        }
        if !this.from_the_first && !names.iter().any(|name| name.contains(".checkpoint.")) {
            this.problems.push(format!("{folder}: its first commits are gone, and there is no checkpoint"));
        }
        if versions.last() != Some(&newest) {
            this.problems.push(format!("{folder}: the commit {newest} is not there"));
        }
        let root = table.root.url()?;
        for version in versions {
            let place = commit(version);
            for line in place.read()?.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                if let Err(error) = this.action(line, &root, &table.root) {
                    this.problems.push(format!("{place} is damaged: {error:#}"));
                }
            }
        }
        Ok(this)
    }

    fn action(&mut self, line: &[u8], root: &Url, table: &Place) -> Result<()> {
        const OTHERS: [&str; 5] = ["protocol", "metaData", "domainMetadata", "cdc", "checkpointMetadata"];
        let action: BTreeMap<String, Value> = serde_json::from_slice(line)?;
        let (name, action) = action.first_key_value().context("an action without a name")?;
        let file = || resolve(action["path"].as_str().context("a file without a path")?, root, table);
        match name.as_str() {
            "add" => drop(self.files.insert(file()?, action["size"].as_u64().context("a file without a size")?)),
            "remove" => drop(self.files.remove(&file()?)),
            "txn" => {
                let id = action["appId"].as_str().context("a transaction without an id")?;
                let version = action["version"].as_i64().context("a transaction without a version")?;
                self.marks.insert(id.to_owned(), version);
            }
            "commitInfo" => {
                if let Some(gaps) = action["operationParameters"]["gaps"].as_str() {
                    self.gaps.extend(serde_json::from_str::<Vec<Gap>>(gaps)?);
                }
            }
            other if OTHERS.contains(&other) => {}
            other => anyhow::bail!("an action {other:?}, which is unknown"),
        }
        Ok(())
    }

    /// The differences between the commits and what the kernel reads, in both directions.
    fn compare(&self, table: &Table, files: &[AuditedFile]) -> Result<Vec<String>> {
        let mut problems = self.problems.clone();
        for (id, version) in &self.marks {
            let found = table.mark(id)?;
            if found != Some(*version) {
                problems.push(format!(
                    "the log of {}: its commits say {id} = {version}, its checksum or checkpoint {found:?}",
                    table.root
                ));
            }
        }
        let listed: BTreeMap<&Place, u64> = files.iter().map(|file| (&file.place, file.size_bytes)).collect();
        for (place, size_bytes) in &self.files {
            if listed.get(place) != Some(size_bytes) {
                problems.push(format!(
                    "{place}: its commit says {size_bytes} bytes, the checksum or checkpoint of the log {:?}",
                    listed.get(place)
                ));
            }
        }
        let unknown = listed.keys().filter(|place| self.from_the_first && !self.files.contains_key(**place));
        problems.extend(unknown.map(|place| format!("{place}: it is in the log, but in no commit")));
        Ok(problems)
    }
}
