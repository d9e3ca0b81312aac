//! Tests of publication: whichever process dies and whichever file is deleted meanwhile, readers
//! that find files by name and readers of the log see each play once.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use super::{
    attention, commit, compact_all, files_by_partition, hour_us, lake_of, open, rows, rows_by_name, set_age,
    set_age_of_log, vacuum_all,
};
use crate::lake::entries::entries;
use crate::lake::maintenance::compact::{CompactIntent, append};
use crate::lake::maintenance::publish::{Due, publish};
use crate::lake::store::Place;
use crate::lake::table::{DEAD_LETTERS, PLAYS};
use crate::lake::tests::support::{Lake, coordinates, dead_letter, empty_cut, expected};
use crate::lake::{Cut, Snapshot};

const HOUR: Duration = Duration::from_secs(3600);

/// The files outside `_merged`, and those in it.
fn files(lake: &Lake) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let root = lake.place().join("song_plays").resolved().unwrap();
    let files = |folder: &Place| folder.partitioned_files().iter().map(Place::path).collect();
    (files(&root), files(&root.join("_merged")))
}

fn set_age_of_files(lake: &Lake, age: Duration) {
    let (by_name, merged) = files(lake);
    by_name.iter().chain(&merged).for_each(|path| set_age(path, age));
}

#[track_caller]
fn assert_shows_once(lake: &Lake, plays: i64) {
    assert_eq!(lake.rows(), expected(plays), "by the log");
    assert_eq!(rows_by_name(lake, &PLAYS), rows(lake, &PLAYS), "by name");
}

#[test]
fn names_show_each_play_once_at_every_moment() {
    let lake = lake_of(4);
    let before = Snapshot::open(&lake.place(), None).unwrap();
    compact_all(&lake);
    assert_eq!((files(&lake).0.len(), files(&lake).1.len()), (12, 3));
    assert_shows_once(&lake, 12);
    set_age_of_files(&lake, 2 * HOUR);
    assert_eq!(vacuum_all(&lake, HOUR).published, 0, "a reader of the version before may still be at it");
    assert!(before.files().iter().all(|file| file.place.exists()));
    assert_shows_once(&lake, 12);

    let compacted = Snapshot::open(&lake.place(), None).unwrap();
    set_age_of_log(&lake, HOUR + Duration::from_secs(60));
    let vacuumed = vacuum_all(&lake, HOUR);
    assert_eq!((vacuumed.published, vacuumed.files), (3, 12));
    assert_shows_once(&lake, 12);
    assert!(files(&lake).0.iter().all(|path| path.starts_with(lake.plays().canonicalize().unwrap())));
    assert_eq!(files_by_partition(&lake), [1; 3]);
    assert!(compacted.files().iter().all(|file| file.place.exists()), "whoever reads that version can go on");
    assert_eq!(vacuum_all(&lake, HOUR), Default::default(), "nothing is left to do");

    set_age_of_files(&lake, 2 * HOUR);
    set_age_of_log(&lake, 2 * HOUR);
    assert_eq!(vacuum_all(&lake, HOUR).files, 3);
    lake.assert_no_orphans();
    assert_shows_once(&lake, 12);
}

#[test]
fn dead_letters_are_published_too() {
    let lake = Lake::new();
    let (mut committer, mut writer) = lake.open();
    for epoch in 1..=3_i64 {
        let files = writer.write_dead_letters(epoch as u64, &[dead_letter(0, epoch - 1)]).unwrap();
        committer.commit(Cut { dead_letters: files, ..empty_cut(epoch as u64, epoch, 0) }).unwrap();
    }
    let before = rows(&lake, &DEAD_LETTERS);
    compact_all(&lake);
    assert_eq!(rows_by_name(&lake, &DEAD_LETTERS), before);
    assert_eq!(vacuum_all(&lake, Duration::ZERO).published, 1);
    assert_eq!((rows(&lake, &DEAD_LETTERS), rows_by_name(&lake, &DEAD_LETTERS)), (before.clone(), before));
}

/// Late plays arrive for an hour that is already compacted: each merged file is published when it
/// is due itself.
#[test]
fn merged_files_are_published_one_after_the_other() {
    let lake = Lake::new();
    let (mut committer, mut writer) = lake.open();
    let mut send = |from: i64| {
        for offset in from..from + 3 {
            commit(&mut committer, &mut writer, offset, &[hour_us(0) + offset]);
        }
    };
    send(0);
    compact_all(&lake);
    set_age_of_files(&lake, 2 * HOUR);
    set_age_of_log(&lake, 2 * HOUR);
    send(3);
    assert_eq!(compact_all(&lake).files_before, 3, "what is not published is not merged again");
    assert_shows_once(&lake, 6);
    let vacuumed = vacuum_all(&lake, HOUR);
    assert_eq!((vacuumed.published, vacuumed.files), (1, 3));
    assert_shows_once(&lake, 6);
    let vacuumed = vacuum_all(&lake, Duration::ZERO);
    assert_eq!((vacuumed.published, vacuumed.files), (1, 3 + 2));
    assert_shows_once(&lake, 6);
    assert_eq!((compact_all(&lake).files_before, files_by_partition(&lake)), (2, vec![1]));
}

/// A process that dies leaves some of the links made, some of the files deleted, and nothing in the
/// log.
#[test]
fn a_publication_that_has_died_is_repeated() {
    for (linked, deleted) in [(1, 0), (1, 2), (1, 4), (3, 4), (3, 12)] {
        let lake = lake_of(4);
        compact_all(&lake);
        let (replaced, merged) = files(&lake);
        let root = lake.plays().canonicalize().unwrap();
        for merged in &merged[..linked] {
            fs::hard_link(merged, root.join(merged.strip_prefix(root.join("_merged")).unwrap())).unwrap();
        }
        replaced[..deleted].iter().for_each(|path| fs::remove_file(path).unwrap());
        assert_eq!(lake.rows(), expected(12), "the log knows nothing of it");
        assert_eq!(vacuum_all(&lake, Duration::ZERO).published, 3, "{linked} links, {deleted} deleted");
        assert_shows_once(&lake, 12);
        lake.assert_no_orphans();
    }
}

/// An OPTIMIZE or DELETE of another program comes between reading the log and the append.
#[test]
fn a_publication_of_files_that_have_gone_from_the_log_is_given_up() {
    let lake = lake_of(4);
    compact_all(&lake);
    let mut table = open(&lake, &PLAYS);
    let mut merged = entries(&table).unwrap();
    let gone = merged.remove(0);
    let root = table.root.clone();
    let gone_to = root.join(gone.final_name().unwrap());
    let removal = CompactIntent { files: Vec::new(), removed: vec![gone.name.clone()] };
    assert!(append(&mut open(&lake, &PLAYS), &removal).unwrap());
    let left = rows(&lake, &PLAYS);
    let publish = |table: &mut _, merged| {
        let due = Due { merged, replaced: Vec::new() };
        publish(&PLAYS, table, &[due], &attention(), |_| Ok(())).unwrap()
    };
    assert_eq!(publish(&mut table, vec![gone]), 0);
    assert!(!gone_to.exists(), "its plays would come back for readers by name");

    let published = vacuum_all(&lake, Duration::ZERO).published;
    assert_eq!((published, rows(&lake, &PLAYS)), (2, left.clone()));
    // As if this process had not read that version yet.
    let late = merged.remove(0);
    fs::create_dir_all(late.place.folder().path()).unwrap();
    fs::hard_link(root.join(late.final_name().unwrap()).path(), late.place.path()).unwrap();
    assert_eq!(publish(&mut table, vec![late]), 0);
    assert_eq!(rows(&lake, &PLAYS), left, "what is in the log stays");
}

/// One of several partitions in a publication has lost its merged file: the plays of the others are
/// still found by name.
#[test]
fn a_file_that_has_gone_takes_no_other_along() {
    let lake = lake_of(4);
    compact_all(&lake);
    let mut table = open(&lake, &PLAYS);
    let replaced = table.root.partitioned_files();
    let merged = entries(&table).unwrap();
    let removal = CompactIntent { files: Vec::new(), removed: vec![merged[1].name.clone()] };
    assert!(append(&mut open(&lake, &PLAYS), &removal).unwrap());
    let due = merged.iter().map(|entry| {
        let folder = table.root.join(entry.final_name().unwrap()).folder();
        let replaced = replaced.iter().filter(|file| file.folder() == folder);
        Due { merged: vec![entry.clone()], replaced: replaced.map(|file| (file.clone(), 0)).collect() }
    });
    let due: Vec<Due> = due.collect();
    let delete = |replaced: &[(Place, u64)]| replaced.iter().try_for_each(|(file, _)| file.remove());
    assert_eq!(publish(&PLAYS, &mut table, &due, &attention(), delete).unwrap(), 2);
    assert_eq!(rows(&lake, &PLAYS).len(), 8);
    assert_eq!(rows_by_name(&lake, &PLAYS), rows(&lake, &PLAYS));
}

/// One merged file of a partition cannot be linked: then none is, because the originals still
/// exist.
#[test]
fn a_partition_is_linked_whole_or_not_at_all() {
    let lake = lake_of(4);
    compact_all(&lake);
    let before = rows_by_name(&lake, &PLAYS);
    let mut table = open(&lake, &PLAYS);
    let merged = entries(&table).unwrap();
    let in_the_way = table.root.join(merged[2].final_name().unwrap()).path();
    fs::write(&in_the_way, "in the way").unwrap();
    let due = Due { merged, replaced: Vec::new() };
    assert_eq!(publish(&PLAYS, &mut table, &[due], &attention(), |_| panic!("nothing is replaced")).unwrap(), 0);
    fs::remove_file(in_the_way).unwrap();
    assert_eq!(rows_by_name(&lake, &PLAYS), before);
}

/// Another tool may delete a file that is linked but not in the log yet, as garbage.
#[test]
fn a_final_name_that_somebody_deletes_is_linked_again() {
    let lake = lake_of(4);
    compact_all(&lake);
    let merged: Vec<_> = entries(&open(&lake, &PLAYS)).unwrap();
    let root = open(&lake, &PLAYS).root;
    let replaced = root.partitioned_files().into_iter().map(|file| (file, 0)).collect();
    let mut delete = |replaced: &[(Place, u64)]| {
        for (file, _) in replaced {
            fs::remove_file(file.path()).unwrap();
        }
        let linked = merged[0].final_name().unwrap();
        fs::remove_file(root.join(linked).path()).unwrap();
        Ok(())
    };
    let due = Due { merged: merged.clone(), replaced };
    assert_eq!(publish(&PLAYS, &mut open(&lake, &PLAYS), &[due], &attention(), &mut delete).unwrap(), 3);
    assert_shows_once(&lake, 12);
}

/// A VACUUM of another tool may keep files for a shorter time: readers that find files by name must
/// not lack plays for long.
#[test]
fn what_others_have_deleted_too_early_is_replaced_at_once() {
    let lake = lake_of(4);
    compact_all(&lake);
    let replaced = files(&lake).0;
    replaced[..5].iter().for_each(|path| fs::remove_file(path).unwrap());
    let vacuumed = vacuum_all(&lake, HOUR);
    assert_eq!((vacuumed.published, vacuumed.files), (3, 7));
    assert_shows_once(&lake, 12);
    assert_eq!(lake.rows().len(), 12);
    assert!(files(&lake).0.iter().flat_map(|path| coordinates(path)).count() == 12);
}
