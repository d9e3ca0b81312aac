//! Every offset is a play, a dead letter, a hole or missing, and the log says so at every version.

use std::collections::BTreeMap;
use std::fs;

use super::support::{AFTERNOON_US, Lake, cut_of_plays, dead_letter, empty_cut, expected, identity, message, plays};
use crate::intake::{Gap, Position};
use crate::lake::{Account, Committer, Cut, LakeProgress, Snapshot, intent};

fn position(partition: i32, start: i64, next: i64) -> Position {
    Position { partition, start, next, holes: 0, missing: 0, time_ms: None, seen_us: None }
}

/// The sum of `offsets − starts − holes − missing` over all partitions.
fn rows(progress: &LakeProgress) -> i64 {
    let sum = |values: &BTreeMap<i32, i64>| values.values().sum::<i64>();
    sum(&progress.offsets) - sum(&progress.starts) - sum(&progress.holes) - sum(&progress.missing)
}

#[track_caller]
fn assert_accounted(lake: &Lake) -> LakeProgress {
    let progress = Snapshot::open(&lake.place(), None).unwrap().progress().clone();
    assert_eq!(rows(&progress), (lake.rows().len() + lake.dead_letters().len()) as i64, "{progress:?}");
    progress
}

#[test]
fn plays_dead_letters_holes_and_what_is_missing_are_all_offsets() {
    let lake = Lake::new();
    let mut committer = Committer::open(&lake.place(), &identity()).unwrap();
    committer.begin(&[(0, 100), (1, 7)].into()).unwrap();
    for round in 0..3 {
        // Each round is a new process, whose own counts begin at zero.
        drop(committer);
        committer = Committer::open(&lake.place(), &identity()).unwrap();
        let began = committer.progress().clone();
        let incarnation = began.incarnation;
        let mut writer = crate::lake::Writer::new(&lake.place(), incarnation, 0).unwrap();
        let mut at = began.offsets[&0];
        let (mut holes, mut missing) = (0, 0);
        for commit in 0..2 {
            let epoch = round * 2 + commit + 1;
            // Three plays, a dead letter, two holes, and five missing offsets.
            let cut_plays = writer.write_plays(epoch, vec![plays(0, at, &[AFTERNOON_US; 3])]).unwrap();
            let letters = writer.write_dead_letters(epoch, &[dead_letter(0, at + 3)]).unwrap();
            (holes, missing) = (holes + 2, missing + 5);
            let gap = Gap { partition: 0, first: at + 6, end: at + 11 };
            at += 11;
            let mut cut = Cut {
                epoch,
                clock_us: Some(AFTERNOON_US),
                plays: cut_plays,
                dead_letters: letters,
                offsets: committer.progress().offsets.clone(),
                account: Account { gaps: vec![gap], ..Account::default() },
            };
            let read = Position { holes, missing, time_ms: Some(1_000 + at), ..position(0, began.offsets[&0], at) };
            cut.reach(&read, &began);
            cut.reach(&position(1, 7, 7), &began);
            committer.commit(cut).unwrap();
            let progress = assert_accounted(&lake);
            assert_eq!(progress, *committer.progress());
            assert_eq!(progress.times_ms, [(0, 1_000 + at)].into());
        }
    }
    let progress = committer.progress();
    assert_eq!((progress.starts[&0], progress.offsets[&0]), (100, 166));
    assert_eq!((progress.holes[&0], progress.missing[&0]), (12, 30));
}

/// A gap is committed before any record after it is read.
#[test]
fn a_gap_is_passed_and_told_of() {
    let lake = Lake::new();
    let (mut committer, mut writer) = lake.open();
    committer.commit(cut_of_plays(&mut writer, 1, 0, 10)).unwrap();
    let gap = Gap { partition: 0, first: 10, end: 25 };
    committer.pass(&[gap]).unwrap();
    let progress = assert_accounted(&lake);
    assert_eq!((progress.offsets[&0], progress.missing[&0], progress.times_ms.get(&0)), (25, 15, None));
    let log = fs::read_to_string(lake.plays().join(format!("_delta_log/{:020}.json", progress.version))).unwrap();
    assert!(log.contains(r#""gaps":"[{\"partition\":0,\"first\":10,\"end\":25}]""#), "{log}");

    let (mut committer, _) = lake.open();
    assert!(message(committer.pass(&[gap])).contains("does not begin where the lake ends"));
    committer.pass(&[Gap { partition: 0, first: 25, end: 26 }]).unwrap();
    assert_eq!(assert_accounted(&lake).missing[&0], 16);
}

/// A partition that is found during a run begins with the first cut that includes it.
#[test]
fn a_new_partition_brings_its_start() {
    let lake = Lake::new();
    let (mut committer, _) = lake.open();
    let began = committer.progress().clone();
    let mut cut = Cut { offsets: began.offsets.clone(), ..empty_cut(1, 0, 0) };
    cut.reach(&position(3, 40, 40), &began);
    committer.commit(cut).unwrap();
    let progress = assert_accounted(&lake);
    assert_eq!((progress.starts[&3], progress.offsets[&3]), (40, 40));

    let mut without = Cut { offsets: progress.offsets.clone(), ..empty_cut(2, 0, 0) };
    without.offsets.insert(2, 9);
    assert!(message(committer.commit(without)).contains("no start offset"));
    let mut backwards = Cut { offsets: progress.offsets, ..empty_cut(2, 0, 0) };
    backwards.reach(&position(2, 9, 8), &began);
    assert!(message(committer.commit(backwards)).contains("go back"));
}

/// Finishing an interrupted commit also commits its account. An intent from a release without
/// accounts is finished too.
#[test]
fn an_intent_carries_the_account() {
    for has_account in [true, false] {
        let lake = Lake::new();
        let (mut committer, mut writer) = lake.open();
        let began = committer.progress().clone();
        let mut cut = cut_of_plays(&mut writer, 1, 0, 30);
        cut.offsets = began.offsets.clone();
        cut.reach(&Position { holes: 4, missing: 2, ..position(0, 0, 36) }, &began);
        committer.plays.intend(cut.epoch, cut.clock_us, cut.plays, cut.offsets, cut.account).unwrap();
        let place = lake.plays().join("_staging/commit-1-1.json");
        if !has_account {
            let text = fs::read(&place).unwrap();
            let mut json: serde_json::Value = serde_json::from_slice(intent::unsealed(&text).unwrap()).unwrap();
            json.as_object_mut().unwrap().remove("account").unwrap();
            fs::write(&place, intent::sealed(json.to_string().into_bytes())).unwrap();
        }
        let (committer, _) = lake.open();
        let progress = committer.progress();
        assert_eq!((lake.rows(), progress.offsets[&0]), (expected(30), 36));
        assert_eq!(progress.missing.get(&0), has_account.then_some(&2));
        assert_eq!(rows(progress) == 30, has_account);
        lake.assert_no_orphans();
    }
}
