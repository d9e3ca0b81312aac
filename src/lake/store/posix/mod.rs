//! A store in a folder of a file system with hard links, atomic renames and, for leases, locks.
//!
//! A rename or a new file survives a power failure only after its *folder* has been synced, so each
//! operation here does both. Folders are what readers by name see, so empty ones are removed, and
//! made again when they are needed.

mod names;

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{Context, Result, anyhow, bail};
use delta_kernel::Engine;
use delta_kernel::object_store::local::LocalFileSystem;
use delta_kernel_default_engine::DefaultEngineBuilder;
use delta_kernel_default_engine::executor::tokio::TokioMultiThreadExecutor;
use url::Url;

use names::{
    create_folder, remove_if_there, rename, sync_all, sync_folder, sync_folders, sync_parent, unless_missing,
    write_temporary,
};

use super::contract::{About, Lease, Store};
use super::object::{Draft, Object, ReadAt};
use super::owner;

/// The folder of a lake, or of one of its tables.
pub struct Posix {
    root: PathBuf,
}

impl Posix {
    /// The store in the folder `root`, an absolute path. It need not exist.
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    fn path(&self, key: &str) -> PathBuf {
        if key.is_empty() { self.root.clone() } else { self.root.join(key) }
    }
}

impl Store for Posix {
    fn shown(&self, key: &str) -> String {
        self.path(key).display().to_string()
    }

    fn url(&self, key: &str) -> Result<Url> {
        Url::from_directory_path(self.path(key)).map_err(|()| anyhow!("{} is not an absolute path", self.shown(key)))
    }

    fn key_of(&self, url: &Url) -> Option<String> {
        let path = url.to_file_path().ok()?;
        let parts = path.strip_prefix(&self.root).ok()?.components().map(|part| match part {
            Component::Normal(part) => part.to_str(),
            _ => None,
        });
        Some(parts.collect::<Option<Vec<_>>>()?.join("/"))
    }

    /// The kernel's default executor has one thread, on which writing a checkpoint hangs for ever,
    /// and its default store does not sync.
    fn engine(&self) -> Result<Arc<dyn Engine>> {
        let executor = TokioMultiThreadExecutor::new_owned_runtime(Some(2), Some(4)).context("cannot start threads")?;
        let store = Arc::new(LocalFileSystem::new().with_fsync(true));
        Ok(Arc::new(DefaultEngineBuilder::new(store).with_task_executor(Arc::new(executor)).build()))
    }

    fn resolved(&self, key: &str) -> io::Result<Arc<dyn Store>> {
        Ok(Arc::new(Self::new(self.path(key).canonicalize()?)))
    }

    fn foreign_owner(&self, key: &str) -> Option<String> {
        owner::foreign(&self.path(key))
    }

    fn about(&self, key: &str) -> io::Result<Option<About>> {
        let Some(metadata) = unless_missing(fs::metadata(self.path(key)))? else { return Ok(None) };
        let (size_bytes, modified) = (metadata.len(), metadata.modified()?);
        Ok(Some(About { size_bytes, modified, is_folder: metadata.is_dir(), names: metadata.nlink() }))
    }

    fn read(&self, key: &str) -> Result<Vec<u8>> {
        fs::read(self.path(key)).with_context(|| format!("cannot read {}", self.shown(key)))
    }

    fn read_if_there(&self, key: &str) -> io::Result<Option<Vec<u8>>> {
        unless_missing(fs::read(self.path(key)))
    }

    fn open(&self, key: &str) -> io::Result<Object> {
        Object::new(File::open(self.path(key))?)
    }

    fn names(&self, key: &str) -> Result<Vec<String>> {
        let context = || format!("cannot list the folder {}", self.shown(key));
        let mut names = Vec::new();
        for entry in fs::read_dir(self.path(key)).with_context(context)? {
            names.extend(entry.with_context(context)?.file_name().into_string());
        }
        names.sort();
        Ok(names)
    }

    /// Links are not followed.
    fn partitions(&self, key: &str, visit: &mut dyn FnMut(&str, Vec<String>) -> Result<()>) -> Result<()> {
        let mut folders = vec![key.to_owned()];
        while let Some(folder) = folders.pop() {
            let context = || format!("cannot list the folder {}", self.shown(&folder));
            // A concurrent vacuum removes empty folders.
            let entries = unless_missing(fs::read_dir(self.path(&folder))).with_context(context)?;
            let mut files = Vec::new();
            for entry in entries.into_iter().flatten() {
                let entry = entry.with_context(context)?;
                let kind = entry.file_type().with_context(context)?;
                let Ok(name) = entry.file_name().into_string() else { continue };
                let key_of_entry = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
                if kind.is_dir() && name.contains('=') {
                    folders.push(key_of_entry);
                } else if kind.is_file() && folder != key {
                    files.push(key_of_entry);
                }
            }
            if !files.is_empty() {
                files.sort();
                visit(&folder, files)?;
            }
        }
        Ok(())
    }

    fn create_folder(&self, key: &str) -> Result<()> {
        create_folder(&self.path(key))
    }

    fn create(&self, key: &str) -> io::Result<Box<dyn Draft>> {
        Ok(Box::new(OpenOptions::new().read(true).write(true).create_new(true).open(self.path(key))?))
    }

    /// The files are synced together.
    fn put_all(&self, key: &str, objects: &[(String, &[u8])]) -> Result<()> {
        let folder = self.path(key);
        let (mut made, mut open) = (Vec::new(), Vec::new());
        let mut put = || {
            for (name, content) in objects {
                let path = folder.join(name);
                let created = OpenOptions::new().write(true).create_new(true).open(&path);
                let mut file = created.with_context(|| format!("cannot create {}", path.display()))?;
                made.push(path.clone());
                file.write_all(content).with_context(|| format!("cannot write {}", path.display()))?;
                open.push(file);
            }
            sync_all(&open).with_context(|| format!("cannot sync files in {}", folder.display()))
        };
        if let Err(error) = put() {
            made.iter().try_for_each(|path| remove_if_there(path))?;
            return Err(error);
        }
        Ok(())
    }

    fn put_if_absent(&self, key: &str, content: &[u8]) -> Result<bool> {
        let path = self.path(key);
        let temporary = write_temporary(&path, content)?;
        let linked = fs::hard_link(&temporary, &path);
        fs::remove_file(&temporary).with_context(|| format!("cannot remove {}", temporary.display()))?;
        match linked {
            Ok(()) => sync_parent(&path).map(|()| true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error).with_context(|| {
                format!("cannot create {}: does the file system of the lake have hard links?", path.display())
            }),
        }
    }

    fn replace(&self, key: &str, content: &[u8]) -> Result<()> {
        let path = self.path(key);
        let temporary = write_temporary(&path, content)?;
        fs::rename(&temporary, &path)
            .with_context(|| format!("cannot rename {} to {}", temporary.display(), path.display()))?;
        sync_parent(&path)
    }

    fn sync_names(&self, key: &str) -> Result<()> {
        sync_folder(&self.path(key))
    }

    fn publish(&self, key: &str, moves: &[(&str, &str)], between: &mut dyn FnMut() -> io::Result<()>) -> Result<()> {
        let (folder, mut folders) = (self.path(key), BTreeSet::new());
        for (index, (from, to)) in moves.iter().enumerate() {
            if index > 0 {
                between()?;
            }
            let to = folder.join(to);
            rename(&folder.join(from), &to)?;
            // The parent folders are synced even if they existed before: the process that created
            // them may have died before it synced them.
            let above = to.ancestors().skip(1).take_while(|above| above.starts_with(&folder));
            folders.extend(above.map(Path::to_path_buf));
        }
        sync_folders(&folders)
    }

    fn publish_folder(&self, key: &str, to: &str, last: &str) -> Result<()> {
        let [from, to] = [key, to].map(|key| self.path(key));
        if to.exists() {
            remove_if_there(&to.join(last))?;
            fs::remove_dir_all(&to).with_context(|| format!("cannot remove {}", to.display()))?;
        }
        fs::rename(&from, &to).with_context(|| format!("cannot rename {}", from.display()))?;
        sync_parent(&to)
    }

    fn link(&self, key: &str, to: &str) -> Result<bool> {
        let [from, to] = [key, to].map(|key| self.path(key));
        let context = || format!("cannot link {} as {}", from.display(), to.display());
        // A vacuum may have removed the empty folder.
        to.parent().map_or(Ok(()), create_folder).with_context(context)?;
        match fs::hard_link(&from, &to) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                let [from_file, to_file] = [&from, &to].map(|path| fs::metadata(path).with_context(context));
                let (from_file, to_file) = (from_file?, to_file?);
                if (from_file.dev(), from_file.ino()) != (to_file.dev(), to_file.ino()) {
                    bail!("{} is another file than {}", to.display(), from.display());
                }
                Ok(false)
            }
            linked => linked.map(|()| true).with_context(context),
        }
    }

    fn touch(&self, key: &str) -> Result<()> {
        let touched = File::open(self.path(key)).and_then(|file| file.set_modified(SystemTime::now()));
        touched.with_context(|| format!("cannot change the time of {}", self.shown(key)))
    }

    fn remove(&self, key: &str) -> Result<()> {
        remove_if_there(&self.path(key))
    }

    fn remove_folder(&self, key: &str) -> Result<()> {
        fs::remove_dir_all(self.path(key)).with_context(|| format!("cannot remove {}", self.shown(key)))
    }

    fn prune(&self, key: &str) {
        let folder = self.path(key);
        let mut above = folder.ancestors().take_while(|above| above.starts_with(&self.root) && **above != self.root);
        while above.next().is_some_and(|above| fs::remove_dir(above).is_ok()) {}
    }

    fn lease(&self, key: &str) -> io::Result<Box<dyn Lease>> {
        let opened = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(self.path(key))?;
        Ok(Box::new(opened))
    }
}

impl ReadAt for File {
    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn fill(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        self.read_exact_at(bytes, at)
    }
}

impl Draft for File {
    fn overwrite(&mut self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.write_all_at(bytes, at)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_all()
    }
}

/// An operating system lock on a file, and the content of the file. The content is overwritten in
/// place, because the lock belongs to the file, not to its name.
impl Lease for File {
    fn try_take(&self) -> io::Result<bool> {
        match self.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn record(&self, bytes_max: usize) -> io::Result<Vec<u8>> {
        let mut record = vec![0; bytes_max];
        let length = self.read_at(&mut record, 0)?;
        record.truncate(length);
        Ok(record)
    }

    fn write(&self, record: &[u8]) -> io::Result<()> {
        self.set_len(0)?;
        self.write_all_at(record, 0)
    }
}
