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

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use parquet::file::metadata::ParquetMetaDataReader;

use super::Attention;
use super::compact::{self, CompactIntent};
use super::entries::{Entry, for_each};
use crate::failpoint;
use crate::lake::table::{Kind, Table};
use crate::lake::{NewFile, disk, statistics};

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
    kind: &Kind,
    table: &mut Table,
    partitions: &[Due],
    attention: &Attention<'_>,
    mut delete: impl FnMut(&[(PathBuf, u64)]) -> Result<()>,
) -> Result<usize> {
    let mut published = 0;
    for partitions in partitions.chunks(PARTITIONS_MAX) {
        let mut change = CompactIntent { files: Vec::new(), removed: Vec::new() };
        for partition in partitions {
            if attention.is_over() {
                break;
            }
            let root = &table.root;
            match partition.merged.iter().map(|entry| link(kind, root, entry)).collect::<Result<Vec<_>>>() {
                Ok(files) => {
                    failpoint::reach("publish-linked")?;
                    delete(&partition.replaced)?;
                    change.files.extend(files);
                    change.removed.extend(partition.merged.iter().map(|entry| entry.name.clone()));
                }
                Err(error) => tracing::warn!("a merged file keeps its place for now: {error:#}"),
            }
        }
        if !change.files.is_empty() && commit(table, &change)? {
            published += change.files.len();
        }
    }
    Ok(published)
}

/// Makes the final names those of the log. Returns false if somebody else has removed one of the merged files from it.
fn commit(table: &mut Table, change: &CompactIntent) -> Result<bool> {
    let paths = || change.files.iter().map(|file| (table.root.join(&file.staged), table.root.join(&file.path)));
    let folders: BTreeSet<PathBuf> = paths().filter_map(|(_, path)| path.parent().map(Path::to_path_buf)).collect();
    folders.iter().try_for_each(|folder| disk::sync_folder(folder))?;
    failpoint::reach("publish-deleted")?;
    let mut links: BTreeMap<PathBuf, PathBuf> = paths().map(|(merged, path)| (path, merged)).collect();
    let committed = compact::append(table, change)?;
    failpoint::reach("publish-appended")?;
    if committed {
        links.iter().try_for_each(|(path, merged)| link_once(merged, path))?;
    } else {
        for_each(table, |entry| {
            links.remove(&entry.path);
            Ok(())
        })?;
        links.keys().try_for_each(|path| disk::remove_if_there(path))?;
    }
    Ok(committed)
}

/// Gives a merged file its final name beside the one that it has. Returns what the log will say of it.
fn link(kind: &Kind, root: &Path, entry: &Entry) -> Result<NewFile> {
    let shown = entry.path.display();
    let file =
        File::open(&entry.path).with_context(|| format!("cannot open {shown}, which the log of the lake names"))?;
    let metadata = ParquetMetaDataReader::new().parse_and_finish(&file);
    let metadata = metadata.with_context(|| format!("cannot read {shown}, which the log of the lake names"))?;
    let name = entry.final_name().with_context(|| format!("{shown} is no merged file"))?;
    // Other tools take a file for garbage only when it is old.
    file.set_modified(SystemTime::now()).with_context(|| format!("cannot change the time of {shown}"))?;
    link_once(&entry.path, &root.join(name))?;
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

/// Makes `to` another name of the file `from`, unless it is that already.
fn link_once(from: &Path, to: &Path) -> Result<()> {
    let context = || format!("cannot link {} as {}", from.display(), to.display());
    to.parent().map_or(Ok(()), fs::create_dir_all).with_context(context)?;
    match fs::hard_link(from, to) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let [from_file, to_file] = [from, to].map(|path| fs::metadata(path).with_context(context));
            let (from_file, to_file) = (from_file?, to_file?);
            if (from_file.dev(), from_file.ino()) != (to_file.dev(), to_file.ino()) {
                bail!("{} is another file than {}", to.display(), from.display());
            }
            Ok(())
        }
        linked => linked.with_context(context),
    }
}
