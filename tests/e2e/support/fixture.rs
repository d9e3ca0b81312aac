//! A topic full of plays such as `generate` makes, and what is known of them.

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
/// Partitions of a generated topic. More than one worker, and not a multiple of the workers that are tried.
pub const PARTITIONS: &str = "3";

/// A generated topic.
pub struct Traffic {
    pub topic: String,
    /// In the order that they were sent.
    pub plays: Vec<Play>,
    pub bad: Vec<Bad>,
}

/// A record that is no play, as `FILE.bad` tells of it.
#[derive(Clone, Debug)]
pub struct Bad {
    pub reason: String,
    pub partition: i32,
    pub key: String,
    /// Nothing for a record without a value.
    pub base64: Option<String>,
}

impl Traffic {
    /// Generates a topic, or more of it, with `options` beside where to.
    pub fn generate(topic: &str, options: &[&str]) -> Self {
        let folder = folder();
        let out = folder.path().join("plays.jsonl");
        let to = ["generate", "--brokers", broker::servers(), "--topic", topic, "--partitions", PARTITIONS, "--out"];
        succeed(to.iter().map(|&word| word.into()).chain([out.clone()]).chain(options.iter().map(PathBuf::from)));
        Self {
            topic: topic.to_owned(),
            plays: plays::read(&out),
            bad: read_bad(&folder.path().join("plays.jsonl.bad")),
        }
    }

    /// How many records there are that are no plays, by reason.
    pub fn rejections(&self) -> BTreeMap<String, u64> {
        let mut rejections = BTreeMap::new();
        for bad in &self.bad {
            *rejections.entry(bad.reason.clone()).or_default() += 1;
        }
        rejections
    }

    pub fn records(&self) -> u64 {
        (self.plays.len() + self.bad.len()) as u64
    }
}

/// The traffic that several tests read: six days of history and then live plays, over the end of a week, a month and a
/// year, late, doubled, and one in a hundred malformed.
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

/// A folder for as long as a test needs it. In Cargo's own folder: where temporary files live may be memory.
pub fn folder() -> TempDir {
    tempfile::Builder::new().prefix("e2e-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder can be made")
}
