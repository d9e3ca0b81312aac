//! A name in a store: of a lake, a table, a folder or an object.

use std::cmp::Ordering;
use std::fmt::{self, Debug, Display, Formatter};
use std::hash::{Hash, Hasher};
use std::io;
use std::sync::Arc;

use anyhow::Result;
use delta_kernel::Engine;
use url::Url;

use super::contract::{About, Lease, Store};
use super::object::{Draft, Object};

/// A key of a store. It is printed as people know it, and compared by its key, part by part: places
/// that are compared are of one store.
#[derive(Clone)]
pub struct Place {
    store: Arc<dyn Store>,
    /// Shared, because lists of files are copied and may have hundreds of thousands of entries.
    key: Arc<str>,
}

/// Calls the operations of [`Store`] with the key of a place.
macro_rules! operations {
    ($($name:ident($($argument:ident: $type:ty),*) $(-> $result:ty)?;)*) => {
        impl Place {
            $(
                #[doc = concat!("See [`Store::", stringify!($name), "`].")]
                pub fn $name(&self, $($argument: $type),*) $(-> $result)? {
                    self.store.$name(&self.key, $($argument),*)
                }
            )*
        }
    };
}

operations! {
    url() -> Result<Url>;
    foreign_owner() -> Option<String>;
    about() -> io::Result<Option<About>>;
    read() -> Result<Vec<u8>>;
    read_if_there() -> io::Result<Option<Vec<u8>>>;
    open() -> io::Result<Object>;
    names() -> Result<Vec<String>>;
    create_folder() -> Result<()>;
    create() -> io::Result<Box<dyn Draft>>;
    put_all(objects: &[(String, &[u8])]) -> Result<()>;
    put_if_absent(content: &[u8]) -> Result<bool>;
    replace(content: &[u8]) -> Result<()>;
    sync_names() -> Result<()>;
    publish(moves: &[(&str, &str)], between: &mut dyn FnMut() -> io::Result<()>) -> Result<()>;
    publish_folder(to: &str, last: &str) -> Result<()>;
    link(to: &str) -> Result<bool>;
    touch() -> Result<()>;
    remove() -> Result<()>;
    remove_folder() -> Result<()>;
    prune();
    lease() -> io::Result<Box<dyn Lease>>;
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

    /// The key: of a file of a table relative to the table, else to the lake.
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

    /// See [`Store::engine`].
    pub fn engine(&self) -> Result<Arc<dyn Engine>> {
        self.store.engine()
    }

    /// The place of `url` in the same store; `None` if it lies outside.
    pub fn find(&self, url: &Url) -> Option<Self> {
        Some(self.at(&self.store.key_of(url)?))
    }

    /// Whether there is anything, as far as this process may see.
    pub fn exists(&self) -> bool {
        self.about().is_ok_and(|about| about.is_some())
    }

    /// Whether there is a folder, as far as this process may see.
    pub fn is_folder(&self) -> bool {
        self.about().is_ok_and(|about| about.is_some_and(|about| about.is_folder))
    }

    /// The size of the object; 0 if it is not known.
    pub fn size_or_zero(&self) -> u64 {
        self.about().ok().flatten().map_or(0, |about| about.size_bytes)
    }

    /// See [`Store::partitions`].
    pub fn for_each_partition(&self, mut visit: impl FnMut(Self, Vec<Self>) -> Result<()>) -> Result<()> {
        self.store.partitions(&self.key, &mut |folder, files| {
            visit(self.at(folder), files.iter().map(|file| self.at(file)).collect())
        })
    }
}

#[cfg(test)]
impl Place {
    /// The folder or file that it is, for tests of lakes on disk.
    pub fn path(&self) -> std::path::PathBuf {
        self.to_string().into()
    }

    /// All files of [`Place::for_each_partition`], sorted.
    pub fn partitioned_files(&self) -> Vec<Self> {
        let mut files = Vec::new();
        let listed = self.for_each_partition(|_, of_partition| {
            files.extend(of_partition);
            Ok(())
        });
        listed.unwrap();
        files.sort();
        files
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
