//! Tests of processes that die at any step of a compaction, of intents that the disk has damaged,
//! and of renames beside a vacuum.

use std::fs;
use std::time::Duration;

use super::{compact_all, files_by_partition, lake_of, names, rows, staged, vacuum_all};
use crate::lake::intent;
use crate::lake::maintenance::compact::{append, declare};
use crate::lake::table::{Marks, PLAYS, Table};
use crate::lake::tests::support::{Lake, cut_of_plays, empty_cut, expected};
use crate::lake::{Account, Snapshot};

#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
enum Step {
    Staged,
    Intended,
    RenamedOne,
    RenamedAll,
    Appended,
}

const STEPS: [Step; 5] = [Step::Staged, Step::Intended, Step::RenamedOne, Step::RenamedAll, Step::Appended];

/// Compacts up to `step`, and leaves it there.
fn compact_until(lake: &Lake, step: Step) {
    let (mut table, this) = staged(lake, "dead");
    if step >= Step::Intended {
        declare(&table, "dead", &this).unwrap();
    }
    match step {
        Step::RenamedOne => intent::publish(&table.root, &this.files[..1], "compact-renaming").unwrap(),
        Step::RenamedAll | Step::Appended => intent::publish(&table.root, &this.files, "compact-renaming").unwrap(),
        _ => {}
    }
    if step == Step::Appended {
        assert!(append(&mut table, &this).unwrap());
    }
}

#[test]
fn a_crash_at_any_step_of_a_compaction_changes_no_row() {
    for step in STEPS {
        for writer_starts_first in [false, true] {
            let lake = lake_of(4);
            let before = rows(&lake, &PLAYS);
            compact_until(&lake, step);
            assert_eq!(rows(&lake, &PLAYS), before, "{step:?}");
            if writer_starts_first {
                drop(lake.open());
                assert_eq!(rows(&lake, &PLAYS), before, "{step:?}: the start of a run leaves it alone");
            }
            let compacted = compact_all(&lake);
            assert_eq!(compacted.partitions, if step == Step::Appended { 0 } else { 3 }, "{step:?}");
            assert_eq!(rows(&lake, &PLAYS), before, "{step:?}");
            assert_eq!(files_by_partition(&lake), [1; 3], "{step:?}");
            vacuum_all(&lake, Duration::ZERO);
            lake.assert_no_orphans();
            assert_eq!(names(&lake.plays().join("_staging")), ["care.lock"], "{step:?}");
        }
    }
}

#[test]
fn a_vacuum_alone_settles_a_compaction_too() {
    for step in STEPS {
        let lake = lake_of(4);
        let before = rows(&lake, &PLAYS);
        compact_until(&lake, step);
        vacuum_all(&lake, Duration::ZERO);
        lake.assert_no_orphans();
        assert_eq!(rows(&lake, &PLAYS), before, "{step:?}");
    }
}

/// Copies of `content` as a disk may damage them: with a flipped bit, or truncated.
fn damages(content: &[u8]) -> Vec<Vec<u8>> {
    let flipped = (0..content.len()).step_by(content.len() / 12).map(|at| {
        let mut copy = content.to_vec();
        copy[at] ^= 1;
        copy
    });
    let cut = [0, 1, content.len() / 2, content.len() - 1].map(|length| content[..length].to_vec());
    flipped.chain(cut).collect()
}

#[test]
fn a_damaged_intent_of_a_compaction_is_given_up() {
    for step in [Step::Intended, Step::RenamedOne, Step::RenamedAll, Step::Appended] {
        let lake = lake_of(3);
        let before = rows(&lake, &PLAYS);
        compact_until(&lake, step);
        let path = lake.plays().join("_staging/compact-dead.json");
        let content = fs::read(&path).unwrap();
        for damaged in damages(&content).into_iter().step_by(3) {
            fs::write(&path, damaged).unwrap();
            vacuum_all(&lake, Duration::ZERO);
            assert!(!path.exists());
            lake.assert_no_orphans();
            assert_eq!(rows(&lake, &PLAYS), before, "{step:?}");
        }
    }
}

/// Every byte of an intent matters: an offset with a flipped digit still parses, and would lose
/// plays.
#[test]
fn a_damaged_intent_of_a_commit_is_given_up_and_its_plays_come_again() {
    for (step, appended) in [(Step::Intended, false), (Step::RenamedAll, false), (Step::Appended, true)] {
        let lake = lake_of(2);
        let (mut committer, mut writer) = lake.open();
        let cut = cut_of_plays(&mut writer, 7, 6, 12);
        let table = &mut committer.plays;
        let intent = table.intend(cut.epoch, cut.clock_us, cut.plays, cut.offsets, Account::default()).unwrap();
        let path = lake.plays().join(format!("_staging/commit-{}-7.json", intent.incarnation));
        let content = fs::read(&path).unwrap();
        if step >= Step::RenamedAll {
            table.publish(&intent).unwrap();
        }
        if appended {
            table.append_intent(&intent).unwrap();
        }
        for (number, damaged) in damages(&content).into_iter().enumerate() {
            // Each round is like a start after a crash. The first round finds the files, the others
            // only the intent.
            fs::write(&path, damaged).unwrap();
            let (committer, _) = lake.open();
            let next = if appended { 12 } else { 6 };
            assert_eq!(committer.progress().offsets[&0], next, "{step:?}, damage {number}");
            assert_eq!(lake.rows(), expected(next), "{step:?}, damage {number}");
            assert!(!path.exists());
            lake.assert_no_orphans();
        }
        let (mut committer, mut writer) = lake.open();
        let next = committer.progress().offsets[&0];
        committer.commit(cut_of_plays(&mut writer, 8, next, 15)).unwrap();
        assert_eq!(lake.rows(), expected(15));
    }
}

#[test]
fn without_its_intent_a_commit_was_never_under_way() {
    let lake = lake_of(2);
    let (mut committer, mut writer) = lake.open();
    let cut = cut_of_plays(&mut writer, 7, 6, 12);
    let intent = committer.plays.intend(7, cut.clock_us, cut.plays, cut.offsets, Account::default()).unwrap();
    committer.plays.publish(&intent).unwrap();
    fs::remove_file(lake.plays().join(format!("_staging/commit-{}-7.json", intent.incarnation))).unwrap();
    let (committer, _) = lake.open();
    assert_eq!((committer.progress().offsets[&0], lake.rows()), (6, expected(6)));
    assert_eq!(vacuum_all(&lake, Duration::ZERO).files, 3, "orphans are found and removed");
    lake.assert_no_orphans();
}

/// The error of an append does not tell whether the entry was written, so the log is read.
#[test]
fn an_append_that_failed_after_all_was_done_counts() {
    let lake = lake_of(2);
    let (mut committer, mut writer) = lake.open();
    let cut = cut_of_plays(&mut writer, 7, 6, 12);
    let intent = committer.plays.intend(7, cut.clock_us, cut.plays, cut.offsets, Account::default()).unwrap();
    committer.plays.publish(&intent).unwrap();
    let incarnation = committer.progress().incarnation;
    let marks = |epoch| Marks {
        incarnation,
        epoch: Some(epoch),
        clock_us: intent.clock_us,
        offsets: intent.offsets.clone(),
        ..Marks::default()
    };
    assert!(!committer.plays.has_come_through(&marks(7)).unwrap());
    let mut other = Table::open(&lake.place(), &PLAYS, lake.place().engine().unwrap(), None).unwrap();
    assert!(other.append(&intent.files, &marks(7)).unwrap());
    assert!(!committer.plays.has_come_through(&marks(8)).unwrap());
    assert!(committer.plays.has_come_through(&marks(7)).unwrap());
    assert_eq!(committer.plays.progress().offsets[&0], 12);
    committer.commit(empty_cut(9, 13, 0)).unwrap();
    assert_eq!(lake.rows(), expected(12));
}

/// A vacuum removes empty folders. A rename whose target folder has just been removed creates it
/// again.
#[test]
fn renames_survive_that_their_folders_are_removed() {
    let lake = lake_of(1);
    let hour = Snapshot::open(&lake.place(), None).unwrap().files()[0].place.folder().path();
    let done = std::sync::atomic::AtomicBool::new(false);
    let new = hour.parent().unwrap().parent().unwrap().join("date=2030-01-01");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                let _ = fs::remove_dir(new.join("hour=3"));
                let _ = fs::remove_dir(&new);
                // Much more often than any vacuum, but the other thread must still make progress.
                std::thread::yield_now();
            }
        });
        for number in 0..300 {
            let staged = format!("_staging/part-9-1-0-{number}.inprogress");
            let path = format!("date=2030-01-01/hour=3/part-9-1-0-{number}");
            fs::write(lake.plays().join(&staged), b"x").unwrap();
            let file = crate::lake::NewFile { path: path.clone(), staged, ..sample() };
            let published = intent::publish(&lake.place().join("song_plays"), &[file], "renaming");
            let there = lake.plays().join(&path);
            let is_there = there.exists();
            let _ = fs::remove_file(there);
            if published.is_err() || !is_there {
                done.store(true, std::sync::atomic::Ordering::Relaxed);
            }
            published.unwrap();
            assert!(is_there);
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

fn sample() -> crate::lake::NewFile {
    crate::lake::NewFile {
        path: String::new(),
        staged: String::new(),
        partition_values: Vec::new(),
        size_bytes: 1,
        rows: 1,
        modified_ms: 0,
        bounds: Vec::new(),
    }
}
