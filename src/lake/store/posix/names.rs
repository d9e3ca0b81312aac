//! Names that become durable: what the file system does not do by itself.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// How long a rename is retried while a vacuum keeps removing its target folder. A vacuum removes
/// each folder at most once.
const RENAME_MAX: Duration = Duration::from_secs(10);

/// How many files and folders are synced at once. A disk takes about as long for a few dozen as for
/// one: it flushes everything that it was given, and the file system's journal commits the syncs
/// together.
const SYNCED_AT_ONCE: usize = 16;

/// Syncs `files`, which may be folders, on several threads.
pub fn sync_all(files: &[File]) -> io::Result<()> {
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
            synced = synced.and(other.join().unwrap_or_else(|_| Err(io::Error::other("a thread has panicked"))));
        }
        synced
    })
}

/// Makes the names of the files in all `folders` durable.
pub fn sync_folders<'a>(folders: impl IntoIterator<Item = &'a PathBuf>) -> Result<()> {
    const OPEN_MAX: usize = 64;
    let mut folders = folders.into_iter().peekable();
    while let Some(first) = folders.peek().copied() {
        let open = folders.by_ref().take(OPEN_MAX).map(File::open).collect::<io::Result<Vec<_>>>();
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

/// Makes the name of `path`, which is absolute, durable.
pub fn sync_parent(path: &Path) -> Result<()> {
    path.parent().map_or(Ok(()), sync_folder)
}

/// Creates `folder` and its missing parents, durably.
pub fn create_folder(folder: &Path) -> Result<()> {
    let missing = folder.ancestors().take_while(|folder| !folder.is_dir()).collect::<Vec<_>>();
    fs::create_dir_all(folder).with_context(|| format!("cannot create the folder {}", folder.display()))?;
    missing.into_iter().try_for_each(sync_parent)
}

/// Renames `from` to `to`, unless that is done, and creates the parent folder. A vacuum removes
/// empty folders, and this one is empty until the rename, so both steps are repeated until they
/// succeed together.
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    let attempt = || {
        to.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::rename(from, to)
    };
    let began = Instant::now();
    let mut renamed = attempt();
    while let Err(error) = &renamed
        && matches!(error.kind(), ErrorKind::NotFound | ErrorKind::AlreadyExists)
        && from.exists()
        && began.elapsed() < RENAME_MAX
    {
        std::thread::sleep(Duration::from_millis(1));
        renamed = attempt();
    }
    match renamed {
        Err(error) if error.kind() == ErrorKind::NotFound && to.is_file() => Ok(()),
        renamed => renamed.with_context(|| format!("cannot rename {} to {}", from.display(), to.display())),
    }
}

/// Removes `path` if it exists.
pub fn remove_if_there(path: &Path) -> Result<()> {
    unless_missing(fs::remove_file(path)).map(drop).with_context(|| format!("cannot remove {}", path.display()))
}

/// What was `found`; `None` if there is nothing.
pub fn unless_missing<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        found => found.map(Some),
    }
}

/// Writes `content`, durably, to a new file beside `path`, and returns its path.
pub fn write_temporary(path: &Path, content: &[u8]) -> Result<PathBuf> {
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
