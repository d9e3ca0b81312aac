//! Vacuum: deletes files that are named by no version that a reader may still use: files that
//! compaction has replaced, and orphans. The merged files that replace them are published in the
//! same step, see `publish.rs`.
//!
//! A vacuum is safe beside a running instance because of the order in which it reads: first the
//! folders, then the intents, then the log. A file that existed at the first step is named by an
//! intent until it is in the log (`fenced.rs`), so one of the two later steps finds it, unless its
//! commit has been undone. Files are kept in memory as hashes of their paths, since there may be
//! hundreds of thousands. A collision only keeps a file that could be deleted.

use std::collections::hash_map::{DefaultHasher, HashMap};
use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::hash::{Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use serde::Deserialize;
use url::Url;

use super::attention::{Attention, ago, open};
use super::publish::{Due, publish};
use super::{Lock, compact, log};
use crate::lake::disk::MERGED;
use crate::lake::entries::{Entry, for_each};
use crate::lake::listing::resolve;
use crate::lake::table::{self, DEAD_LETTERS, PLAYS, Table, TableKind, entry_name};
use crate::lake::{disk, intent};
use crate::process::failpoint;

/// The files that a vacuum has deleted, or would delete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vacuumed {
    /// The number of deleted names.
    pub files: usize,
    /// How many of `files` were second names of published files. The files stay, so deleting these
    /// names frees no space.
    pub names: usize,
    /// The bytes that are freed.
    pub bytes: u64,
    /// How many merged files have taken the places of the files that they replace.
    pub published: usize,
}

/// Deletes the files of both tables that are older than `retain` and that neither a version of the
/// last `retain` nor a commit in progress names. With `dry_run` it only counts them.
///
/// # Errors
/// If there is no lake, or a table cannot be read or written. Files deleted before the error stay
/// deleted.
pub fn vacuum(
    lake: &Path,
    _lock: &Lock,
    retain: Duration,
    dry_run: bool,
    attention: &Attention<'_>,
) -> Result<Vacuumed> {
    let mut outcome = Vacuumed::default();
    for kind in [&PLAYS, &DEAD_LETTERS] {
        // If nothing is to be retained, the first names of files that were just published need not
        // stay in `_merged` either.
        while vacuum_table(lake, kind, retain, dry_run, attention, &mut outcome)? > 0 && retain.is_zero() {}
    }
    Ok(outcome)
}

/// Vacuums one table, adds to `outcome`, and returns how many merged files it has published.
fn vacuum_table(
    lake: &Path,
    kind: &'static TableKind,
    retain: Duration,
    dry_run: bool,
    attention: &Attention<'_>,
    outcome: &mut Vacuumed,
) -> Result<usize> {
    let mut table = open(lake, kind)?;
    if !dry_run {
        compact::settle(&table)?;
    }
    let root = table.root.clone();
    let Garbage { due, rest } = Survey::of(lake, kind, &root, ago(retain))?;
    let total = due.iter().flat_map(|due| &due.replaced).chain(&rest).map(|(_, bytes)| bytes).sum();
    let mut done = 0;
    let mut deleted = Vec::new();
    let mut delete = |files: &[(PathBuf, u64)]| {
        for (path, bytes) in files {
            let is_name = is_second_name(&root, path);
            if !dry_run {
                if outcome.files > 0 {
                    failpoint::reach("vacuum")?;
                }
                disk::remove_if_there(path)?;
                deleted.extend(path.parent().map(Path::to_path_buf));
                deleted.dedup();
            }
            outcome.files += 1;
            outcome.names += usize::from(is_name);
            outcome.bytes += if is_name { 0 } else { *bytes };
            done += bytes;
            (attention.progress)(done, total);
        }
        Ok(())
    };
    let mut published = 0;
    if dry_run {
        due.iter().try_for_each(|due| delete(&due.replaced))?;
    } else {
        published = publish(kind, &mut table, &due, attention, &mut delete)?;
    }
    for file in &rest {
        if attention.is_over() {
            break;
        }
        delete(std::slice::from_ref(file))?;
    }
    outcome.published += published;
    remove_empty_folders(&root, deleted);
    Ok(published)
}

/// Whether a file in `_merged` also has its final name.
fn is_second_name(root: &Path, path: &Path) -> bool {
    path.starts_with(root.join(MERGED)) && fs::metadata(path).is_ok_and(|metadata| metadata.nlink() > 1)
}

/// The files that nothing needs.
struct Garbage {
    /// The partitions in which merged files replace such files.
    due: Vec<Due>,
    /// All other such files, with their sizes in bytes.
    rest: Vec<(PathBuf, u64)>,
}

/// The files that exist, and the files that are needed, as hashes of their paths.
#[derive(Default)]
struct Survey {
    /// The files that existed at the first step, and whether each was older than the limit.
    seen: HashMap<u64, bool>,
    needed: HashSet<u64>,
    /// The merged files that are due, by the folder of their partition.
    due: HashMap<PathBuf, Vec<Entry>>,
}

impl Survey {
    /// Surveys a table. The order of the three steps makes it safe: folders, intents, log.
    fn of(lake: &Path, kind: &'static TableKind, root: &Path, since: SystemTime) -> Result<Garbage> {
        let mut this = Self::default();
        for place in [root.to_path_buf(), root.join(MERGED)] {
            disk::for_each_partition(&place, |_, files| {
                this.see(&files, since);
                Ok(())
            })?;
        }
        this.needed.extend(intent::files_under_way(root)?.iter().map(|path| hash(&root.join(path))));
        this.look_at_log(lake, kind, &open(lake, kind)?, since)?;
        this.garbage(root)
    }

    fn see(&mut self, files: &[PathBuf], since: SystemTime) {
        for path in files {
            // Other programs may keep their own files beside the data, for example checksums.
            if path.extension().is_some_and(|extension| extension == "parquet")
                && let Ok(modified) = fs::metadata(path).and_then(|metadata| metadata.modified())
            {
                self.seen.insert(hash(path), modified <= since);
            }
        }
    }

    /// Marks as needed the files of every version that was the newest one at any moment after
    /// `since`: the files of the first such version, and all that were added later.
    fn look_at_log(&mut self, lake: &Path, kind: &'static TableKind, table: &Table, since: SystemTime) -> Result<()> {
        let newest = table.snapshot().version();
        let first = log::Log::read(&table.log())?.version_at(since).unwrap_or(newest);
        let past = Table::open(lake, kind, table::engine()?, Some(first))?;
        let mut due = HashSet::new();
        for_each(&past, |entry| {
            due.extend(entry.final_name().map(|_| hash(&entry.path)));
            self.needed.insert(hash(&entry.path));
            Ok(())
        })?;
        let mut replaced = Vec::new();
        for version in first + 1..=newest {
            let changes = Changes::of(table, version)?;
            self.needed.extend(changes.added.iter().map(|path| hash(path)));
            // Another tool has deleted some of the files that this compaction replaced. So the
            // versions before it can no longer be read, and readers that find files by name lack
            // plays until the merged files are published: they are due now.
            if changes.is_compaction(&table.root) && changes.removed.iter().any(|path| !path.exists()) {
                due.extend(changes.added.iter().map(|path| hash(path)));
                replaced.extend(changes.removed.iter().map(|path| hash(path)));
            }
        }
        for path in replaced {
            self.needed.remove(&path);
            self.seen.entry(path).and_modify(|is_old| *is_old = true);
        }
        for_each(table, |entry| {
            self.needed.insert(hash(&entry.path));
            if let Some(name) = entry.final_name() {
                // A process that died before its append may have linked the file to its final name.
                let path = table.root.join(name);
                self.needed.insert(hash(&path));
                if due.contains(&hash(&entry.path)) && !entry.has_deletions {
                    self.due.entry(path.parent().unwrap_or(&path).to_path_buf()).or_default().push(entry);
                }
            }
            Ok(())
        })
    }

    /// Lists the folders again, and collects the files that existed at the first step and are not
    /// needed.
    fn garbage(mut self, root: &Path) -> Result<Garbage> {
        let mut garbage = Garbage { due: Vec::new(), rest: Vec::new() };
        for place in [root.to_path_buf(), root.join(MERGED)] {
            disk::for_each_partition(&place, |folder, files| {
                let mut replaced = Vec::new();
                let mut is_young = false;
                for path in files {
                    match self.seen.get(&hash(&path)) {
                        Some(_) if self.needed.contains(&hash(&path)) => {}
                        Some(true) => {
                            let bytes = fs::metadata(&path).map_or(0, |metadata| metadata.len());
                            replaced.push((path, bytes));
                        }
                        Some(false) => is_young = true,
                        None => {}
                    }
                }
                match self.due.remove(folder) {
                    // A young file stays for now. Publishing its replacement before it can be
                    // deleted would show its plays twice to readers that find files by name, so the
                    // partition waits.
                    Some(_) if is_young => {}
                    Some(merged) => garbage.due.push(Due { merged, replaced }),
                    None => garbage.rest.extend(replaced),
                }
                Ok(())
            })?;
        }
        garbage.due.extend(self.due.into_values().map(|merged| Due { merged, replaced: Vec::new() }));
        Ok(garbage)
    }
}

fn hash(path: &Path) -> u64 {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    hasher.finish()
}

/// The files that one commit has added and removed.
#[derive(Default)]
struct Changes {
    added: Vec<PathBuf>,
    removed: Vec<PathBuf>,
}

impl Changes {
    fn of(table: &Table, version: u64) -> Result<Self> {
        /// The part of a log line that is deserialized.
        #[derive(Deserialize)]
        struct Action {
            add: Option<Named>,
            remove: Option<Named>,
        }
        #[derive(Deserialize)]
        struct Named {
            path: String,
        }
        let root = Url::from_directory_path(&table.root).ok().context("the table's path is not absolute")?;
        let path = table.log().join(entry_name(version));
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut changes = Self::default();
        for line in text.lines().filter(|line| line.contains("\"add\"") || line.contains("\"remove\"")) {
            let action: Action =
                serde_json::from_str(line).with_context(|| format!("{} is damaged", path.display()))?;
            for (named, paths) in [(action.add, &mut changes.added), (action.remove, &mut changes.removed)] {
                if let Some(named) = named {
                    paths.push(resolve(&named.path, &root, &table.root)?);
                }
            }
        }
        Ok(changes)
    }

    /// Whether the commit is a compaction by reprise: every file that it adds is a merged one.
    fn is_compaction(&self, root: &Path) -> bool {
        let merged = root.join(MERGED);
        !self.added.is_empty() && self.added.iter().all(|path| path.starts_with(&merged))
    }
}

/// Removes folders that have become empty, up to the table. A folder that cannot be removed stays,
/// which does no harm.
fn remove_empty_folders(root: &Path, folders: Vec<PathBuf>) {
    for folder in folders.into_iter().collect::<BTreeSet<_>>() {
        for above in folder.ancestors().take_while(|above| above.starts_with(root) && *above != root) {
            if fs::remove_dir(above).is_err() {
                break;
            }
        }
    }
}
