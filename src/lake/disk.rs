//! What the commit protocol asks of the file system: names that become durable in a known order.
//!
//! A rename or a new file survives a power cut only after its *folder* has been synced, so each of these does both.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use twox_hash::XxHash64;

/// The folder inside a table for files that no commit holds yet. Readers that go by name skip what begins with `_`.
pub const STAGING: &str = "_staging";

/// Refuses what is no folder of this machine: object stores have no atomic rename and link.
pub fn refuse_object_store(root: &Path) -> Result<()> {
    if root.to_string_lossy().contains("://") {
        bail!(
            "the lake {} is not a folder: object stores are not supported yet, give --lake a folder on a POSIX file system",
            root.display()
        );
    }
    Ok(())
}

/// Makes the names in `folder` durable.
pub fn sync_folder(folder: &Path) -> Result<()> {
    let synced = File::open(folder).and_then(|opened| opened.sync_all());
    synced.with_context(|| format!("cannot sync the folder {}", folder.display()))
}

/// Creates `folder` and the parents that it lacks, durably.
pub fn create_folder(folder: &Path) -> Result<()> {
    let missing = folder.ancestors().take_while(|folder| !folder.is_dir()).collect::<Vec<_>>();
    fs::create_dir_all(folder).with_context(|| format!("cannot create the folder {}", folder.display()))?;
    missing.into_iter().try_for_each(sync_parent)
}

/// Puts a whole, durable file at `path` or nothing at all. Returns false if the name was already taken.
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

/// Puts a whole, durable file at `path`, in place of what was there.
pub fn replace(path: &Path, content: &[u8]) -> Result<()> {
    let temporary = write_temporary(path, content)?;
    fs::rename(&temporary, path)
        .with_context(|| format!("cannot rename {} to {}", temporary.display(), path.display()))?;
    sync_parent(path)
}

/// `content` with a line below it by which damage is noticed: a digit that a disk has turned still parses.
pub fn sealed(mut content: Vec<u8>) -> Vec<u8> {
    let seal = format!("\n{:016x}\n", XxHash64::oneshot(0, &content));
    content.extend(seal.into_bytes());
    content
}

/// What was [`sealed`], if it is still the same.
pub fn unsealed(sealed: &[u8]) -> Result<&[u8]> {
    const SEAL_BYTES: usize = 18;
    let (content, found) = sealed.split_at(sealed.len().saturating_sub(SEAL_BYTES));
    if found != format!("\n{:016x}\n", XxHash64::oneshot(0, content)).as_bytes() {
        bail!("its checksum is not that of its content");
    }
    Ok(content)
}

/// Spreads every bit over all others: the finalizer of SplitMix64.
pub fn mixed(key: u64) -> u64 {
    let mut bits = key.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}

/// Removes `path`, which may be gone already.
pub fn remove_if_there(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// The names of the files in `folder`, sorted. Those that are not UTF-8 are nobody's business here.
pub fn names(folder: &Path) -> Result<Vec<String>> {
    let context = || format!("cannot list the folder {}", folder.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).with_context(context)? {
        names.extend(entry.with_context(context)?.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

/// The files in the folders `date=…/hour=…` of a table, sorted. Links are not followed.
pub fn partitioned_files(table: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![table.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let context = || format!("cannot list the folder {}", folder.display());
        let entries = match fs::read_dir(&folder) {
            // Who vacuums removes empty folders.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            entries => entries.with_context(context)?,
        };
        for entry in entries {
            let entry = entry.with_context(context)?;
            let kind = entry.file_type().with_context(context)?;
            if kind.is_dir() && entry.file_name().to_string_lossy().contains('=') {
                folders.push(entry.path());
            } else if kind.is_file() && folder != table {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
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
        // On a disk that is full it would take the room that is made next.
        remove_if_there(&temporary)?;
        Err(error).with_context(|| format!("cannot write {}", temporary.display()))
    })?;
    Ok(temporary)
}

fn sync_parent(path: &Path) -> Result<()> {
    match path.parent() {
        // The parent of a relative path of one part.
        Some(parent) if parent.as_os_str().is_empty() => sync_folder(Path::new(".")),
        Some(parent) => sync_folder(parent),
        None => Ok(()),
    }
}
