//! Vacuum: deletes files that are named by no version that a reader may still use: files that
//! compaction has replaced, and orphans. The merged files that replace them are published in the
//! same step, see `publish.rs`.
//!
//! A vacuum is safe beside a running instance because of the order in which it reads: first the
//! folders, then the intents, then the log. A file that existed at the first step is named by an
//! intent until it is in the log (`fenced.rs`), so one of the two later steps finds it, unless its
//! commit has been undone. Files are kept in memory as hashes of their keys, since there may be
//! hundreds of thousands. A collision only keeps a file that could be deleted.

use std::collections::hash_map::{DefaultHasher, HashMap};
use std::collections::{BTreeSet, HashSet};
use std::hash::{Hash, Hasher};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use serde::Deserialize;

use super::attention::{Attention, ago, open};
use super::publish::{Due, publish};
use super::{Lock, compact, log};
use crate::lake::entries::{Entry, for_each};
use crate::lake::intent;
use crate::lake::layout::MERGED;
use crate::lake::listing::resolve;
use crate::lake::store::Place;
use crate::lake::table::{DEAD_LETTERS, PLAYS, Table, TableKind, entry_name};
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
    lake: &Place,
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
    lake: &Place,
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
    let mut delete = |files: &[(Place, u64)]| {
        for (file, bytes) in files {
            let is_name = is_second_name(file);
            if !dry_run {
                if outcome.files > 0 {
                    failpoint::reach("vacuum")?;
                }
                file.remove()?;
                deleted.push(file.folder());
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
    deleted.into_iter().collect::<BTreeSet<_>>().iter().for_each(Place::prune);
    Ok(published)
}

/// Whether a file in `_merged` also has its final name.
fn is_second_name(file: &Place) -> bool {
    file.is_in(MERGED) && file.about().is_ok_and(|about| about.is_some_and(|about| about.names > 1))
}

/// The files that nothing needs.
struct Garbage {
    /// The partitions in which merged files replace such files.
    due: Vec<Due>,
    /// All other such files, with their sizes in bytes.
    rest: Vec<(Place, u64)>,
}

/// The files that exist, and the files that are needed, as hashes of their keys.
#[derive(Default)]
struct Survey {
    /// The files that existed at the first step, and whether each was older than the limit.
    seen: HashMap<u64, bool>,
    needed: HashSet<u64>,
    /// The merged files that are due, by the folder of their partition.
    due: HashMap<Place, Vec<Entry>>,
}

impl Survey {
    /// Surveys a table. The order of the three steps makes it safe: folders, intents, log.
    fn of(lake: &Place, kind: &'static TableKind, root: &Place, since: SystemTime) -> Result<Garbage> {
        let mut this = Self::default();
        for place in [root.clone(), root.join(MERGED)] {
            place.for_each_partition(|_, files| {
                this.see(&files, since);
                Ok(())
            })?;
        }
        this.needed.extend(intent::files_under_way(root)?.iter().map(|path| hash(&root.join(path))));
        this.look_at_log(lake, kind, &open(lake, kind)?, since)?;
        this.garbage(root)
    }

    fn see(&mut self, files: &[Place], since: SystemTime) {
        for file in files {
            // Other programs may keep their own files beside the data, for example checksums.
            if file.name().ends_with(".parquet")
                && let Ok(Some(about)) = file.about()
            {
                self.seen.insert(hash(file), about.modified <= since);
            }
        }
    }

    /// Marks as needed the files of every version that was the newest one at any moment after
    /// `since`: the files of the first such version, and all that were added later.
    fn look_at_log(&mut self, lake: &Place, kind: &'static TableKind, table: &Table, since: SystemTime) -> Result<()> {
        let newest = table.snapshot().version();
        let first = log::Log::read(&table.log())?.version_at(since).unwrap_or(newest);
        let past = Table::open(lake, kind, lake.engine()?, Some(first))?;
        let mut due = HashSet::new();
        for_each(&past, |entry| {
            due.extend(entry.final_name().map(|_| hash(&entry.place)));
            self.needed.insert(hash(&entry.place));
            Ok(())
        })?;
        let mut replaced = Vec::new();
        for version in first + 1..=newest {
            let changes = Changes::of(table, version)?;
            self.needed.extend(changes.added.iter().map(hash));
            // Another tool has deleted some of the files that this compaction replaced. So the
            // versions before it can no longer be read, and readers that find files by name lack
            // plays until the merged files are published: they are due now.
            if changes.is_compaction() && changes.removed.iter().any(|file| !file.exists()) {
                due.extend(changes.added.iter().map(hash));
                replaced.extend(changes.removed.iter().map(hash));
            }
        }
        for file in replaced {
            self.needed.remove(&file);
            self.seen.entry(file).and_modify(|is_old| *is_old = true);
        }
        for_each(table, |entry| {
            self.needed.insert(hash(&entry.place));
            if let Some(name) = entry.final_name() {
                // A process that died before its append may have linked the file to its final name.
                let place = table.root.join(name);
                self.needed.insert(hash(&place));
                if due.contains(&hash(&entry.place)) && !entry.has_deletions {
                    self.due.entry(place.folder()).or_default().push(entry);
                }
            }
            Ok(())
        })
    }

    /// Lists the folders again, and collects the files that existed at the first step and are not
    /// needed.
    fn garbage(mut self, root: &Place) -> Result<Garbage> {
        let mut garbage = Garbage { due: Vec::new(), rest: Vec::new() };
        for place in [root.clone(), root.join(MERGED)] {
            place.for_each_partition(|folder, files| {
                let mut replaced = Vec::new();
                let mut is_young = false;
                for file in files {
                    match self.seen.get(&hash(&file)) {
                        Some(_) if self.needed.contains(&hash(&file)) => {}
                        Some(true) => {
                            let bytes = file.size_or_zero();
                            replaced.push((file, bytes));
                        }
                        Some(false) => is_young = true,
                        None => {}
                    }
                }
                match self.due.remove(&folder) {
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

fn hash(file: &Place) -> u64 {
    let mut hasher = DefaultHasher::new();
    file.hash(&mut hasher);
    hasher.finish()
}

/// The files that one commit has added and removed.
#[derive(Default)]
struct Changes {
    added: Vec<Place>,
    removed: Vec<Place>,
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
        let root = table.root.url()?;
        let entry = table.log().join(&entry_name(version));
        let text = std::io::read_to_string(&*entry.read()?).with_context(|| format!("cannot read {entry}"))?;
        let mut changes = Self::default();
        for line in text.lines().filter(|line| line.contains("\"add\"") || line.contains("\"remove\"")) {
            let action: Action = serde_json::from_str(line).with_context(|| format!("{entry} is damaged"))?;
            for (named, paths) in [(action.add, &mut changes.added), (action.remove, &mut changes.removed)] {
                if let Some(named) = named {
                    paths.push(resolve(&named.path, &root, &table.root)?);
                }
            }
        }
        Ok(changes)
    }

    /// Whether the commit is a compaction by reprise: every file that it adds is a merged one.
    fn is_compaction(&self) -> bool {
        !self.added.is_empty() && self.added.iter().all(|file| file.is_in(MERGED))
    }
}
