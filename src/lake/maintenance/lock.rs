//! One process at a time does the maintenance of a lake. It holds an operating system lock, which
//! is released when the process ends, in whatever way.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result};

use crate::lake::disk::{self, STAGING};
use crate::lake::table::PLAYS;

const NAME: &str = "care.lock";

/// The maintenance lock of a lake, held until it is dropped.
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of `lake`; `None` if another process, or another thread of this process,
    /// holds it.
    ///
    /// # Errors
    /// If there is no lake, or the file system does not support locks.
    pub fn take(lake: &Path) -> Result<Option<Self>> {
        crate::lake::snapshot::check_is_lake(lake)?;
        let folder = lake.join(PLAYS.folder).join(STAGING);
        disk::create_folder(&folder)?;
        let path = folder.join(NAME);
        let file = disk::open_lock(&path)?;
        let is_ours = disk::try_lock(&file).with_context(|| format!("cannot lock {}", path.display()))?;
        Ok(is_ours.then_some(Self { _file: file }))
    }
}
