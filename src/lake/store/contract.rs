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
    /// Whether it is a folder.
    pub is_folder: bool,
    /// How many keys the object has: see [`Store::link`].
    pub names: u64,
}

/// A store of objects by key. A key is relative to the store, and has parts divided by `/`; the
/// empty key is the store itself. A folder is what the keys below it begin with: a store without
/// folders has nothing to do for one.
///
/// Every operation fails if the store does; an [`anyhow::Error`] names what was tried. The cause of
/// an error is an [`io::Error`]: of the kind `NotFound` for a missing object, and `StorageFull` or
/// `QuotaExceeded` for a full store, because a run waits then instead of ending.
pub trait Store: Send + Sync {
    /// `key` as people know it: as a path or a URL.
    fn shown(&self, key: &str) -> String;

    /// The URL of the folder `key`, by which the Delta kernel knows it.
    fn url(&self, key: &str) -> Result<Url>;

    /// The key of the object at `url`; `None` if it lies outside of the store.
    fn key_of(&self, url: &Url) -> Option<String>;

    /// The engine by which the kernel reads and writes the log: it puts each entry if that is
    /// absent, durably. It owns threads, so it must not be dropped inside an async task.
    fn engine(&self) -> Result<Arc<dyn Engine>>;

    /// The folder `key`, which must exist, as a store of its own, under its true name if it has
    /// several.
    fn resolved(&self, key: &str) -> io::Result<Arc<dyn Store>>;

    /// A sentence with advice if the folder `key` belongs to another user than this process's.
    fn foreign_owner(&self, key: &str) -> Option<String>;

    /// What there is under `key`; `None` if there is nothing.
    fn about(&self, key: &str) -> io::Result<Option<About>>;

    /// The content of the object `key`.
    fn read(&self, key: &str) -> Result<Vec<u8>>;

    /// The content of the object `key`; `None` if there is none.
    fn read_if_there(&self, key: &str) -> io::Result<Option<Vec<u8>>>;

    /// Opens the object `key`, to read parts of it.
    fn open(&self, key: &str) -> io::Result<Object>;

    /// The last parts of the keys in the folder `key`, sorted. Names that are not UTF-8 are left
    /// out, here and in [`Store::partitions`], because no code here creates any.
    fn names(&self, key: &str) -> Result<Vec<String>>;

    /// Calls `visit` with each folder `date=…/hour=…` below the folder `key` that has objects, and
    /// the sorted keys of these. Fails if `visit` does.
    fn partitions(&self, key: &str, visit: &mut dyn FnMut(&str, Vec<String>) -> Result<()>) -> Result<()>;

    /// Makes the folder `key`, durably, unless it exists.
    fn create_folder(&self, key: &str) -> Result<()>;

    /// Begins the object `key`, which must not exist.
    fn create(&self, key: &str) -> io::Result<Box<dyn Draft>>;

    /// Creates objects, which must not exist, in the folder `key`: all of them, or none if one
    /// fails. Their content is durable when this returns, and their names after
    /// [`Store::sync_names`].
    fn put_all(&self, key: &str, objects: &[(String, &[u8])]) -> Result<()>;

    /// Creates the object `key` with `content`, complete and durable, or not at all. Returns false
    /// if the key was already taken: of all that put one key, one gets true. After an error it may
    /// be there.
    fn put_if_absent(&self, key: &str, content: &[u8]) -> Result<bool>;

    /// Writes `content` to `key`, durably, and replaces a previous object there at once.
    fn replace(&self, key: &str, content: &[u8]) -> Result<()>;

    /// Makes the names of the objects in the folder `key` durable.
    fn sync_names(&self, key: &str) -> Result<()>;

    /// Moves objects below the folder `key`, each from its first to its second name, one after the
    /// other, and makes all of it durable. One that was moved before is left alone, so publishing is
    /// idempotent. Calls `between` between two objects, and fails if that does.
    fn publish(&self, key: &str, moves: &[(&str, &str)], between: &mut dyn FnMut() -> io::Result<()>) -> Result<()>;

    /// Moves the folder `key` to the key `to`, durably, and replaces one there. The object `last` in
    /// it says that it is complete: it is the last that appears, and the first that is replaced.
    fn publish_folder(&self, key: &str, to: &str, last: &str) -> Result<()>;

    /// Gives the object `key` the further key `to`. Returns false if it had that key already, and
    /// fails if `to` is another object. Only for stores whose readers find objects by name, like
    /// [`Store::touch`].
    fn link(&self, key: &str, to: &str) -> Result<bool>;

    /// Makes the object `key` look new: other tools delete an unknown one only if it is old.
    fn touch(&self, key: &str) -> Result<()>;

    /// Deletes the object `key`, if it exists.
    fn remove(&self, key: &str) -> Result<()>;

    /// Deletes the folder `key` with all its objects.
    fn remove_folder(&self, key: &str) -> Result<()>;

    /// Removes the folder `key`, and those above it, as far as they are empty. One that cannot be
    /// removed stays, which does no harm.
    fn prune(&self, key: &str);

    /// Opens the lease `key`, and creates it if it does not exist. Leases are never deleted:
    /// otherwise two processes could hold two of the same key.
    fn lease(&self, key: &str) -> io::Result<Box<dyn Lease>>;
}

/// What at most one process holds, with a record. It is released when it is dropped, or its process
/// ends in whatever way.
pub trait Lease: Send {
    /// Takes the lease. Returns false if another process, or another [`Lease`] of this process,
    /// holds it, and fails if the store does not support leases.
    fn try_take(&self) -> io::Result<bool>;

    /// The first `bytes_max` bytes of the record, whoever has written it.
    fn record(&self, bytes_max: usize) -> io::Result<Vec<u8>>;

    /// Overwrites the record. A reader that comes meanwhile may find none.
    fn write(&self, record: &[u8]) -> io::Result<()>;
}
