//! One process cares for a lake at a time, by a lock of the operating system: it ends with its process, however that dies.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result};

use crate::lake::disk::{self, STAGING};
use crate::lake::table::PLAYS;

const NAME: &str = "care.lock";

/// Held by the process that cares for a lake, until it is dropped.
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of `lake`, unless another process, or another thread of this one, has it.
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
