//! A check that every process of a cluster sees the same files in a version of the lake: each
//! derives its share of the files from the list.

use std::hash::Hasher;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use twox_hash::XxHash64;

use crate::lake::Snapshot;
use crate::lake::store::Place;

/// A version of a lake, and a digest of its files that tells whether two processes see the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    version: u64,
    files: usize,
    /// XxHash64 of the names and sizes of the files.
    digest: u64,
}

impl View {
    /// The view of a snapshot.
    pub fn of(snapshot: &Snapshot) -> Self {
        let mut digest = XxHash64::default();
        for file in snapshot.files() {
            digest.write(format!("{} {}\n", file.place.key(), file.size_bytes).as_bytes());
        }
        Self { version: snapshot.version(), files: snapshot.files().len(), digest: digest.finish() }
    }

    /// Opens the same version of `lake` in this process.
    ///
    /// # Errors
    /// If this process does not see that version, or sees other files in it.
    pub fn open(&self, lake: &Place) -> Result<Snapshot> {
        let version = self.version;
        let seen = Snapshot::open(lake, Some(version)).with_context(|| {
            format!("this process does not see version {version} of the lake {lake}, which process 0 has; do both see the same folder?")
        })?;
        let ours = Self::of(&seen);
        ensure!(
            ours == *self,
            "version {version} of the lake {lake} has {} files here, and {} at process 0, or they differ: do both see the \
             same folder?",
            ours.files,
            self.files
        );
        Ok(seen)
    }
}
