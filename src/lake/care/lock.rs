//! One process cares for a lake at a time, by a lock of the operating system: it ends with its process, however that dies.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

use anyhow::{Context, Result};

use crate::lake::disk::{self, STAGING};
use crate::lake::table::PLAYS;

const NAME: &str = "care.lock";

/// Held by who cares for a lake, until it is dropped.
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of `lake`, unless another process, or another thread of this one, has it. The file stays: to delete
    /// it would let two hold a lock of that name.
    pub fn take(lake: &Path) -> Result<Option<Self>> {
        crate::lake::snapshot::check_is_lake(lake)?;
        let folder = lake.join(PLAYS.folder).join(STAGING);
        disk::create_folder(&folder)?;
        let path = folder.join(NAME);
        let context = || format!("cannot lock {}", path.display());
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).with_context(context)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error).with_context(context),
        }
    }
}
