//! Tests that every version of the last day can be opened after the log is cleaned up.

use std::fs;
use std::time::Duration;

use super::{compact_all, names, set_age, vacuum_all};
use crate::lake::Snapshot;
use crate::lake::maintenance::{Lock, clean_logs};
use crate::lake::tests::support::{Lake, cut_of_plays, expected};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

fn clean(lake: &Lake) -> usize {
    let lock = Lock::take(&lake.place()).unwrap().unwrap();
    clean_logs(&lake.place(), &lock, Duration::ZERO).unwrap()
}

fn log_of(lake: &Lake, ending: &str) -> Vec<u64> {
    let names = names(&lake.plays().join("_delta_log"));
    names.iter().filter_map(|name| name.strip_suffix(ending)?.parse().ok()).collect()
}

/// A lake of `commits` commits: the newest is `step` old, the one before it twice as old, and so
/// on. Also returns the newest version.
fn aged(commits: u64, step: Duration) -> (Lake, u64) {
    let lake = Lake::new();
    let (mut committer, mut writer) = lake.open();
    for epoch in 1..=commits {
        committer.commit(cut_of_plays(&mut writer, epoch, epoch as i64 - 1, epoch as i64)).unwrap();
    }
    let newest = committer.progress().version;
    let log = lake.plays().join("_delta_log");
    for name in names(&log) {
        if let Some(version) = name.get(..20).and_then(|digits| digits.parse::<u64>().ok()) {
            set_age(&log.join(name), step * (newest - version + 1) as u32);
        }
    }
    (lake, newest)
}

#[test]
fn every_version_of_the_last_day_can_be_opened() {
    // Three days of commits, ten minutes apart.
    let (lake, newest) = aged(430, Duration::from_secs(600));
    let before = (log_of(&lake, ".json").len(), log_of(&lake, ".checkpoint.parquet").len());
    assert_eq!(before, (newest as usize + 1, 4));
    assert!(clean(&lake) > 300);
    let (entries, checkpoints) = (log_of(&lake, ".json"), log_of(&lake, ".checkpoint.parquet"));
    // A day ago the newest version was `newest` - 143, and the last checkpoint before that is at
    // 200.
    assert_eq!(entries, (200..=newest).collect::<Vec<_>>());
    assert_eq!(checkpoints, [200, 300, 400]);
    assert!(log_of(&lake, ".crc").len() <= 301);
    let offset = Snapshot::open(&lake.place(), None).unwrap().progress().offsets[&0];
    for version in (newest - 144..=newest).step_by(13).chain([200, newest]) {
        let snapshot = Snapshot::open(&lake.place(), Some(version)).unwrap();
        let plays = offset - (newest - version) as i64;
        assert_eq!(snapshot.progress().offsets[&0], plays, "version {version}");
        assert_eq!(snapshot.files().len() as i64, plays, "version {version}");
    }
    assert_eq!(clean(&lake), 0, "nothing is left to do");

    // The next writer can open the lake, and so can the next maintenance.
    let (mut committer, mut writer) = lake.open();
    committer.commit(cut_of_plays(&mut writer, 1000, offset, offset + 3)).unwrap();
    assert_eq!(lake.rows(), expected(offset + 3));
    compact_all(&lake);
    vacuum_all(&lake, HOUR);
    assert_eq!(lake.rows(), expected(offset + 3));
}

#[test]
fn a_young_log_keeps_all_its_versions() {
    let (lake, newest) = aged(420, Duration::from_secs(1));
    clean(&lake);
    assert_eq!(log_of(&lake, ".json"), (0..=newest).collect::<Vec<_>>());
    assert_eq!(log_of(&lake, ".checkpoint.parquet"), [100, 300, 400], "the oldest, and the newest two");
    let past = Snapshot::open(&lake.place(), Some(250)).unwrap();
    assert_eq!(past.files().len() as i64, past.progress().offsets[&0]);
}

/// The entries below a damaged checkpoint would be lost with it.
#[test]
fn a_damaged_checkpoint_is_not_relied_upon() {
    let (lake, newest) = aged(430, DAY);
    let log = lake.plays().join("_delta_log");
    let checkpoint = |version: u64| log.join(format!("{version:020}.checkpoint.parquet"));
    fs::write(checkpoint(400), b"PAR1 no").unwrap();
    set_age(&checkpoint(400), DAY);
    clean(&lake);
    assert_eq!(log_of(&lake, ".json"), (300..=newest).collect::<Vec<_>>());
    assert!(checkpoint(300).exists());
}

#[test]
fn what_dead_processes_were_writing_is_removed() {
    let (lake, _) = aged(3, HOUR);
    let log = lake.plays().join("_delta_log");
    let left = ["00000000000000000009.json#1", "00000000000000000000.json.0badcafe.tmp"].map(|name| log.join(name));
    left.iter().for_each(|path| fs::write(path, b"{").unwrap());
    clean(&lake);
    assert!(left.iter().all(|path| path.exists()), "they may be under way");
    left.iter().for_each(|path| set_age(path, 2 * DAY));
    assert_eq!(clean(&lake), 2);
    assert_eq!(lake.rows(), expected(3));
}

/// The kernel cannot derive the number of files after such a commit, nor after any later one.
#[test]
fn after_a_vacuum_of_another_tool_files_are_counted_once() {
    let lake = Lake::new();
    let (mut committer, mut writer) = lake.open();
    let mut commit = |epoch: i64| {
        committer.commit(cut_of_plays(&mut writer, epoch as u64, epoch - 1, epoch)).unwrap();
        committer.progress().version
    };
    commit(1);
    let mut version = commit(2);
    let log = lake.plays().join("_delta_log");
    for operation in ["VACUUM START", "VACUUM END"] {
        version += 1;
        let entry = format!("{{\"commitInfo\":{{\"timestamp\":1,\"operation\":\"{operation}\"}}}}\n");
        fs::write(log.join(format!("{version:020}.json")), entry).unwrap();
    }
    let versions: Vec<u64> = (3..8).map(&mut commit).collect();
    assert!(versions.iter().all(|version| log_of(&lake, ".crc").contains(version)), "{:?}", log_of(&lake, ".crc"));
    assert_eq!(log_of(&lake, ".checkpoint.parquet"), versions[..1], "once");
    assert_eq!(lake.rows(), expected(7));
    let (committer, _) = lake.open();
    assert_eq!(committer.progress().offsets[&0], 7);
}
