//! Tests of a change of the writer: which process is refused, how the overtaken one learns of it,
//! and what a refused start must not change.

use std::fs;

use super::support::{Lake, cut_of_plays, empty_cut, identity, message};
use crate::lake::table::{PLAYS, Table};
use crate::lake::{Committer, Identity, SuccessorWatch, balance};
use crate::lake::{Holder, WriterProcess, recorded_other};

fn process(pid: u32, host: &str) -> WriterProcess {
    WriterProcess { pid, host: host.into(), ..WriterProcess::this("http://127.0.0.1:7878".into()) }
}

#[test]
fn the_lock_is_held_until_its_holder_is_gone() {
    let lake = Lake::new();
    drop(lake.open());
    let take = |pid, take_over| Holder::take(&lake.place(), process(pid, "here"), take_over);
    let first = take(1, false).unwrap();
    let said = message(take(2, false));
    assert!(said.contains("process 1 on here, which answers at http://127.0.0.1:7878"), "{said}");
    assert!(said.contains("--take-over") && said.contains("Nothing was changed"), "{said}");
    let second = take(2, true).unwrap();
    drop(first);
    // Dropping the first holder has not erased the record of the second.
    assert_eq!(recorded_other(&lake.place()).map(|writer| writer.pid), Some(2));
    drop(second);
    let writer = recorded_other(&lake.place()).map(|writer| writer.pid);
    assert_eq!(writer, Some(1), "the second one has not become the writer");
    take(3, false).unwrap();
}

/// The record is printed, so it must not contain terminal escapes.
#[test]
fn a_record_that_is_none_of_ours_is_no_record() {
    let lake = Lake::new();
    drop(lake.open());
    let path = lake.plays().join("_staging/writer.lock");
    let evil = serde_json::to_string(&process(1, "a\u{1b}]0;b")).unwrap();
    for record in [&[0xff; 9000][..], b"{}", b"7", evil.as_bytes()] {
        fs::write(&path, record).unwrap();
        assert_eq!(recorded_other(&lake.place()), None);
        Holder::take(&lake.place(), process(1, "here"), false).unwrap();
    }
}

#[test]
fn a_writer_sees_in_the_log_that_it_is_overtaken() {
    let lake = Lake::new();
    let (mut first, mut writer) = lake.open();
    let progress = first.progress().clone();
    let watch = || SuccessorWatch::new(&lake.place(), progress.version, progress.incarnation);
    let (mut early, mut late) = (watch(), watch());
    assert!(early.look().unwrap().is_none());
    first.commit(cut_of_plays(&mut writer, 1, 0, 10)).unwrap();
    first.commit(empty_cut(2, 20, 0)).unwrap();
    assert!(early.look().unwrap().is_none(), "its own commits");
    drop(lake.open());
    let said = early.look().unwrap().unwrap().to_string();
    assert!(said.contains("another instance (incarnation 2) has taken over this lake"), "{said}");
    // A watch that did not run while the log was cleaned up to a checkpoint.
    let table = Table::open(&lake.place(), &PLAYS, lake.place().engine().unwrap(), None).unwrap();
    table.snapshot().clone().checkpoint(table.engine(), None).unwrap();
    for version in 0..table.snapshot().version() {
        table.log().join(&format!("{version:020}.json")).remove().unwrap();
    }
    let said = late.look().unwrap().unwrap().to_string();
    assert!(said.contains("incarnation 2"), "{said}");
}

/// The successor deletes staged files. The takeover is the cause to report, not the missing file.
#[test]
fn a_writer_whose_files_are_gone_says_that_it_is_overtaken() {
    let lake = Lake::new();
    let (_first, mut writer) = lake.open();
    drop(cut_of_plays(&mut writer, 1, 0, 10));
    assert_eq!(writer.explain(anyhow::anyhow!("no file")).to_string(), "no file");
    drop(lake.open());
    let said = writer.explain(anyhow::anyhow!("no file")).to_string();
    assert!(said.contains("incarnation 2") && said.contains("has taken over this lake"), "{said}");
}

/// A first start may be killed between creating the two tables.
#[test]
fn a_lake_that_was_only_begun_is_no_reason_to_refuse() {
    let lake = Lake::new();
    assert_eq!(Committer::found(&lake.place(), &identity()).unwrap().incarnation, 0);
    balance::check(&lake.place()).unwrap();
    assert!(!lake.path().exists(), "a look makes nothing");
    drop(Committer::open(&lake.place(), &identity()).unwrap());
    fs::remove_dir_all(lake.path().join("dead_letters")).unwrap();
    assert_eq!(Committer::found(&lake.place(), &identity()).unwrap().incarnation, 1);
    balance::check(&lake.place()).unwrap();
    drop(lake.open());
}

#[test]
fn what_is_refused_is_refused_before_there_is_another_writer() {
    let lake = Lake::new();
    let (mut first, mut writer) = lake.open();
    let other = Identity { topic: "another".into(), ..identity() };
    // The dead letters alone may belong to another lake.
    let moved = lake.path().join("moved");
    fs::rename(lake.path().join("dead_letters"), &moved).unwrap();
    let stranger = Lake::new();
    drop(Committer::open(&stranger.place(), &other).unwrap());
    fs::rename(stranger.path().join("dead_letters"), lake.path().join("dead_letters")).unwrap();
    assert!(message(Committer::found(&lake.place(), &identity())).contains("holds the topic another"));
    fs::remove_dir_all(lake.path().join("dead_letters")).unwrap();
    fs::rename(&moved, lake.path().join("dead_letters")).unwrap();
    assert!(message(Committer::found(&lake.place(), &other)).contains("holds the topic"));
    first.commit(cut_of_plays(&mut writer, 1, 0, 10)).unwrap();
}
