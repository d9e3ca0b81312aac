//! The per-partition accounts in a lake's Delta log, read as JSON from its commits.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::lake;

/// Totals for each Kafka partition, named after the log's transaction ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// The next offset to read.
    pub offsets: BTreeMap<i64, i64>,
    /// The first offset that was read.
    pub starts: BTreeMap<i64, i64>,
    /// Offsets without a record, such as transaction markers.
    pub holes: BTreeMap<i64, i64>,
    /// Offsets that Kafka deleted before they were read.
    pub missing: BTreeMap<i64, i64>,
    /// The gaps that the commits record, in order.
    pub gaps: Vec<Value>,
}

/// The account as of the newest commit of a lake that no process writes to. Fails unless every
/// offset is a play, a dead letter, a hole, or missing.
#[track_caller]
pub fn account(lake: &Path) -> Account {
    let account = newest(lake);
    let sum = |values: &BTreeMap<i64, i64>| values.values().sum::<i64>();
    let rows = lake::plays(lake).len() + lake::dead_letters(lake).len();
    let read = sum(&account.offsets) - sum(&account.starts);
    assert_eq!(read, rows as i64 + sum(&account.holes) + sum(&account.missing), "{account:?}");
    account
}

/// Removes the topic's id from a lake, as in lakes of earlier releases, which did not record it.
pub fn remove_topic_id(lake: &Path) {
    for table in ["song_plays", "dead_letters"] {
        let path = lake.join(table).join("_delta_log").join(format!("{:020}.json", 0));
        let mut actions = actions(&fs::read_to_string(&path).expect("the first commit"));
        let properties =
            actions.iter_mut().find_map(|action| action.pointer_mut("/metaData/configuration")?.as_object_mut());
        properties.and_then(|properties| properties.remove("reprise.topic_id")).expect("an id");
        let lines: Vec<String> = actions.iter().map(Value::to_string).collect();
        fs::write(&path, lines.join("\n") + "\n").expect("write the first commit");
        // Version checksum files repeat the properties, so they would keep the id.
        for entry in fs::read_dir(path.parent().expect("the log")).expect("the log") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|extension| extension == "crc") {
                fs::remove_file(path).expect("remove a checksum");
            }
        }
    }
}

/// The account as of the newest commit, without the check: the lake may be written to at the same
/// time.
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

/// The writer's incarnation in each version of the plays, oldest first.
pub fn incarnations(lake: &Path) -> Vec<i64> {
    let marks = commits(lake).into_iter().filter(|action| action["txn"]["appId"] == "reprise:incarnation");
    marks.map(|action| action["txn"]["version"].as_i64().expect("a version")).collect()
}

/// All actions in the log of the plays, oldest first.
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
