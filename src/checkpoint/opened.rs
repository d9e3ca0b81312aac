//! Opens checkpoints, and finds the newest usable one of a lake.

use super::manifest::Manifest;
use crate::lake::MERGED;
use crate::lake::Snapshot;
use crate::lake::store::Place;
use crate::source::lake::Counted;
use anyhow::{Context, Result, bail, ensure};
use reprise_dataflows::Tally;
use reprise_dataflows::names::catalogue::Naming;
use reprise_dataflows::rules::plan::translation::{CountedBy, Translation};
use reprise_dataflows::rules::plan::{Key, Plan};
use std::collections::HashSet;
use std::sync::Arc;

/// The name of the folder of checkpoints in a lake.
pub const FOLDER: &str = "_checkpoints";

/// The prefix of a checkpoint's folder name; the version follows with leading zeros.
pub(super) const PREFIX: &str = "checkpoint-";

/// A usable checkpoint: undamaged, of this lake, and with all keys that the charts need.
pub struct Checkpoint {
    /// The folder of the checkpoint.
    pub(super) folder: Place,
    /// Its manifest.
    pub manifest: Manifest,
    /// The keys of its tallies, by index.
    pub(super) keys: Vec<Key>,
    /// The keys of the plan that each key of the checkpoint adds to, by index.
    translated: Vec<Vec<Key>>,
    files: Vec<String>,
}

/// The folder of the checkpoints of `lake`.
pub fn folder(lake: &Place) -> Place {
    lake.join(FOLDER)
}

/// The newest checkpoint from which the charts of `plan` can be rebuilt up to `snapshot`. Logs a
/// warning for checkpoints that cannot be read, and a notice for those that lack keys. `None` means
/// that the whole lake is to be read.
pub fn newest(lake: &Place, snapshot: &Snapshot, plan: &Plan) -> Option<Checkpoint> {
    let listed = list(lake).unwrap_or_else(|error| {
        tracing::warn!("no checkpoint is used, and the lake is read instead: {error:#}");
        Vec::new()
    });
    for (version, folder) in listed.into_iter().rev() {
        if version > snapshot.version() {
            continue;
        }
        match Checkpoint::open(&folder, snapshot) {
            Err(error) => {
                tracing::warn!(
                    checkpoint = %folder,
                    "a checkpoint is not used, and the lake is read instead: {error:#}; it can be deleted"
                );
            }
            Ok(checkpoint) => match plan.translation(&checkpoint.manifest.counted_by) {
                Ok(translation) => return Some(checkpoint.translate(&translation)),
                Err(lacks) => {
                    tracing::info!(
                        checkpoint = %folder,
                        "the checkpoint was made for other charts and does not count {}: reading the lake instead",
                        described(&lacks)
                    );
                }
            },
        }
    }
    None
}

/// The checkpoint of `version`, which another process of the cluster has found usable for `plan`.
///
/// # Errors
/// If it is missing here, damaged, or lacks keys that `plan` needs.
pub fn of_version(lake: &Place, version: u64, snapshot: &Snapshot, plan: &Plan) -> Result<Checkpoint> {
    let found = list(lake)?.into_iter().find(|(of, _)| *of == version);
    let (_, folder) = found.with_context(|| format!("there is no checkpoint of version {version} in {lake}"))?;
    let checkpoint =
        Checkpoint::open(&folder, snapshot).with_context(|| format!("the checkpoint {folder} cannot be used"))?;
    match plan.translation(&checkpoint.manifest.counted_by) {
        Ok(translation) => Ok(checkpoint.translate(&translation)),
        Err(lacks) => bail!("the checkpoint {folder} does not count {}", described(&lacks)),
    }
}

/// The checkpoints of `lake` by version, oldest first. They may be damaged.
///
/// # Errors
/// If the folder cannot be listed.
pub(super) fn list(lake: &Place) -> Result<Vec<(u64, Place)>> {
    let folder = folder(lake);
    if !folder.is_folder() {
        return Ok(Vec::new());
    }
    let names = folder.names()?;
    let version = |name: &String| Some((name.strip_prefix(PREFIX)?.parse().ok()?, folder.join(name)));
    let mut found: Vec<_> = names.iter().filter_map(version).collect();
    found.sort();
    Ok(found)
}

fn described(counted_by: &CountedBy) -> String {
    let by: String = counted_by.dimensions.iter().map(|dimension| format!(" by {}", dimension.name())).collect();
    let zone = counted_by.zone.as_deref().unwrap_or("UTC");
    let periods: Vec<String> = counted_by.periods.iter().map(|(period, _)| format!("{period:?}")).collect();
    format!(
        "{:?}s of plays that are {:?}{by}, in periods [{}] of {zone}",
        counted_by.item,
        counted_by.eligible,
        periods.join(", ")
    )
    .to_lowercase()
}

impl Checkpoint {
    /// Opens the checkpoint in `folder`. Checks every byte of it, and that it was made from the
    /// lake of `snapshot`.
    ///
    /// # Errors
    /// If it is damaged, cannot be read, or was made from another lake.
    pub(super) fn open(folder: &Place, snapshot: &Snapshot) -> Result<Self> {
        let manifest = Manifest::read(folder)?;
        let progress = snapshot.progress();
        ensure!(
            manifest.topic.as_deref() == snapshot.topic() && manifest.cluster_id.as_deref() == snapshot.cluster_id(),
            "it was made from another lake"
        );
        // Partitions that were added since are not in it, and all their plays are new.
        let is_same = |(partition, start): (&i32, &i64)| progress.starts.get(partition) == Some(start);
        ensure!(manifest.starts.iter().all(is_same), "it was made from a lake that began at other offsets");
        for (partition, next) in &manifest.offsets {
            if progress.offsets.get(partition).is_none_or(|reached| reached < next) {
                bail!("it holds offsets of partition {partition} that the lake does not have");
            }
        }
        let keys: Vec<Key> = manifest.json(folder, &manifest.keys, super::manifest::KEYS)?;
        let files: Vec<String> = manifest.json(folder, &manifest.files, super::manifest::FILES)?;
        manifest.check_buckets(folder)?;
        Ok(Self { folder: folder.clone(), manifest, keys, translated: Vec::new(), files })
    }

    fn translate(mut self, translation: &Translation) -> Self {
        self.translated = self.keys.iter().map(|key| translation.keys(key)).collect();
        self
    }

    /// The files and offsets that it has counted and that a reader of `snapshot` omits.
    pub fn counted(&self, snapshot: &Snapshot) -> Arc<Counted> {
        // A merged file is published under another name, with the same plays.
        let published = self.files.iter().filter_map(|path| path.strip_prefix(MERGED)?.strip_prefix('/'));
        let names: HashSet<&str> = self.files.iter().map(String::as_str).chain(published).collect();
        let files = snapshot.files().iter().map(|file| &file.place);
        let files = files.filter(|place| names.contains(place.key())).cloned().collect();
        Arc::new(Counted { files, offsets: self.manifest.offsets.clone() })
    }

    /// The tallies of a bucket in batches, by the keys of the plan.
    ///
    /// # Errors
    /// If the bucket cannot be read.
    pub fn tallies(self: &Arc<Self>, bucket: usize) -> Result<impl Iterator<Item = Result<Vec<(Tally, i64)>>> + use<>> {
        let this = self.clone();
        let pieces = super::bucket::Tallies::open(&self.folder, bucket)?;
        Ok(pieces.map(move |piece| {
            let mut tallies = Vec::new();
            for (key, item, plays) in piece? {
                let keys = this.translated.get(key as usize).context("a checkpoint counts by a key that it lacks")?;
                tallies.extend(keys.iter().map(|key| ((key.clone(), item), plays)));
            }
            Ok(tallies)
        }))
    }

    /// The names of a bucket's items, in batches.
    ///
    /// # Errors
    /// If the bucket cannot be read.
    pub fn namings(&self, bucket: usize) -> Result<impl Iterator<Item = Result<Vec<Naming>>> + use<>> {
        super::bucket::Names::open(&self.folder, bucket)
    }
}
