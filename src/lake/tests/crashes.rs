//! Tests of a process that dies at any step of a commit.

use std::fs;

use super::support::{Lake, cut_of_plays, dead_letter, empty_cut, expected};
use crate::lake::{Account, Committer, Cut};

/// The last step that a commit has completed.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
enum Step {
    Staged,
    Intended,
    RenamedOne,
    RenamedAll,
    Appended,
}

const STEPS: [Step; 5] = [Step::Staged, Step::Intended, Step::RenamedOne, Step::RenamedAll, Step::Appended];

/// Commits `cut` to the table of plays up to `step`, and leaves it there.
fn commit_until(lake: &Lake, committer: &mut Committer, cut: Cut, step: Step) {
    let table = &mut committer.plays;
    if step == Step::Staged {
        return;
    }
    let intent = table.intend(cut.epoch, cut.clock_us, cut.plays, cut.offsets, cut.account).unwrap();
    if step == Step::RenamedOne {
        let file = &intent.files[1];
        let to = lake.plays().join(&file.path);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::rename(lake.plays().join(&file.staged), to).unwrap();
    }
    if step >= Step::RenamedAll {
        table.publish(&intent).unwrap();
    }
    if step == Step::Appended {
        table.append_intent(&intent).unwrap();
    }
}

#[test]
fn a_crash_at_any_step_leaves_the_plays_once_or_not_at_all() {
    for step in STEPS {
        let lake = Lake::new();
        let (mut committer, mut writer) = lake.open();
        committer.commit(cut_of_plays(&mut writer, 1, 0, 30)).unwrap();
        let cut = cut_of_plays(&mut writer, 2, 30, 60);
        commit_until(&lake, &mut committer, cut, step);
        drop((committer, writer));

        let (mut committer, mut writer) = lake.open();
        let next = committer.progress().offsets[&0];
        assert_eq!(next, if step == Step::Staged { 30 } else { 60 }, "{step:?}");
        assert_eq!(lake.rows(), expected(next), "{step:?}");
        lake.assert_no_orphans();

        committer.commit(cut_of_plays(&mut writer, 3, next, 90)).unwrap();
        assert_eq!(lake.rows(), expected(90), "{step:?}");
        lake.assert_no_orphans();
    }
}

#[test]
fn a_commit_that_lost_a_file_is_undone() {
    for step in [Step::Intended, Step::RenamedOne, Step::RenamedAll] {
        for lost in 0..3 {
            let lake = Lake::new();
            let (mut committer, mut writer) = lake.open();
            let cut = cut_of_plays(&mut writer, 1, 0, 30);
            let file = cut.plays[lost].clone();
            commit_until(&lake, &mut committer, cut, step);
            let (staged, path) = (lake.plays().join(&file.staged), lake.plays().join(&file.path));
            fs::remove_file(if staged.exists() { staged } else { path }).unwrap();

            let (mut committer, mut writer) = lake.open();
            assert_eq!(committer.progress().offsets[&0], 0, "{step:?}");
            lake.assert_no_orphans();
            committer.commit(cut_of_plays(&mut writer, 2, 0, 30)).unwrap();
            assert_eq!(lake.rows(), expected(30), "{step:?}");
        }
    }
}

#[test]
fn a_crash_during_recovery_is_recovered_from() {
    let lake = Lake::new();
    let (mut committer, mut writer) = lake.open();
    let cut = cut_of_plays(&mut writer, 1, 0, 30);
    commit_until(&lake, &mut committer, cut, Step::RenamedOne);
    let intent = fs::read_dir(lake.plays().join("_staging")).unwrap().map(|entry| entry.unwrap().path());
    let intent = intent.into_iter().find(|path| path.extension().is_some_and(|ending| ending == "json")).unwrap();
    let copy = fs::read(&intent).unwrap();
    drop(lake.open());
    // As if the second process had died after its append, before it deleted the intent.
    fs::write(&intent, copy).unwrap();
    let (committer, _) = lake.open();
    assert_eq!(committer.progress().incarnation, 3);
    assert_eq!(lake.rows(), expected(30));
    lake.assert_no_orphans();
}

#[test]
fn an_intent_of_other_offsets_is_undone() {
    let lake = Lake::new();
    let (mut committer, mut writer) = lake.open();
    let cut = cut_of_plays(&mut writer, 9, 0, 30);
    let mut intent = committer.plays.intend(cut.epoch, cut.clock_us, cut.plays, cut.offsets, cut.account).unwrap();
    intent.offsets_before.insert(0, 5);
    intent.write(&lake.place().join("song_plays")).unwrap();
    let (committer, _) = lake.open();
    assert_eq!(committer.progress().offsets[&0], 0);
    assert_eq!(lake.rows(), []);
    lake.assert_no_orphans();
}

#[test]
fn dead_letters_survive_a_crash_at_any_step_once() {
    for step in STEPS {
        let lake = Lake::new();
        let (mut committer, mut writer) = lake.open();
        let files = writer.write_dead_letters(1, &[dead_letter(0, 0), dead_letter(0, 1)]).unwrap();
        let table = &mut committer.dead_letters;
        if step > Step::Staged {
            let intent = table.intend(1, None, files, [(0, 2), (1, 0)].into(), Account::default()).unwrap();
            if step >= Step::RenamedAll {
                table.publish(&intent).unwrap();
            }
            if step == Step::Appended {
                table.append_intent(&intent).unwrap();
            }
        }
        drop((committer, writer));

        // The plays' offsets did not move, so the same records are read again.
        let (mut committer, mut writer) = lake.open();
        let files = writer.write_dead_letters(2, &[dead_letter(0, 0), dead_letter(0, 1)]).unwrap();
        committer.commit(Cut { dead_letters: files, ..empty_cut(2, 2, 0) }).unwrap();
        assert_eq!(lake.dead_letters(), [(0, 0), (0, 1)], "{step:?}");
    }
}
