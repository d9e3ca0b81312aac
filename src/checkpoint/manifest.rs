//! The manifest of a checkpoint: the version of the lake that it stands for, what it has counted,
//! and the digests of its files.

use std::collections::BTreeMap;
use std::hash::Hasher;

use anyhow::{Context, Result, bail, ensure};
use reprise_dataflows::rules::plan::translation::CountedBy;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use siphasher::sip128::{Hasher128, SipHasher13};

use super::bucket::{self, BUCKETS};
use crate::lake::store::Place;

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
    /// Describes `file`.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn of(file: &Place) -> Result<Self> {
        let bytes = file.read()?;
        Ok(Self { size_bytes: bytes.len() as u64, digest: digest(&bytes) })
    }

    /// The content of `file`, checked by size and digest.
    fn read(&self, file: &Place) -> Result<Vec<u8>> {
        let size_bytes = size_of(file)?;
        ensure!(size_bytes == self.size_bytes, "{file} has {size_bytes} bytes, not {}", self.size_bytes);
        let bytes = file.read()?;
        ensure!(digest(&bytes) == self.digest, "{file} is damaged: its digest does not match");
        Ok(bytes)
    }
}

impl Manifest {
    /// Reads the manifest of the checkpoint in `folder`. The file has the digest of the JSON, a
    /// line end, and the JSON.
    ///
    /// # Errors
    /// If it cannot be read, is damaged or has another format.
    pub fn read(folder: &Place) -> Result<Self> {
        let file = folder.join(FILE);
        let context = || format!("cannot read {file}");
        ensure!(size_of(&file)? <= BYTES_MAX, "{file} is too large");
        let bytes = file.read()?;
        let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
        let (claimed, json) = (&bytes[..end], bytes.get(end + 1..).unwrap_or_default());
        ensure!(claimed == digest(json).as_bytes(), "{file} is damaged: its digest does not match");
        // The fields of other formats are unknown, so the format is parsed first.
        let Format { format } = serde_json::from_slice(json).with_context(context)?;
        if format != FORMAT {
            bail!("{file} has the format {format}, but this version of reprise reads {FORMAT}");
        }
        let manifest: Self = serde_json::from_slice(json).with_context(context)?;
        ensure!(manifest.tallies.len() == BUCKETS && manifest.names.len() == BUCKETS, "{file} lacks buckets");
        Ok(manifest)
    }

    /// Writes the manifest into `folder`, durably.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, folder: &Place) -> Result<()> {
        let json = serde_json::to_string_pretty(self)?;
        folder.join(FILE).replace(format!("{}\n{json}", digest(json.as_bytes())).as_bytes())
    }

    /// The content of a JSON part in the file `name`.
    ///
    /// # Errors
    /// If it cannot be read or its digest differs.
    pub fn json<T: DeserializeOwned>(&self, folder: &Place, part: &Part, name: &str) -> Result<T> {
        let file = folder.join(name);
        serde_json::from_slice(&part.read(&file)?).with_context(|| format!("cannot read {file}"))
    }

    /// Checks the digests of all buckets.
    ///
    /// # Errors
    /// Names the first file that cannot be read or is damaged.
    pub fn check_buckets(&self, folder: &Place) -> Result<()> {
        for bucket in 0..BUCKETS {
            self.tallies[bucket].read(&folder.join(&bucket::tallies_file(bucket)))?;
            self.names[bucket].read(&folder.join(&bucket::names_file(bucket)))?;
        }
        Ok(())
    }
}

fn size_of(file: &Place) -> Result<u64> {
    Ok(file.open().with_context(|| format!("cannot read {file}"))?.size_bytes())
}

fn digest(bytes: &[u8]) -> String {
    let mut hasher = SipHasher13::new();
    hasher.write(bytes);
    format!("{:032x}", hasher.finish128().as_u128())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lake::store;

    #[test]
    fn another_format_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let json = r#"{"format":1,"dimensions":[]}"#;
        std::fs::write(folder.path().join(FILE), format!("{}\n{json}", digest(json.as_bytes()))).unwrap();
        let message = Manifest::read(&store::open(folder.path()).unwrap()).unwrap_err().to_string();
        assert!(message.contains("has the format 1"), "{message}");
    }
}
