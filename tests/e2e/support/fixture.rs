//! Topics filled by `reprise generate`, with the plays and the invalid records that they hold.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::Value;
use tempfile::TempDir;

use super::plays::{self, Play};
use super::program::succeed;
use super::{broker, unique};

/// Records in [`traffic`].
pub const RECORDS: u64 = 200_000;
/// Partitions of a generated topic: more than one, and not a multiple of the numbers of workers
/// that the tests use.
pub const PARTITIONS: &str = "3";

/// A generated topic.
pub struct Traffic {
    /// The topic's name.
    pub topic: String,
    /// The plays, in the order in which they were sent.
    pub plays: Vec<Play>,
    /// The records that are not plays.
    pub bad: Vec<Bad>,
}

/// A record that is not a play, as listed in `FILE.bad`.
#[derive(Clone, Debug)]
pub struct Bad {
    /// The expected reason of the dead letter.
    pub reason: String,
    pub partition: i32,
    pub key: String,
    /// The value; `None` for a record without one.
    pub base64: Option<String>,
}

impl Traffic {
    /// Runs `reprise generate` into `topic`, which may exist already, with further `options`.
    pub fn generate(topic: &str, options: &[&str]) -> Self {
        let folder = folder();
        let out = folder.path().join("plays.jsonl");
        let to = ["generate", "--brokers", broker::servers(), "--topic", topic, "--partitions", PARTITIONS, "--out"];
        succeed(to.iter().map(|&text| text.into()).chain([out.clone()]).chain(options.iter().map(PathBuf::from)));
        Self {
            topic: topic.to_owned(),
            plays: plays::read(&out),
            bad: read_bad(&folder.path().join("plays.jsonl.bad")),
        }
    }

    /// The number of records that are not plays, by reason.
    pub fn rejections(&self) -> BTreeMap<String, u64> {
        let mut rejections = BTreeMap::new();
        for bad in &self.bad {
            *rejections.entry(bad.reason.clone()).or_default() += 1;
        }
        rejections
    }

    /// The number of all records, plays or not.
    pub fn records(&self) -> u64 {
        (self.plays.len() + self.bad.len()) as u64
    }
}

/// A topic that several tests share: six days of history followed by live plays, across the end of
/// a week, a month and a year, with late and duplicate plays, and 1 % malformed records.
pub fn traffic() -> &'static Traffic {
    static TRAFFIC: OnceLock<Traffic> = OnceLock::new();
    TRAFFIC.get_or_init(|| {
        let options = "--seed 42 --start 2024-12-28T18:30:00Z --history 6d --history-plays 150000 --count 200000 \
            --rate 20000 --songs 5000 --late 0.05 --duplicates 0.02 --malformed 0.01";
        let options: Vec<&str> = options.split_whitespace().collect();
        let traffic = Traffic::generate(&unique("traffic"), &options);
        assert_eq!(traffic.records(), RECORDS);
        traffic
    })
}

fn read_bad(path: &Path) -> Vec<Bad> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let read = |line: &str| {
        let bad: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let text = |name: &str| bad[name].as_str().map(str::to_owned);
        Bad {
            reason: text("reason").expect("a reason"),
            partition: bad["partition"].as_i64().expect("a partition") as i32,
            key: text("key").expect("a key"),
            base64: text("base64"),
        }
    };
    text.lines().map(read).collect()
}

/// A temporary folder that is removed when it is dropped. It is in Cargo's target folder, because
/// the system's temporary folder may be in memory.
pub fn folder() -> TempDir {
    tempfile::Builder::new().prefix("e2e-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder can be made")
}
