//! What the log of a lake says of the topic's partitions, read as JSON from its commits.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::lake;

/// Of each Kafka partition, by the names of the log's transactions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    pub offsets: BTreeMap<i64, i64>,
    pub starts: BTreeMap<i64, i64>,
    pub holes: BTreeMap<i64, i64>,
    pub missing: BTreeMap<i64, i64>,
    /// What every commit has said of gaps, in order.
    pub gaps: Vec<Value>,
}

/// The account of the newest commit of a lake that nobody writes. Every offset must be in it: a play, a dead letter, a
/// hole, or missing.
#[track_caller]
pub fn account(lake: &Path) -> Account {
    let account = newest(lake);
    let sum = |values: &BTreeMap<i64, i64>| values.values().sum::<i64>();
    let rows = lake::plays(lake).len() + lake::dead_letters(lake).len();
    let read = sum(&account.offsets) - sum(&account.starts);
    assert_eq!(read, rows as i64 + sum(&account.holes) + sum(&account.missing), "{account:?}");
    account
}

/// Takes from a lake what earlier releases have not written: the id of its topic.
pub fn forget_topic_id(lake: &Path) {
    for table in ["song_plays", "dead_letters"] {
        let path = lake.join(table).join("_delta_log").join(format!("{:020}.json", 0));
        let mut actions = actions(&fs::read_to_string(&path).expect("the first commit"));
        let properties =
            actions.iter_mut().find_map(|action| action.pointer_mut("/metaData/configuration")?.as_object_mut());
        properties.and_then(|properties| properties.remove("reprise.topic_id")).expect("an id");
        let lines: Vec<String> = actions.iter().map(Value::to_string).collect();
        fs::write(&path, lines.join("\n") + "\n").expect("write the first commit");
        // They repeat it, and are there to be quick.
        for entry in fs::read_dir(path.parent().expect("the log")).expect("the log") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|extension| extension == "crc") {
                fs::remove_file(path).expect("remove a checksum");
            }
        }
    }
}

/// The account of the newest commit, also while more are written: files of the next may be there already.
pub fn newest(lake: &Path) -> Account {
    let mut account = Account::default();
    for action in commits(lake) {
        if let Some(gaps) = action["commitInfo"]["operationParameters"]["gaps"].as_str() {
            account.gaps.extend(serde_json::from_str::<Vec<Value>>(gaps).expect("gaps are JSON"));
        }
        let Some(id) = action["txn"]["appId"].as_str() else { continue };
        let version = action["txn"]["version"].as_i64().expect("a version");
        // kafka-start:TOPIC:PARTITION
        let mut parts = id.splitn(2, ':');
        let values = match parts.next() {
            Some("kafka") => &mut account.offsets,
            Some("kafka-start") => &mut account.starts,
            Some("kafka-holes") => &mut account.holes,
            Some("kafka-missing") => &mut account.missing,
            _ => continue,
        };
        let partition = id.rsplit(':').next().and_then(|partition| partition.parse().ok()).expect("a partition");
        values.insert(partition, version);
    }
    account
}

/// The incarnation of who wrote each version of the plays, the oldest first.
pub fn incarnations(lake: &Path) -> Vec<i64> {
    let marks = commits(lake).into_iter().filter(|action| action["txn"]["appId"] == "reprise:incarnation");
    marks.map(|action| action["txn"]["version"].as_i64().expect("a version")).collect()
}

/// All actions in the log of the plays, the oldest first.
fn commits(lake: &Path) -> Vec<Value> {
    let folder = lake.join("song_plays/_delta_log");
    let mut paths: Vec<_> = fs::read_dir(folder).expect("a log").map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    paths.iter().flat_map(|path| actions(&fs::read_to_string(path).expect("a commit"))).collect()
}

fn actions(commit: &str) -> Vec<Value> {
    commit.lines().map(|line| serde_json::from_str(line).expect("an action")).collect()
}
