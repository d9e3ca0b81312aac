//! Publication: a merged file gets the name that readers by name find when the files that it replaces are deleted.
//!
//! Whatever a version of the last `retain` has must stay, so compaction cannot delete what it replaces. Readers that go by
//! name are to see each play once meanwhile, so a merged file is first in the folder `_merged`, where they do not look:
//!
//! ```text
//! compaction            log: − a − b + _merged/…/m         names: a b
//! after `retain`        link m, delete a and b             names: for an instant a b m, then m
//!                       log: − _merged/…/m + …/m
//! after `retain` again  delete _merged/…/m
//! ```
//!
//! **Invariants**
//! 1. A merged file is due when the version of `retain` ago has it. Then no later version has the files that it replaces,
//!    and whatever else in its partition no such version has, other merged files have replaced that are due too. So a
//!    partition is published as a whole, and nothing has to be remembered about which file replaces which.
//! 2. Until the append the log has the file in `_merged`. So after a crash at any step it is due again, and each step can be
//!    repeated: a link that is there already stays.
//! 3. The link is another name of the same file, which is not written again.
//! 4. A vacuum by another tool ignores `_merged`, like every folder that begins with an underscore. Between the link and the
//!    append it may take the final name for garbage, although it looks new: so that is looked at again, and linked again.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use parquet::file::metadata::ParquetMetaDataReader;

use super::attention::Attention;
use super::compact::{self, CompactIntent};
use crate::lake::entries::{Entry, for_each};
use crate::lake::table::{Table, TableKind};
use crate::lake::{NewFile, disk, statistics};
use crate::process::failpoint;

/// What is published in one commit.
const PARTITIONS_MAX: usize = 256;

/// A partition of which merged files are due.
pub struct Due {
    pub merged: Vec<Entry>,
    /// The files in its folder that no version needs any more, with their sizes.
    pub replaced: Vec<(PathBuf, u64)>,
}

/// Publishes the merged files of `partitions`, and calls `delete` with those that they replace. Returns how many there were.
pub fn publish(
    kind: &TableKind,
    table: &mut Table,
    partitions: &[Due],
    attention: &Attention<'_>,
    mut delete: impl FnMut(&[(PathBuf, u64)]) -> Result<()>,
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
                Err(error) => tracing::warn!("a merged file keeps its place for now: {error:#}"),
            }
        }
        published += commit(table, files)?;
    }
    Ok(published)
}

/// Makes the final names those of the log, and returns how many there are. A merged file that somebody else has removed from the
/// log loses its final name again; the others are published without it, for what they replace has been deleted.
fn commit(table: &mut Table, mut files: Vec<NewFile>) -> Result<usize> {
    let folders: BTreeSet<PathBuf> =
        files.iter().filter_map(|file| Some(table.root.join(&file.path).parent()?.to_path_buf())).collect();
    folders.iter().try_for_each(|folder| disk::sync_folder(folder))?;
    failpoint::reach("publish-deleted")?;
    while !files.is_empty() {
        let removed = files.iter().map(|file| file.staged.clone()).collect();
        let change = CompactIntent { files, removed };
        let is_committed = compact::append(table, &change)?;
        failpoint::reach("publish-appended")?;
        if is_committed {
            for file in &change.files {
                link_once(&table.root.join(&file.staged), &table.root.join(&file.path))?;
            }
            return Ok(change.files.len());
        }
        files = still_there(table, change.files)?;
    }
    Ok(0)
}

/// Those of `files` that the log still has where they were merged. The others lose their final names, unless the log has these.
fn still_there(table: &Table, files: Vec<NewFile>) -> Result<Vec<NewFile>> {
    let staged: BTreeSet<&str> = files.iter().map(|file| file.staged.as_str()).collect();
    let paths: BTreeSet<PathBuf> = files.iter().map(|file| table.root.join(&file.path)).collect();
    let (mut still_staged, mut final_names) = (BTreeSet::new(), BTreeSet::new());
    for_each(table, |entry| {
        if staged.contains(entry.name.as_str()) {
            still_staged.insert(entry.name);
        } else if paths.contains(&entry.path) {
            final_names.insert(entry.path);
        }
        Ok(())
    })?;
    let (kept, gone): (Vec<NewFile>, Vec<NewFile>) =
        files.into_iter().partition(|file| still_staged.contains(&file.staged));
    let mut gone = gone.iter().map(|file| table.root.join(&file.path)).filter(|path| !final_names.contains(path));
    gone.try_for_each(|path| disk::remove_if_there(&path))?;
    Ok(kept)
}

/// Gives all merged files of a partition their final names, or none of them: with some, readers by name would find the plays of
/// these twice. Returns what the log will say of them.
fn link_all(kind: &TableKind, root: &Path, merged: &[Entry]) -> Result<Vec<NewFile>> {
    let mut made = Vec::new();
    let linked = merged.iter().map(|entry| link(kind, root, entry, &mut made)).collect::<Result<Vec<_>>>();
    if linked.is_err() {
        made.iter().try_for_each(|path| disk::remove_if_there(path))?;
    }
    linked
}

/// Gives a merged file its final name beside the one that it has, which goes to `made` if it is new. Returns what the log will
/// say of the file.
fn link(kind: &TableKind, root: &Path, entry: &Entry, made: &mut Vec<PathBuf>) -> Result<NewFile> {
    let shown = entry.path.display();
    let file =
        File::open(&entry.path).with_context(|| format!("cannot open {shown}, which the log of the lake names"))?;
    let metadata = ParquetMetaDataReader::new().parse_and_finish(&file);
    let metadata = metadata.with_context(|| format!("cannot read {shown}, which the log of the lake names"))?;
    let name = entry.final_name().with_context(|| format!("{shown} is no merged file"))?;
    // Other tools take a file for garbage only when it is old.
    file.set_modified(SystemTime::now()).with_context(|| format!("cannot change the time of {shown}"))?;
    let path = root.join(name);
    if link_once(&entry.path, &path)? {
        made.push(path);
    }
    Ok(NewFile {
        path: name.to_owned(),
        staged: entry.name.clone(),
        partition_values: entry.partition_values(),
        size_bytes: entry.size_bytes as i64,
        rows: metadata.file_metadata().num_rows(),
        modified_ms: entry.modified_ms,
        time: statistics::bounds(&metadata, kind.time_column),
        kafka_partition: statistics::bounds(&metadata, "kafka_partition"),
        kafka_offset: statistics::bounds(&metadata, "kafka_offset"),
    })
}

/// Makes `to` another name of the file `from`. Returns false if it was that already.
fn link_once(from: &Path, to: &Path) -> Result<bool> {
    let context = || format!("cannot link {} as {}", from.display(), to.display());
    // The folder may have been removed when it was empty.
    to.parent().map_or(Ok(()), disk::create_folder).with_context(context)?;
    match fs::hard_link(from, to) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let [from_file, to_file] = [from, to].map(|path| fs::metadata(path).with_context(context));
            let (from_file, to_file) = (from_file?, to_file?);
            if (from_file.dev(), from_file.ino()) != (to_file.dev(), to_file.ino()) {
                bail!("{} is another file than {}", to.display(), from.display());
            }
            Ok(false)
        }
        linked => linked.map(|()| true).with_context(context),
    }
}
