//! The manifest of a checkpoint: the version of the lake that it stands for, what it has counted,
//! and the digests of its files.

use std::collections::BTreeMap;
use std::fs;
use std::hash::Hasher;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use reprise_dataflows::rules::plan::translation::CountedBy;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use siphasher::sip128::{Hasher128, SipHasher13};

use super::bucket::{self, BUCKETS};
use crate::lake::disk;

/// The file name of the manifest.
pub const FILE: &str = "manifest.json";
/// The file name of the list of the lake's files that a checkpoint has counted.
pub const FILES: &str = "files.json";
/// The file name of the keys, which tallies reference by index. A key keeps its index in later
/// checkpoints.
pub const KEYS: &str = "keys.json";
/// The version of the format. Increase it when the meaning of the files changes.
pub const FORMAT: u32 = 2;
/// The maximum size: a manifest has a few KiB, and slightly more for each partition.
const BYTES_MAX: u64 = 64 << 20;

/// See the [module](self).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`] of the process that made it.
    pub format: u32,
    /// The topic of the lake.
    pub topic: Option<String>,
    /// The id of the lake's Kafka cluster.
    pub cluster_id: Option<String>,
    /// The version of the lake that it has counted.
    pub version: u64,
    /// The plays that it has counted, including those that are not eligible for any chart.
    pub plays: u64,
    /// The next offset of each Kafka partition.
    pub offsets: BTreeMap<i32, i64>,
    /// The first offset of each Kafka partition that was ever read.
    pub starts: BTreeMap<i32, i64>,
    /// The rules of each grouping, at the index that a key references.
    pub counted_by: Vec<Option<CountedBy>>,
    /// The file [`KEYS`].
    pub keys: Part,
    /// The file [`FILES`].
    pub files: Part,
    /// The files of tallies, by bucket.
    pub tallies: Vec<Part>,
    /// The files of names, by bucket.
    pub names: Vec<Part>,
}

/// The field that manifests of all formats have.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// The size and digest of a file of the checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    size_bytes: u64,
    /// SipHash-1-3 of the bytes, 128 bits with a zero key, in hex. It detects damage, not
    /// manipulation.
    digest: String,
}

impl Part {
    /// Describes the file at `path`.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn of(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Self { size_bytes: bytes.len() as u64, digest: digest(&bytes) })
    }

    /// The content of the file at `path`, checked by size and digest.
    fn read(&self, path: &Path) -> Result<Vec<u8>> {
        let size_bytes = fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?.len();
        ensure!(size_bytes == self.size_bytes, "{} has {size_bytes} bytes, not {}", path.display(), self.size_bytes);
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        ensure!(digest(&bytes) == self.digest, "{} is damaged: its digest does not match", path.display());
        Ok(bytes)
    }
}

impl Manifest {
    /// Reads the manifest of the checkpoint in `folder`. The file has the digest of the JSON, a
    /// line end, and the JSON.
    ///
    /// # Errors
    /// If it cannot be read, is damaged or has another format.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        let context = || format!("cannot read {}", path.display());
        ensure!(fs::metadata(&path).with_context(context)?.len() <= BYTES_MAX, "{} is too large", path.display());
        let bytes = fs::read(&path).with_context(context)?;
        let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
        let (claimed, json) = (&bytes[..end], bytes.get(end + 1..).unwrap_or_default());
        ensure!(claimed == digest(json).as_bytes(), "{} is damaged: its digest does not match", path.display());
        // The fields of other formats are unknown, so the format is parsed first.
        let Format { format } = serde_json::from_slice(json).with_context(context)?;
        if format != FORMAT {
            bail!("{} has the format {format}, but this version of reprise reads {FORMAT}", path.display());
        }
        let manifest: Self = serde_json::from_slice(json).with_context(context)?;
        ensure!(
            manifest.tallies.len() == BUCKETS && manifest.names.len() == BUCKETS,
            "{} lacks buckets",
            path.display()
        );
        Ok(manifest)
    }

    /// Writes the manifest into `folder`, durably.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let json = serde_json::to_string_pretty(self)?;
        disk::replace(&folder.join(FILE), format!("{}\n{json}", digest(json.as_bytes())).as_bytes())
    }

    /// The content of a JSON part in the file `name`.
    ///
    /// # Errors
    /// If it cannot be read or its digest differs.
    pub fn json<T: DeserializeOwned>(&self, folder: &Path, part: &Part, name: &str) -> Result<T> {
        let path = folder.join(name);
        serde_json::from_slice(&part.read(&path)?).with_context(|| format!("cannot read {}", path.display()))
    }

    /// Checks the digests of all buckets.
    ///
    /// # Errors
    /// Names the first file that cannot be read or is damaged.
    pub fn check_buckets(&self, folder: &Path) -> Result<()> {
        for bucket in 0..BUCKETS {
            self.tallies[bucket].read(&folder.join(bucket::tallies_file(bucket)))?;
            self.names[bucket].read(&folder.join(bucket::names_file(bucket)))?;
        }
        Ok(())
    }
}

fn digest(bytes: &[u8]) -> String {
    let mut hasher = SipHasher13::new();
    hasher.write(bytes);
    format!("{:032x}", hasher.finish128().as_u128())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_format_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let json = r#"{"format":1,"dimensions":[]}"#;
        fs::write(folder.path().join(FILE), format!("{}\n{json}", digest(json.as_bytes()))).unwrap();
        let message = Manifest::read(folder.path()).unwrap_err().to_string();
        assert!(message.contains("has the format 1"), "{message}");
    }
}
