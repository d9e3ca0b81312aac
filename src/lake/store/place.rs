//! A name in a store: of a lake, a table, a folder or an object.

use std::cmp::Ordering;
use std::fmt::{self, Debug, Display, Formatter};
use std::hash::{Hash, Hasher};
use std::io::{self, ErrorKind};
use std::sync::Arc;

use anyhow::{Context, Result};
use delta_kernel::Engine;
use url::Url;

use super::contract::{About, Lease, Store};
use super::object::{Draft, Object};

/// A key of a store. It is printed as people know it, and compared by its key, part by part: places
/// that are compared are of one store. Its operations are those of [`Store`]; where no other text
/// says it better, their errors name the place.
#[derive(Clone)]
pub struct Place {
    store: Arc<dyn Store>,
    /// Shared, because lists of files are copied and may have hundreds of thousands of entries.
    key: Arc<str>,
}

impl Place {
    /// The whole of `store`.
    pub fn of(store: Arc<dyn Store>) -> Self {
        Self { store, key: "".into() }
    }

    fn at(&self, key: &str) -> Self {
        Self { store: self.store.clone(), key: key.into() }
    }

    /// The place `name` in this folder.
    pub fn join(&self, name: &str) -> Self {
        if self.key.is_empty() { self.at(name) } else { self.at(&format!("{}/{name}", self.key)) }
    }

    /// The folder of this place.
    pub fn folder(&self) -> Self {
        self.at(self.key.rsplit_once('/').map_or("", |(folder, _)| folder))
    }

    /// The key: relative to the lake, or in the files of a table to the table.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The last part of the key.
    pub fn name(&self) -> &str {
        self.key.rsplit_once('/').map_or(&self.key, |(_, name)| name)
    }

    /// Whether it lies in `folder`, a key.
    pub fn is_in(&self, folder: &str) -> bool {
        self.key.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
    }

    /// See [`Store::resolved`].
    pub fn resolved(&self) -> io::Result<Self> {
        self.store.resolved(&self.key).map(Self::of)
    }

    /// See [`Store::url`].
    pub fn url(&self) -> Result<Url> {
        self.store.url()
    }

    /// The place of `url` in the same store; `None` if it lies outside.
    pub fn find(&self, url: &Url) -> Option<Self> {
        Some(self.at(&self.store.key_of(url)?))
    }

    /// See [`Store::engine`].
    pub fn engine(&self) -> Result<Arc<dyn Engine>> {
        self.store.engine()
    }

    /// See [`Store::foreign_owner`].
    pub fn foreign_owner(&self) -> Option<String> {
        self.store.foreign_owner()
    }

    /// What there is; `None` if there is nothing.
    pub fn about(&self) -> io::Result<Option<About>> {
        unless_missing(self.store.about(&self.key))
    }

    /// Whether there is anything, as far as this process may see.
    pub fn exists(&self) -> bool {
        self.store.about(&self.key).is_ok()
    }

    /// Whether there is a folder, as far as this process may see.
    pub fn is_folder(&self) -> bool {
        self.store.about(&self.key).is_ok_and(|about| about.is_folder)
    }

    /// See [`Store::read`].
    pub fn read(&self) -> Result<Vec<u8>> {
        self.store.read(&self.key).with_context(|| format!("cannot read {self}"))
    }

    /// The content of the object; `None` if there is none.
    pub fn read_if_there(&self) -> io::Result<Option<Vec<u8>>> {
        unless_missing(self.store.read(&self.key))
    }

    /// See [`Store::open`].
    pub fn open(&self) -> io::Result<Object> {
        self.store.open(&self.key)
    }

    /// See [`Store::names`].
    pub fn names(&self) -> Result<Vec<String>> {
        self.store.names(&self.key).with_context(|| format!("cannot list the folder {self}"))
    }

    /// See [`Store::partitions`].
    pub fn for_each_partition(&self, mut visit: impl FnMut(Self, Vec<Self>) -> Result<()>) -> Result<()> {
        let mut visit =
            |folder: &str, files: Vec<String>| visit(self.at(folder), files.iter().map(|file| self.at(file)).collect());
        self.store.partitions(&self.key, &mut visit)
    }

    /// All files of [`Place::for_each_partition`], sorted.
    pub fn partitioned_files(&self) -> Result<Vec<Self>> {
        let mut files = Vec::new();
        self.for_each_partition(|_, of_partition| {
            files.extend(of_partition);
            Ok(())
        })?;
        files.sort();
        Ok(files)
    }

    /// See [`Store::create_folder`].
    pub fn create_folder(&self) -> Result<()> {
        self.store.create_folder(&self.key)
    }

    /// See [`Store::create`].
    pub fn create(&self) -> io::Result<Box<dyn Draft>> {
        self.store.create(&self.key)
    }

    /// [`Store::put_all`], with keys below this place.
    pub fn put_all(&self, objects: &[(String, &[u8])]) -> Result<()> {
        let below = |(name, content): &(String, _)| (self.join(name).key.to_string(), *content);
        self.store.put_all(&objects.iter().map(below).collect::<Vec<_>>())
    }

    /// See [`Store::put_if_absent`].
    pub fn put_if_absent(&self, content: &[u8]) -> Result<bool> {
        self.store.put_if_absent(&self.key, content)
    }

    /// See [`Store::replace`].
    pub fn replace(&self, content: &[u8]) -> Result<()> {
        self.store.replace(&self.key, content)
    }

    /// See [`Store::sync_names`].
    pub fn sync_names(&self) -> Result<()> {
        self.store.sync_names(&self.key).with_context(|| format!("cannot sync the folder {self}"))
    }

    /// [`Store::publish`], with keys below this place.
    pub fn publish(&self, moves: &[(&str, &str)], between: &mut dyn FnMut() -> io::Result<()>) -> Result<()> {
        let below = |name: &str| self.join(name).key;
        let moves: Vec<_> = moves.iter().map(|(from, to)| (below(from), below(to))).collect();
        self.store.publish(&moves.iter().map(|(from, to)| (&**from, &**to)).collect::<Vec<_>>(), between)
    }

    /// See [`Store::publish_folder`].
    pub fn publish_folder(&self, to: &Self, last: &str) -> Result<()> {
        self.store.publish_folder(&self.key, &to.key, last)
    }

    /// See [`Store::link`].
    pub fn link(&self, to: &Self) -> Result<bool> {
        self.store.link(&self.key, &to.key)
    }

    /// See [`Store::remove`].
    pub fn remove(&self) -> Result<()> {
        self.store.remove(&self.key).with_context(|| format!("cannot remove {self}"))
    }

    /// See [`Store::remove_folder`].
    pub fn remove_folder(&self) -> Result<()> {
        self.store.remove_folder(&self.key).with_context(|| format!("cannot remove {self}"))
    }

    /// See [`Store::prune`].
    pub fn prune(&self) {
        self.store.prune(&self.key);
    }

    /// See [`Store::lease`].
    pub fn lease(&self) -> io::Result<Box<dyn Lease>> {
        self.store.lease(&self.key)
    }
}

#[cfg(test)]
impl Place {
    /// The folder or file that it is, for tests of lakes on disk.
    pub fn path(&self) -> std::path::PathBuf {
        self.to_string().into()
    }
}

fn unless_missing<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        found => found.map(Some),
    }
}

impl Display for Place {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.store.shown(&self.key))
    }
}

impl Debug for Place {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        Debug::fmt(&self.store.shown(&self.key), formatter)
    }
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Place {}

impl Hash for Place {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Place {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key.split('/').cmp(other.key.split('/'))
    }
}
