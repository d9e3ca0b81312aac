//! Tests of what a vacuum deletes, and above all of what it must not delete.

use std::fs;
use std::time::Duration;

use super::{attention, compact_all, lake_of, names, set_age, vacuum_all};
use crate::lake::maintenance::vacuum::Vacuumed;
use crate::lake::maintenance::{Lock, usage, vacuum};
use crate::lake::tests::support::{Lake, coordinates, cut_of_plays, expected, message};
use crate::lake::{Account, Snapshot};

const HOUR: Duration = Duration::from_secs(3600);

/// Sets the modification time of all files of the plays to `age` ago.
fn age_all(lake: &Lake, age: Duration) {
    for path in lake.files_on_disk("song_plays") {
        set_age(&path, age);
    }
    let log = lake.plays().join("_delta_log");
    for name in names(&log) {
        set_age(&log.join(name), age);
    }
}

#[test]
fn orphans_are_found_and_removed() {
    let lake = lake_of(2);
    let folder = lake.plays().join("date=2020-02-02/hour=7");
    fs::create_dir_all(&folder).unwrap();
    let orphans = [folder.join("part-1-1-0-99.snappy.parquet"), folder.join("compacted-x-0.snappy.parquet")];
    for orphan in &orphans {
        fs::write(orphan, b"left behind").unwrap();
    }
    let other = lake.plays().join("date=2026-11-20/hour=14/.notes.crc");
    fs::write(&other, b"not ours").unwrap();
    let usage = usage(&lake.place()).unwrap();
    assert_eq!(usage.tables[0].untracked_files, 3);

    assert_eq!(vacuum_all(&lake, HOUR), Vacuumed::default(), "they are young: somebody may be writing them");
    orphans.iter().for_each(|orphan| set_age(orphan, 2 * HOUR));
    let lock = Lock::take(&lake.place()).unwrap().unwrap();
    let counted = vacuum(&lake.place(), &lock, HOUR, true, &attention()).unwrap();
    assert!(orphans.iter().all(|orphan| orphan.exists()), "a dry run only counts");
    assert_eq!(counted, vacuum(&lake.place(), &lock, HOUR, false, &attention()).unwrap());
    assert_eq!(counted, Vacuumed { files: 2, bytes: 22, ..Vacuumed::default() });
    assert!(!lake.plays().join("date=2020-02-02").exists(), "nor do empty folders stay");
    assert_eq!(lake.rows(), expected(6));
    fs::remove_file(other).unwrap();
    lake.assert_no_orphans();
}

/// A reader that has opened a version of the last hour finds all its files.
#[test]
fn files_that_a_past_version_has_stay_for_a_while() {
    let lake = lake_of(3);
    let past = Snapshot::open(&lake.place(), None).unwrap();
    age_all(&lake, 2 * HOUR);
    compact_all(&lake);
    let newest = Snapshot::open(&lake.place(), None).unwrap();
    // The version before the compaction was the newest one a minute ago.
    assert_eq!(vacuum_all(&lake, HOUR).files, 0);
    assert!(past.files().iter().all(|file| file.place.exists()));

    let log = lake.plays().join("_delta_log");
    set_age(&log.join(format!("{:020}.json", newest.version())), HOUR + Duration::from_secs(60));
    assert_eq!(vacuum_all(&lake, HOUR).files, 9);
    assert!(past.files().iter().all(|file| !file.place.exists()));
    assert!(newest.files().iter().all(|file| file.place.exists()));
    assert_eq!(lake.rows(), expected(9));
    let names = Vacuumed { files: 3, names: 3, ..Vacuumed::default() };
    assert_eq!(vacuum_all(&lake, Duration::ZERO), names, "the first names of the merged files, which take no room");
    lake.assert_no_orphans();
}

/// Files that were added and replaced within the retention time: neither the first nor the last
/// version names them.
#[test]
fn files_that_came_and_went_meanwhile_stay_too() {
    let lake = lake_of(1);
    age_all(&lake, 2 * HOUR);
    let (mut committer, mut writer) = lake.open();
    committer.commit(cut_of_plays(&mut writer, 2, 3, 6)).unwrap();
    let between = Snapshot::open(&lake.place(), None).unwrap();
    compact_all(&lake);
    // The files were written long before they were committed, as after a full disk.
    between.files().iter().for_each(|file| set_age(&file.place.path(), 2 * HOUR));
    assert_eq!(vacuum_all(&lake, HOUR).files, 0);
    let rows: Vec<_> = between.files().iter().flat_map(|file| coordinates(&file.place.path())).collect();
    assert_eq!(rows.len(), 6);
}

/// Even if nothing is to be retained, the files of a commit in progress are not garbage: its intent
/// names them.
#[test]
fn files_of_a_commit_under_way_stay() {
    let lake = lake_of(1);
    let (mut committer, mut writer) = lake.open();
    let cut = cut_of_plays(&mut writer, 2, 3, 6);
    let intent = committer.plays.intend(2, cut.clock_us, cut.plays, cut.offsets, Account::default()).unwrap();
    committer.plays.publish(&intent).unwrap();
    age_all(&lake, 48 * HOUR);
    assert_eq!(vacuum_all(&lake, Duration::ZERO).files, 0);
    committer.plays.append_intent(&intent).unwrap();
    assert_eq!(lake.rows(), expected(6));

    // An intent that cannot be read might name any file.
    let path = lake.plays().join(format!("_staging/commit-{}-2.json", intent.incarnation));
    fs::write(path, b"{").unwrap();
    let lock = Lock::take(&lake.place()).unwrap().unwrap();
    let said = message(vacuum(&lake.place(), &lock, Duration::ZERO, false, &attention()));
    assert!(said.contains("cannot read the intent"), "{said}");
    assert_eq!(lake.rows(), expected(6));
}

#[test]
fn tables_of_others_are_left_alone() {
    let lake = lake_of(2);
    let log = lake.plays().join("_delta_log");
    for name in names(&log).into_iter().filter(|name| name.ends_with(".crc")) {
        fs::remove_file(log.join(name)).unwrap();
    }
    let first = log.join(format!("{:020}.json", 0));
    let text = fs::read_to_string(&first).unwrap().replace("reprise.topic", "somebody.topic");
    fs::write(first, text).unwrap();
    let lock = Lock::take(&lake.place()).unwrap().unwrap();
    let said = message(vacuum(&lake.place(), &lock, Duration::ZERO, false, &attention()));
    assert!(said.contains("not made by `reprise run`"), "{said}");
}
