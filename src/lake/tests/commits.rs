//! Commits and reopening, and which processes are refused either.

use std::collections::BTreeMap;
use std::fs;

use super::support::{AFTERNOON_US, Lake, cut_of_plays, dead_letter, empty_cut, expected, identity, message, plays};
use crate::intake::DeadLetter;
use crate::lake::{Account, Bounds, Committer, Cut, Identity, Snapshot, Writer};

#[test]
fn commits_and_reopenings_keep_every_play_and_the_progress() {
    let lake = Lake::new();
    let mut version = 0;
    for round in 0..4 {
        let (mut committer, mut writer) = lake.open();
        assert_eq!(committer.progress().incarnation, round + 1);
        for commit in 0..3 {
            let (epoch, from) = (round as u64 * 3 + commit as u64 + 1, (round * 3 + commit) * 10);
            let cut = cut_of_plays(&mut writer, epoch, from, from + 10);
            let progress = committer.commit(cut).unwrap();
            assert!(progress.version > version);
            version = progress.version;
            assert_eq!(progress.epoch, Some(epoch));
            assert_eq!(progress.offsets, BTreeMap::from([(0, from + 10), (1, 0)]));
        }
    }
    assert_eq!(lake.rows(), expected(120));
    lake.assert_no_orphans();
}

#[test]
fn a_partition_begins_once_and_later_ones_join() {
    let lake = Lake::new();
    let mut committer = Committer::open(&lake.place(), &identity()).unwrap();
    committer.begin(&BTreeMap::from([(0, 7), (1, 9)])).unwrap();
    let version = committer.progress().version;
    committer.begin(&BTreeMap::from([(0, 100), (1, 100)])).unwrap();
    assert_eq!(committer.progress().version, version, "nothing new to record");
    committer.begin(&BTreeMap::from([(2, 0)])).unwrap();
    assert_eq!(committer.progress().offsets, BTreeMap::from([(0, 7), (1, 9), (2, 0)]));
    // Partition 3 belongs to another worker, which may learn of it later.
    committer.begin(&BTreeMap::from([(4, 5)])).unwrap();
    let begun = BTreeMap::from([(0, 7), (1, 9), (2, 0), (4, 5)]);
    assert_eq!((&committer.progress().starts, &committer.progress().offsets), (&begun, &begun));
}

#[test]
fn a_cut_without_files_moves_offsets_and_clock() {
    let lake = Lake::new();
    let (mut committer, _) = lake.open();
    committer.commit(empty_cut(5, 3, 4)).unwrap();
    let progress = Snapshot::open(&lake.place(), None).unwrap().progress().clone();
    assert_eq!((&progress.offsets, progress.epoch), (&BTreeMap::from([(0, 3), (1, 4)]), Some(5)));
    assert_eq!(progress, *committer.progress());
}

#[test]
fn what_would_lose_or_double_plays_is_refused() {
    let lake = Lake::new();
    let (mut committer, _) = lake.open();
    committer.commit(empty_cut(5, 3, 4)).unwrap();
    assert!(message(committer.commit(empty_cut(5, 3, 4))).contains("not after the last one"));
    assert!(message(committer.commit(empty_cut(6, 2, 4))).contains("go back"));
    let unknown = Cut { epoch: 6, offsets: BTreeMap::from([(2, 1)]), ..Cut::default() };
    assert!(message(committer.commit(unknown)).contains("no start offset"));
}

#[test]
fn another_topic_or_cluster_is_refused_by_name() {
    let lake = Lake::new();
    lake.open();
    let other = Identity { topic: "concerts".into(), ..identity() };
    let said = message(Committer::open(&lake.place(), &other));
    assert!(said.contains("song-plays") && said.contains("concerts"), "{said}");
    let other = Identity { cluster_id: "cluster-b".into(), ..identity() };
    let said = message(Committer::open(&lake.place(), &other));
    assert!(said.contains("cluster-a") && said.contains("cluster-b"), "{said}");
    let other = Identity { topic_id: Some("topic-b".into()), ..identity() };
    let said = message(Committer::open(&lake.place(), &other));
    assert!(said.contains("topic-a") && said.contains("topic-b"), "{said}");
    // A cluster that gives topics no ids is not refused, and neither is a lake that was created
    // without one.
    Committer::open(&lake.place(), &Identity { topic_id: None, ..identity() }).unwrap();
    let lake = Lake::new();
    Committer::open(&lake.place(), &Identity { topic_id: None, ..identity() }).unwrap();
    lake.open();
}

#[test]
fn an_overtaken_committer_can_commit_nothing() {
    let lake = Lake::new();
    let (mut first, mut first_writer) = lake.open();
    let stale = cut_of_plays(&mut first_writer, 1, 0, 10);
    let (mut second, mut second_writer) = lake.open();
    let said = message(first.commit(stale));
    assert!(said.contains("another instance (incarnation 2) has taken over this lake"), "{said}");
    assert!(message(Writer::new(&lake.place(), 1, 0)).contains("taken over"));

    second.commit(cut_of_plays(&mut second_writer, 2, 0, 10)).unwrap();
    let said = message(first.commit(empty_cut(3, 10, 0)));
    assert!(said.contains("incarnation 2"), "{said}");
    assert_eq!(lake.rows(), expected(10));
    drop(lake.open());
    lake.assert_no_orphans();
}

#[test]
fn a_successor_finishes_the_commit_of_one_that_wakes_up_too_late() {
    let lake = Lake::new();
    let (mut first, mut writer) = lake.open();
    let cut = cut_of_plays(&mut writer, 1, 0, 10);
    let intent = first.plays.intend(cut.epoch, cut.clock_us, cut.plays, cut.offsets, cut.account).unwrap();
    let (second, _) = lake.open();
    assert_eq!(second.progress().epoch, Some(1));
    first.plays.publish(&intent).unwrap();
    assert!(message(first.plays.append_intent(&intent)).contains("incarnation 2"));
    assert_eq!(lake.rows(), expected(10));
    lake.assert_no_orphans();
}

#[test]
fn a_version_that_somebody_else_wrote_is_rebased_on() {
    let lake = Lake::new();
    let (mut committer, mut writer) = lake.open();
    let cut = cut_of_plays(&mut writer, 1, 0, 10);
    let intent = committer.plays.intend(cut.epoch, cut.clock_us, cut.plays, cut.offsets, cut.account).unwrap();
    committer.plays.publish(&intent).unwrap();
    let next = committer.progress().version + 1;
    let foreign = r#"{"commitInfo":{"timestamp":1795183200000,"operation":"OPTIMIZE","operationParameters":{}}}"#;
    fs::write(lake.plays().join(format!("_delta_log/{next:020}.json")), foreign).unwrap();
    committer.plays.append_intent(&intent).unwrap();
    assert_eq!(committer.plays.progress().version, next + 1);
    assert_eq!(lake.rows(), expected(10));
}

#[test]
fn names_are_never_reused() {
    let lake = Lake::new();
    let (_committer, mut writer) = lake.open();
    let mut same = Writer::new(&lake.place(), 1, 0).unwrap();
    writer.write_plays(1, vec![plays(0, 0, &[AFTERNOON_US])]).unwrap();
    let said = message(same.write_plays(1, vec![plays(0, 0, &[AFTERNOON_US])]));
    assert!(said.contains("part-1-1-0-0"), "{said}");
}

#[test]
fn dead_letters_are_kept_once() {
    let lake = Lake::new();
    let (mut committer, mut writer) = lake.open();
    let files = writer.write_dead_letters(1, &[dead_letter(0, 2), dead_letter(1, 0)]).unwrap();
    assert_eq!(files[0].path, "date=2026-11-20/part-1-1-0-0.snappy.parquet");
    committer.commit(Cut { dead_letters: files, ..empty_cut(1, 3, 1) }).unwrap();

    // A crash between the two commits of a cut: the dead letters are committed, but the plays'
    // offsets did not move.
    let files = writer.write_dead_letters(2, &[dead_letter(0, 5)]).unwrap();
    let letters = &mut committer.dead_letters;
    letters.commit(2, None, files, BTreeMap::from([(0, 6), (1, 1)]), Account::default()).unwrap();

    let (mut committer, mut writer) = lake.open();
    assert_eq!(committer.progress().offsets, BTreeMap::from([(0, 3), (1, 1)]));
    assert_eq!(committer.progress().epoch, Some(2), "epochs go on after the dead letters' too");
    let again = writer.write_dead_letters(3, &[dead_letter(0, 5)]).unwrap();
    assert!(again.is_empty(), "the dead letter at 5 is in the lake");
    // The cut ends before the last one, and must not move the dead letters' own offsets back.
    let files = writer.write_dead_letters(3, &[dead_letter(1, 1)]).unwrap();
    committer.commit(Cut { dead_letters: files, ..empty_cut(3, 4, 2) }).unwrap();
    assert_eq!(committer.dead_letters.progress().offsets, BTreeMap::from([(0, 6), (1, 2)]));
    assert_eq!(lake.dead_letters(), [(0, 2), (0, 5), (1, 0), (1, 1)]);
}

#[test]
fn a_dead_letter_without_a_sane_timestamp_is_filed_under_1970() {
    let lake = Lake::new();
    let (mut committer, mut writer) = lake.open();
    let of = |offset, kafka_timestamp_ms| DeadLetter { kafka_timestamp_ms, value: None, ..dead_letter(0, offset) };
    let letters = vec![of(0, None), of(1, Some(-1)), of(2, Some(i64::MAX)), of(3, Some(0))];
    let files = writer.write_dead_letters(1, &letters).unwrap();
    assert_eq!(files.len(), 1);
    assert!(files[0].path.starts_with("date=1970-01-01/"));
    assert_eq!(files[0].bounds[0], Bounds { min: Some(0), max: Some(0), nulls: 3 });
    committer.commit(Cut { dead_letters: files, ..empty_cut(1, 4, 0) }).unwrap();
    assert_eq!(lake.dead_letters(), [(0, 0), (0, 1), (0, 2), (0, 3)]);
}

#[test]
fn many_commits_make_checkpoints_and_stay_readable() {
    let lake = Lake::new();
    let (mut committer, mut writer) = lake.open();
    for epoch in 1..=120 {
        committer.commit(cut_of_plays(&mut writer, epoch, epoch as i64 - 1, epoch as i64)).unwrap();
    }
    assert!(lake.plays().join("_delta_log/_last_checkpoint").is_file());
    assert_eq!(lake.rows(), expected(120));
    let past = Snapshot::open(&lake.place(), Some(committer.progress().version - 100)).unwrap();
    assert_eq!(past.progress().offsets[&0], 20);
    assert_eq!(past.files().len(), 20);
}
