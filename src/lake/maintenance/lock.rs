//! One process at a time does the maintenance of a lake. It holds a lease, which is released when
//! the process ends, in whatever way.

use anyhow::{Context, Result};

use crate::lake::layout::STAGING;
use crate::lake::store::{Lease, Place};
use crate::lake::table::PLAYS;

const NAME: &str = "care.lock";

/// The maintenance lock of a lake, held until it is dropped.
pub struct Lock {
    _lease: Box<dyn Lease>,
}

impl Lock {
    /// Takes the lock of `lake`; `None` if another process, or another thread of this process,
    /// holds it.
    ///
    /// # Errors
    /// If there is no lake, or the file system does not support locks.
    pub fn take(lake: &Place) -> Result<Option<Self>> {
        crate::lake::snapshot::check_is_lake(lake)?;
        let folder = lake.join(PLAYS.folder).join(STAGING);
        folder.create_folder()?;
        let place = folder.join(NAME);
        let lease = place.lease().with_context(|| format!("cannot open {place}"))?;
        let is_ours = lease.try_take().with_context(|| format!("cannot lock {place}"))?;
        Ok(is_ours.then_some(Self { _lease: lease }))
    }
}
