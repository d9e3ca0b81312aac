//! What a checkpoint says of itself: the version of the lake that it stands for, what it counts, and the digest of each of
//! its files.

use std::collections::BTreeMap;
use std::fs;
use std::hash::Hasher;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use reprise_dataflows::rules::plan::CountedBy;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use siphasher::sip128::{Hasher128, SipHasher13};

use super::bucket::{self, BUCKETS};
use crate::lake::disk;

/// The manifest itself.
pub const FILE: &str = "manifest.json";
/// The files of the lake that are in a checkpoint.
pub const FILES: &str = "files.json";
/// The keys that tallies name by their numbers. Those of an earlier checkpoint keep theirs.
pub const KEYS: &str = "keys.json";
/// Raised when what is in the files changes its meaning.
pub const FORMAT: u32 = 2;
/// A manifest is a few KiB, and some more for each partition.
const BYTES_MAX: u64 = 64 << 20;

/// See the module.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    pub topic: Option<String>,
    pub cluster_id: Option<String>,
    /// Of the lake.
    pub version: u64,
    /// Plays that are counted in it, eligible for a chart or not.
    pub plays: u64,
    /// Of each Kafka partition the next offset, and the first that was ever read.
    pub offsets: BTreeMap<i32, i64>,
    pub starts: BTreeMap<i32, i64>,
    /// By the grouping that a key names.
    pub counted_by: Vec<Option<CountedBy>>,
    pub keys: Part,
    pub files: Part,
    pub tallies: Vec<Part>,
    pub names: Vec<Part>,
}

/// What a manifest of any format says.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// A file of the checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    size_bytes: u64,
    /// SipHash-1-3, 128 bits with a zero key, of its bytes. It finds damage, not malice.
    digest: String,
}

impl Part {
    /// Of the file at `path`.
    pub fn of(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Self { size_bytes: bytes.len() as u64, digest: digest(&bytes) })
    }

    /// The content of the file at `path`, which must be what it was.
    fn read(&self, path: &Path) -> Result<Vec<u8>> {
        let size_bytes = fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?.len();
        ensure!(size_bytes == self.size_bytes, "{} has {size_bytes} bytes, not {}", path.display(), self.size_bytes);
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        ensure!(digest(&bytes) == self.digest, "{} is damaged: its digest is another", path.display());
        Ok(bytes)
    }
}

impl Manifest {
    /// Reads the manifest of the checkpoint in `folder`: its own digest, a line end, and JSON.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        let context = || format!("cannot read {}", path.display());
        ensure!(fs::metadata(&path).with_context(context)?.len() <= BYTES_MAX, "{} is too large", path.display());
        let bytes = fs::read(&path).with_context(context)?;
        let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
        let (claimed, json) = (&bytes[..end], bytes.get(end + 1..).unwrap_or_default());
        ensure!(claimed == digest(json).as_bytes(), "{} is damaged: its digest is another", path.display());
        // Of another format nothing else is known.
        let Format { format } = serde_json::from_slice(json).with_context(context)?;
        if format != FORMAT {
            bail!("{} has the format {format}, and this reprise knows {FORMAT}", path.display());
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
    pub fn write(&self, folder: &Path) -> Result<()> {
        let json = serde_json::to_string_pretty(self)?;
        disk::replace(&folder.join(FILE), format!("{}\n{json}", digest(json.as_bytes())).as_bytes())
    }

    /// The content of a part that is JSON.
    pub fn json<T: DeserializeOwned>(&self, folder: &Path, part: &Part, name: &str) -> Result<T> {
        let path = folder.join(name);
        serde_json::from_slice(&part.read(&path)?).with_context(|| format!("cannot read {}", path.display()))
    }

    /// Looks at every byte of the buckets.
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
        let said = Manifest::read(folder.path()).unwrap_err().to_string();
        assert!(said.contains("has the format 1"), "{said}");
    }
}
