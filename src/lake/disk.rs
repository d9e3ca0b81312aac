//! The file system operations of the commit protocol: names that become durable in a known order.
//!
//! A rename or a new file survives a power failure only after its *folder* has been synced, so each
//! operation here does both.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, bail};
use delta_kernel::object_store::{self, local::LocalFileSystem};
use twox_hash::XxHash64;
use url::Url;

/// The folder inside a table for files that no commit names yet. Readers that find files by name
/// skip names that begin with `_`.
pub const STAGING: &str = "_staging";
/// The folder of a table's log.
pub const LOG: &str = "_delta_log";

/// The folder inside a table for merged files whose originals still exist. The log names the merged
/// files, and readers that find files by name do not see them. Below this folder they have the path
/// that they will get when the originals are deleted.
pub const MERGED: &str = "_merged";

/// Refuses the address of an object store: object stores have no atomic rename and no hard links.
pub fn refuse_object_store(root: &Path) -> Result<()> {
    if root.to_string_lossy().contains("://") {
        bail!(
            "the lake {} is not a folder: object stores are not supported yet, give --lake a folder on a POSIX file system",
            root.display()
        );
    }
    Ok(())
}

/// Opens a lock file, and creates it if it does not exist. Lock files are never deleted: otherwise
/// two processes could lock two files of the same name.
pub fn open_lock(path: &Path) -> Result<File> {
    let opened = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path);
    opened.with_context(|| format!("cannot open {}", path.display()))
}

/// Locks a file for this process until the file is closed, at the latest when the process ends.
/// Returns false if another process, or another open file of this process, holds the lock.
///
/// # Errors
/// If the file system does not support locks.
pub fn try_lock(file: &File) -> std::io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Refuses a lake whose log the Delta kernel would look for elsewhere. The kernel names files by
/// URLs, and does not encode the names that it has listed: `team%20a` becomes `team a`, and `a\b`
/// becomes `a/b`.
///
/// `lake` is absolute. Symbolic links are resolved as far as the path exists.
pub fn refuse_ambiguous(lake: &Path) -> Result<()> {
    let existing = lake.ancestors().find(|folder| folder.exists()).unwrap_or(lake);
    let resolved = existing.canonicalize().unwrap_or_else(|_| existing.to_owned());
    let resolved = resolved.join(lake.strip_prefix(existing).unwrap_or(Path::new("")));
    let seen = as_the_kernel_sees(&resolved);
    if seen.as_deref() == Some(resolved.as_path()) {
        return Ok(());
    }
    let seen = seen.map_or_else(|| "no folder".to_owned(), |seen| format!("{seen:?}"));
    bail!(
        "{lake:?} cannot be a lake: its path{} leads readers that address files by URL to {seen}. Use a folder whose path has no \
         backslash, no % before two hexadecimal digits, no control characters, and is UTF-8",
        if resolved == lake { String::new() } else { format!(", which is {resolved:?},") },
    );
}

/// The folder that the Delta kernel reads files from after it has listed `folder`.
fn as_the_kernel_sees(folder: &Path) -> Option<PathBuf> {
    let mut url = Url::from_directory_path(folder).ok()?;
    let listed = object_store::path::Path::from_url_path(url.path()).ok()?;
    url.set_path(&format!("/{}", listed.as_ref()));
    let found = object_store::path::Path::from_url_path(url.path()).ok()?;
    LocalFileSystem::new().path_to_filesystem(&found).ok()
}

/// How many files and folders are synced at once. A disk takes about as long for a few dozen as for
/// one: it flushes everything that it was given, and the file system's journal commits the syncs
/// together.
const SYNCED_AT_ONCE: usize = 16;

/// Syncs `files`, which may be folders, on several threads.
pub fn sync_all(files: &[File]) -> std::io::Result<()> {
    let next = AtomicUsize::new(0);
    let sync = || {
        while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            file.sync_all()?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        // The syncs work without the threads that cannot be started.
        let start = |_| std::thread::Builder::new().spawn_scoped(scope, sync).ok();
        let others: Vec<_> = (1..files.len().min(SYNCED_AT_ONCE)).filter_map(start).collect();
        let mut synced = sync();
        for other in others {
            synced = synced.and(other.join().unwrap_or_else(|_| Err(std::io::Error::other("a thread has panicked"))));
        }
        synced
    })
}

/// Makes the names of the files in all `folders` durable.
pub fn sync_folders<'a>(folders: impl IntoIterator<Item = &'a PathBuf>) -> Result<()> {
    const OPEN_MAX: usize = 64;
    let mut folders = folders.into_iter().peekable();
    while let Some(first) = folders.peek().copied() {
        let open = folders.by_ref().take(OPEN_MAX).map(File::open).collect::<std::io::Result<Vec<_>>>();
        let synced = open.and_then(|open| sync_all(&open));
        synced.with_context(|| format!("cannot sync the folder {} or one of those after it", first.display()))?;
    }
    Ok(())
}

/// Makes the names of the files in `folder` durable.
pub fn sync_folder(folder: &Path) -> Result<()> {
    let synced = File::open(folder).and_then(|opened| opened.sync_all());
    synced.with_context(|| format!("cannot sync the folder {}", folder.display()))
}

/// Creates `folder` and its missing parents, durably.
pub fn create_folder(folder: &Path) -> Result<()> {
    let missing = folder.ancestors().take_while(|folder| !folder.is_dir()).collect::<Vec<_>>();
    fs::create_dir_all(folder).with_context(|| format!("cannot create the folder {}", folder.display()))?;
    missing.into_iter().try_for_each(sync_parent)
}

/// Creates `path` with `content`, complete and durable, or not at all. Returns false if the name
/// was already taken.
pub fn put_if_absent(path: &Path, content: &[u8]) -> Result<bool> {
    let temporary = write_temporary(path, content)?;
    let linked = fs::hard_link(&temporary, path);
    fs::remove_file(&temporary).with_context(|| format!("cannot remove {}", temporary.display()))?;
    match linked {
        Ok(()) => sync_parent(path).map(|()| true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error).with_context(|| {
            format!("cannot create {}: does the file system of the lake have hard links?", path.display())
        }),
    }
}

/// Writes `content` to `path`, durably, and replaces a previous file there atomically.
pub fn replace(path: &Path, content: &[u8]) -> Result<()> {
    let temporary = write_temporary(path, content)?;
    fs::rename(&temporary, path)
        .with_context(|| format!("cannot rename {} to {}", temporary.display(), path.display()))?;
    sync_parent(path)
}

/// `content` followed by a line with its checksum, by which damage is detected: an intent with a
/// flipped digit would still parse.
pub fn sealed(mut content: Vec<u8>) -> Vec<u8> {
    let checksum = format!("\n{:016x}\n", XxHash64::oneshot(0, &content));
    content.extend(checksum.into_bytes());
    content
}

/// The content that was given to [`sealed`].
///
/// # Errors
/// If the checksum does not match.
pub fn unsealed(sealed: &[u8]) -> Result<&[u8]> {
    const SEAL_BYTES: usize = 18;
    let (content, found) = sealed.split_at(sealed.len().saturating_sub(SEAL_BYTES));
    if found != format!("\n{:016x}\n", XxHash64::oneshot(0, content)).as_bytes() {
        bail!("its checksum is not that of its content");
    }
    Ok(content)
}

/// Mixes every bit into all others: the finalizer of SplitMix64.
pub fn mixed(key: u64) -> u64 {
    let mut bits = key.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}

/// Removes `path` if it exists.
pub fn remove_if_there(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// The names of the files in `folder`, sorted. Names that are not UTF-8 are left out, because no
/// code here creates any.
pub fn names(folder: &Path) -> Result<Vec<String>> {
    let context = || format!("cannot list the folder {}", folder.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).with_context(context)? {
        names.extend(entry.with_context(context)?.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

/// The files in the partition folders `date=…/hour=…` of a table, sorted. Links are not followed.
pub fn partitioned_files(table: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for_each_partition(table, |_, of_partition| {
        files.extend(of_partition);
        Ok(())
    })?;
    files.sort();
    Ok(files)
}

/// Calls `visit` with each partition folder `date=…/hour=…` of a table that has files, and the
/// sorted paths of these. Links are not followed.
pub fn for_each_partition(table: &Path, mut visit: impl FnMut(&Path, Vec<PathBuf>) -> Result<()>) -> Result<()> {
    let mut folders = vec![table.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let context = || format!("cannot list the folder {}", folder.display());
        let entries = match fs::read_dir(&folder) {
            // A concurrent vacuum removes empty folders.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            entries => entries.with_context(context)?,
        };
        let mut files = Vec::new();
        for entry in entries {
            let entry = entry.with_context(context)?;
            let kind = entry.file_type().with_context(context)?;
            if kind.is_dir() && entry.file_name().to_string_lossy().contains('=') {
                folders.push(entry.path());
            } else if kind.is_file() && folder != table {
                files.push(entry.path());
            }
        }
        if !files.is_empty() {
            files.sort();
            visit(&folder, files)?;
        }
    }
    Ok(())
}

fn write_temporary(path: &Path, content: &[u8]) -> Result<PathBuf> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{:08x}.tmp", rand::random::<u32>()));
    let temporary = path.with_file_name(name);
    let written = OpenOptions::new().write(true).create_new(true).open(&temporary).and_then(|mut file| {
        file.write_all(content)?;
        file.sync_all()
    });
    written.or_else(|error| {
        // On a full disk the partial file would occupy space that is freed next.
        remove_if_there(&temporary)?;
        Err(error).with_context(|| format!("cannot write {}", temporary.display()))
    })?;
    Ok(temporary)
}

fn sync_parent(path: &Path) -> Result<()> {
    match path.parent() {
        // The parent of a relative path with one component.
        Some(parent) if parent.as_os_str().is_empty() => sync_folder(Path::new(".")),
        Some(parent) => sync_folder(parent),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_folders_that_the_kernel_finds_are_lakes() {
        let long = "x".repeat(250);
        for good in [
            "a",
            "team a",
            "a#b",
            "a?b=c",
            "100%",
            "%zz",
            "ü 日本",
            "a:b;c",
            "a*b[c]{d}",
            "~",
            "a'b\"c",
            "+&=,@!$",
            long.as_str(),
        ] {
            refuse_ambiguous(&Path::new("/nowhere").join(good).join("lake")).unwrap();
        }
        for bad in ["team%20a", "a%2Fb", "%41", "a\\b", "a\nb", "a\tb"] {
            let said = refuse_ambiguous(&Path::new("/nowhere").join(bad)).unwrap_err().to_string();
            assert!(said.contains("cannot be a lake") && !said.contains(char::is_control), "{said}");
        }
    }

    /// The kernel is given the folder that the path resolves to.
    #[test]
    fn what_a_path_links_to_counts() {
        let folder = tempfile::tempdir().unwrap();
        let (target, link) = (folder.path().join("team%20a"), folder.path().join("link"));
        fs::create_dir(&target).unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        let said = refuse_ambiguous(&link.join("lake")).unwrap_err().to_string();
        assert!(said.contains("link/lake") && said.contains("team%20a/lake") && said.contains("team a/lake"), "{said}");
    }
}
