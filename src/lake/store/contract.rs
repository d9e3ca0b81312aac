//! What a lake needs of the place where it is kept.

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Result;
use delta_kernel::Engine;
use url::Url;

use super::object::{Draft, Object};

/// What there is under a key.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// The size of an object.
    pub size_bytes: u64,
    /// When it was last written.
    pub modified: SystemTime,
    /// Whether it is a folder: a prefix of other keys.
    pub is_folder: bool,
    /// How many keys the object has: see [`Store::link`].
    pub names: u64,
}

/// A store of objects by key. A key is relative to the store, has parts divided by `/`, and never
/// begins with one; the empty key is the store itself. A folder is what the keys before it begin
/// with: a store without folders has nothing to do for one.
///
/// An error of a missing object is of the kind `NotFound`, and one of a full disk `StorageFull` or
/// `QuotaExceeded`, whatever wraps it: a run waits then, instead of ending.
pub trait Store: Send + Sync {
    /// `key` as people know it: as a path or a URL.
    fn shown(&self, key: &str) -> String;

    /// The URL by which the Delta kernel knows the store; it ends with a slash.
    ///
    /// # Errors
    /// If there is no URL for it.
    fn url(&self) -> Result<Url>;

    /// The key of the object at `url`; `None` if it lies outside of the store.
    fn key_of(&self, url: &Url) -> Option<String>;

    /// The engine by which the kernel reads and writes the log: it puts each entry if that is
    /// absent, durably. It owns threads, so it must not be dropped inside an async task.
    ///
    /// # Errors
    /// If its threads cannot be started.
    fn engine(&self) -> Result<Arc<dyn Engine>>;

    /// The folder `key`, which must exist, as a store of its own, under its true name if there are
    /// several.
    fn resolved(&self, key: &str) -> io::Result<Arc<dyn Store>>;

    /// A sentence with advice if the store belongs to another user than this process's.
    fn foreign_owner(&self) -> Option<String>;

    /// What there is under `key`.
    fn about(&self, key: &str) -> io::Result<About>;

    /// The content of the object `key`.
    fn read(&self, key: &str) -> io::Result<Vec<u8>>;

    /// Opens the object `key`, to read parts of it.
    fn open(&self, key: &str) -> io::Result<Object>;

    /// The last parts of the keys in the folder `key`, sorted. Names that are not UTF-8 are left
    /// out, here and in [`Store::partitions`], because no code here creates any.
    fn names(&self, key: &str) -> io::Result<Vec<String>>;

    /// Calls `visit` with each folder `date=…/hour=…` below the folder `key` that has objects, and
    /// the sorted keys of these.
    ///
    /// # Errors
    /// If a folder cannot be listed, and those of `visit`.
    fn partitions(&self, key: &str, visit: &mut dyn FnMut(&str, Vec<String>) -> Result<()>) -> Result<()>;

    /// Makes the folder `key`, durably, unless it exists.
    ///
    /// # Errors
    /// If it cannot be made.
    fn create_folder(&self, key: &str) -> Result<()>;

    /// Begins the object `key`, which must not exist.
    fn create(&self, key: &str) -> io::Result<Box<dyn Draft>>;

    /// Creates objects, which must not exist, in one folder. Their content is durable when this
    /// returns, and their names after [`Store::sync_names`].
    ///
    /// # Errors
    /// If one of them cannot be written. None is left behind.
    fn put_all(&self, objects: &[(String, &[u8])]) -> Result<()>;

    /// Creates the object `key` with `content`, complete and durable, or not at all. Returns false
    /// if the key was already taken: of several processes that put one key, one gets true.
    ///
    /// # Errors
    /// If it cannot be written. It may be there nevertheless.
    fn put_if_absent(&self, key: &str, content: &[u8]) -> Result<bool>;

    /// Writes `content` to `key`, durably, and replaces a previous object there at once.
    ///
    /// # Errors
    /// If it cannot be written. The previous object is there then, or the new one.
    fn replace(&self, key: &str, content: &[u8]) -> Result<()>;

    /// Makes the names of the objects in the folder `key` durable.
    fn sync_names(&self, key: &str) -> io::Result<()>;

    /// Moves each object from its first to its second key, one after the other, and makes all of it
    /// durable. An object that has been moved before is left alone. Calls `between` between two
    /// objects.
    ///
    /// # Errors
    /// If an object has neither key, if the store fails, and those of `between`.
    fn publish(&self, moves: &[(&str, &str)], between: &mut dyn FnMut() -> io::Result<()>) -> Result<()>;

    /// Moves the folder `from` to `to`, durably, and replaces one there. The object `last` says that
    /// the folder is complete: it is the last one that appears, and the first one that is replaced.
    ///
    /// # Errors
    /// If the store fails.
    fn publish_folder(&self, from: &str, to: &str, last: &str) -> Result<()>;

    /// Gives the object `from` the further key `to`, and makes it look new, because other tools
    /// delete an unknown object if it is old. Returns false if it had that key already. Only for
    /// stores whose readers find objects by name.
    ///
    /// # Errors
    /// If `to` is another object, or the store fails.
    fn link(&self, from: &str, to: &str) -> Result<bool>;

    /// Deletes the object `key`, if it exists.
    fn remove(&self, key: &str) -> io::Result<()>;

    /// Deletes the folder `key` with all its objects.
    fn remove_folder(&self, key: &str) -> io::Result<()>;

    /// Removes the folder `key`, and those above it, as far as they are empty. One that cannot be
    /// removed stays, which does no harm.
    fn prune(&self, key: &str);

    /// Opens the lease `key`, and creates it if it does not exist. Leases are never deleted:
    /// otherwise two processes could hold two of the same key.
    fn lease(&self, key: &str) -> io::Result<Box<dyn Lease>>;
}

/// What at most one process holds, and a record in it. The lease of a process ends with it, in
/// whatever way, at the latest when this is dropped.
pub trait Lease: Send {
    /// Takes the lease. Returns false if another process, or another [`Lease`] of this process,
    /// holds it.
    ///
    /// # Errors
    /// If the store does not support leases.
    fn try_take(&self) -> io::Result<bool>;

    /// The first `bytes_max` bytes of the record, whoever has written it.
    fn record(&self, bytes_max: usize) -> io::Result<Vec<u8>>;

    /// Overwrites the record. A reader that comes meanwhile may find none.
    fn write(&self, record: &[u8]) -> io::Result<()>;
}
