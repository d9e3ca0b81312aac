//! Publication: a merged file gets the name under which readers find files by name, when the files
//! that it replaces are deleted.
//!
//! A file that a version of the last `retain` names must stay, so a compaction cannot delete the
//! files that it replaces. Meanwhile readers that find files by name must see each play once, so a
//! merged file is first in the folder `_merged`, which they skip:
//!
//! ```text
//! compaction            log: − a − b + _merged/…/m         names: a b
//! after `retain`        link m, delete a and b             names: for an instant a b m, then m
//!                       log: − _merged/…/m + …/m
//! after `retain` again  delete _merged/…/m
//! ```
//!
//! **Invariants**
//! 1. A merged file is due once the version that was the newest one `retain` ago names it. From
//!    that version on no version names the files that it replaces. Any other file in its partition
//!    that none of these versions names was replaced by another merged file, which is also due. So
//!    a partition is published as a whole, and no record of which file replaces which is needed.
//! 2. Until the append the log names the file in `_merged`. So after a crash at any step the file
//!    is due again, and each step is idempotent: an existing link stays.
//! 3. The link is another name of the same file; the content is not copied.
//! 4. A vacuum by another tool ignores `_merged`, like every folder whose name begins with an
//!    underscore. Between the link and the append it may delete the final name as garbage, although
//!    it looks new. So after the append the link is checked, and made again if it is missing.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use parquet::file::metadata::ParquetMetaDataReader;

use super::attention::Attention;
use super::compact::{self, CompactIntent};
use crate::lake::entries::{Entry, for_each};
use crate::lake::store::Place;
use crate::lake::table::{Table, TableKind};
use crate::lake::{NewFile, statistics};
use crate::process::failpoint;

/// How many partitions one commit publishes at most.
const PARTITIONS_MAX: usize = 256;

/// A partition with merged files that are due.
pub struct Due {
    /// The merged files.
    pub merged: Vec<Entry>,
    /// The files in its folder that no version needs any more, with their sizes in bytes.
    pub replaced: Vec<(Place, u64)>,
}

/// Publishes the merged files of `partitions`, and calls `delete` with the files that they replace.
/// Returns how many it published. A partition that cannot be linked is skipped, with a warning.
///
/// # Errors
/// If a replaced file cannot be deleted, or the log cannot be written. The next vacuum continues.
pub fn publish(
    kind: &TableKind,
    table: &mut Table,
    partitions: &[Due],
    attention: &Attention<'_>,
    mut delete: impl FnMut(&[(Place, u64)]) -> Result<()>,
) -> Result<usize> {
    let mut published = 0;
    for partitions in partitions.chunks(PARTITIONS_MAX) {
        let mut files = Vec::new();
        for partition in partitions {
            if attention.is_over() {
                break;
            }
            match link_all(kind, &table.root, &partition.merged) {
                Ok(linked) => {
                    failpoint::reach("publish-linked")?;
                    delete(&partition.replaced)?;
                    files.extend(linked);
                }
                Err(error) => tracing::warn!("a merged file is not published yet: {error:#}"),
            }
        }
        published += commit(table, files)?;
    }
    Ok(published)
}

/// Commits the final names to the log, and returns how many there are. If another program has
/// removed a merged file from the log, its final name is deleted again, and the others are
/// published without it, because the files that they replace are deleted.
fn commit(table: &mut Table, mut files: Vec<NewFile>) -> Result<usize> {
    let folders: BTreeSet<Place> = files.iter().map(|file| table.root.join(&file.path).folder()).collect();
    folders.iter().try_for_each(Place::sync_names)?;
    failpoint::reach("publish-deleted")?;
    while !files.is_empty() {
        let removed = files.iter().map(|file| file.staged.clone()).collect();
        let change = CompactIntent { files, removed };
        let is_committed = compact::append(table, &change)?;
        failpoint::reach("publish-appended")?;
        if is_committed {
            for file in &change.files {
                table.root.join(&file.staged).link(&file.path)?;
            }
            return Ok(change.files.len());
        }
        files = still_there(table, change.files)?;
    }
    Ok(0)
}

/// Returns those of `files` that the log still names in `_merged`. Deletes the final names of the
/// others, unless the log names them.
fn still_there(table: &Table, files: Vec<NewFile>) -> Result<Vec<NewFile>> {
    let staged: BTreeSet<&str> = files.iter().map(|file| file.staged.as_str()).collect();
    let places: BTreeSet<Place> = files.iter().map(|file| table.root.join(&file.path)).collect();
    let (mut still_staged, mut final_names) = (BTreeSet::new(), BTreeSet::new());
    for_each(table, |entry| {
        if staged.contains(entry.name.as_str()) {
            still_staged.insert(entry.name);
        } else if places.contains(&entry.place) {
            final_names.insert(entry.place);
        }
        Ok(())
    })?;
    let (kept, gone): (Vec<NewFile>, Vec<NewFile>) =
        files.into_iter().partition(|file| still_staged.contains(&file.staged));
    let mut gone = gone.iter().map(|file| table.root.join(&file.path)).filter(|place| !final_names.contains(place));
    gone.try_for_each(|place| place.remove())?;
    Ok(kept)
}

/// Links all merged files of a partition to their final names, or none of them: with only some,
/// readers that find files by name would see the plays of these twice. Returns their descriptions
/// for the log.
fn link_all(kind: &TableKind, root: &Place, merged: &[Entry]) -> Result<Vec<NewFile>> {
    let mut made = Vec::new();
    let linked = merged.iter().map(|entry| link(kind, root, entry, &mut made)).collect::<Result<Vec<_>>>();
    if linked.is_err() {
        made.iter().try_for_each(Place::remove)?;
    }
    linked
}

/// Links a merged file to its final name, and adds that to `made` if it is new. Returns the
/// description of the file for the log.
fn link(kind: &TableKind, root: &Place, entry: &Entry, made: &mut Vec<Place>) -> Result<NewFile> {
    let shown = &entry.place;
    let file = shown.open().with_context(|| format!("cannot open {shown}, which the log of the lake names"))?;
    let metadata = ParquetMetaDataReader::new().parse_and_finish(&file);
    let metadata = metadata.with_context(|| format!("cannot read {shown}, which the log of the lake names"))?;
    let name = entry.final_name().with_context(|| format!("{shown} is no merged file"))?;
    let place = root.join(name);
    entry.place.touch()?;
    if entry.place.link(name)? {
        made.push(place);
    }
    Ok(NewFile {
        path: name.to_owned(),
        staged: entry.name.clone(),
        partition_values: entry.partition_values(),
        size_bytes: entry.size_bytes as i64,
        rows: metadata.file_metadata().num_rows(),
        modified_ms: entry.modified_ms,
        bounds: statistics::all_bounds(&metadata, kind),
    })
}
