//! Changes of a topic during a run and between runs: partitions are added, records are deleted, the
//! topic is deleted or recreated.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::restart::assert_every_offset_once;
use crate::support::charts::default_charts;
use crate::support::fixture::folder;
use crate::support::plays::Play;
use crate::support::program::{Ended, reprise};
use crate::support::running::{Running, offsets, replay, run, run_to_end};
use crate::support::{broker, eventually, lake, log, unique};

/// `count` plays of `song`, one second apart.
fn plays(song: &str, count: i64) -> Vec<Play> {
    let first = Play::new(song, "2024-03-01T12:00:00Z");
    let play = |second: i64| Play { time: first.time + jiff::Span::new().seconds(second), ..first.clone() };
    (0..count).map(play).collect()
}

fn produce(topic: &str, partition: i32, plays: &[Play]) {
    broker::produce(topic, partition, plays.iter().map(Play::json));
}

/// Runs to the end of the topic. Fails unless the run fails.
#[track_caller]
fn fails(topic: &str, lake: &Path, options: &[&str]) -> Ended {
    let ended = reprise(run(topic, lake, &[&["--until-caught-up"], options].concat())).end();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    ended
}

#[track_caller]
fn assert_contains(stderr: &str, messages: &[&str]) {
    messages.iter().for_each(|message| assert!(stderr.contains(message), "no {message:?} in\n{stderr}"));
}

#[test]
fn partitions_added_during_a_run_are_read() {
    let topic = broker::topic("grows", 1);
    let all = plays("a", 60);
    produce(&topic, 0, &all[..10]);
    let folder = folder();
    // One of the two workers has nothing to read at first.
    let options = ["-w", "2", "--commit-interval", "300ms", "-X", "topic.metadata.refresh.interval.ms=200"];
    let running = Running::start(&topic, folder.path(), &options);
    running.caught_up(&topic);
    broker::add_partitions(&topic, 3);
    produce(&topic, 2, &all[10..30]);
    running.caught_up(&topic);
    broker::add_partitions(&topic, 6);
    produce(&topic, 0, &all[30..35]);
    produce(&topic, 3, &all[35..40]);
    produce(&topic, 5, &all[40..55]);
    let status = running.caught_up(&topic);
    assert_eq!(offsets(&status, "start_offset"), (0..6).map(|partition| (partition, 0)).collect());
    // The lake also records the start of partitions without plays.
    let starts: BTreeMap<i64, i64> = (0..6).map(|partition| (partition, 0)).collect();
    eventually("the starts are committed", || (log::newest(folder.path()).starts == starts).then_some(()));
    running.stop();
    replay(folder.path(), &[]).assert_equals(&all[..55], &default_charts());
    assert_every_offset_once(folder.path(), &topic);

    produce(&topic, 4, &all[55..]);
    run_to_end(&topic, folder.path(), &["-w", "3", "--from", "latest"]).assert_equals(&all, &default_charts());
    assert_every_offset_once(folder.path(), &topic);
    assert_eq!(log::account(folder.path()).starts, starts);
}

#[test]
fn a_gap_at_start_is_reported_and_skipped_only_with_accept_gap() {
    let topic = broker::topic("gap", 2);
    let (first, lost, last) = (plays("first", 20), plays("lost", 15), plays("last", 10));
    produce(&topic, 0, &first);
    produce(&topic, 1, &plays("other", 5));
    let folder = folder();
    run_to_end(&topic, folder.path(), &["-w", "2"]);
    produce(&topic, 0, &lost);
    produce(&topic, 0, &last);
    broker::delete_before(&topic, 0, 35);

    let refused = fails(&topic, folder.path(), &[]);
    assert_contains(&refused.stderr, &["15 offsets are missing", &format!("{topic}/0: 20 … 34 (15)"), "--accept-gap"]);
    assert_eq!(log::account(folder.path()).offsets, [(0, 20), (1, 5)].into());

    let running = Running::start(&topic, folder.path(), &["--accept-gap", "--commit-interval", "300ms"]);
    let status = running.caught_up(&topic);
    assert_eq!((&status["missing"], &status["accepted"]), (&15.into(), &10.into()));
    assert_contains(&running.program.stderr(), &["--accept-gap", "first=20", "end=35"]);
    running.stop();
    let held = [first, plays("other", 5), last].concat();
    // A recorded gap needs no flag any more.
    run_to_end(&topic, folder.path(), &[]).assert_equals(&held, &default_charts());
    let account = log::account(folder.path());
    assert_eq!((account.missing, account.offsets), ([(0, 15)].into(), [(0, 45), (1, 5)].into()));
    assert_eq!(account.gaps, [serde_json::json!({"partition": 0, "first": 20, "end": 35})]);
    assert_eq!(running_status(&topic, folder.path())["missing"], 15);
}

fn running_status(topic: &str, lake: &Path) -> serde_json::Value {
    let running = Running::start(topic, lake, &[]);
    let status = running.caught_up(topic);
    running.stop();
    status
}

/// Freezes `running` during `work`, which deletes records that it has not read yet.
fn while_frozen(running: &Running, work: impl FnOnce()) {
    running.program.signal("STOP");
    // The pending fetch must be answered first; otherwise it would be answered with these plays.
    std::thread::sleep(Duration::from_secs(2));
    work();
    running.program.signal("CONT");
}

/// A run that is frozen while retention deletes records that it has not read.
fn overtaken(name: &str, options: &[&str]) -> (String, Running, tempfile::TempDir) {
    let topic = broker::topic(name, 2);
    produce(&topic, 0, &plays("first", 20));
    produce(&topic, 1, &plays("other", 5));
    let folder = folder();
    let options = [&["-w", "2", "--commit-interval", "1h", "-X", "fetch.wait.max.ms=100"], options].concat();
    let running = Running::start(&topic, folder.path(), &options);
    running.caught_up(&topic);
    while_frozen(&running, || {
        produce(&topic, 0, &plays("lost", 15));
        produce(&topic, 0, &plays("last", 10));
        produce(&topic, 1, &plays("other", 5));
        broker::delete_before(&topic, 0, 35);
    });
    (topic, running, folder)
}

#[test]
fn records_deleted_before_they_are_read_end_the_run_after_a_commit() {
    let (topic, running, folder) = overtaken("overtaken", &[]);
    let ended = running.program.end();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    assert_contains(&ended.stderr, &["15 offsets are missing", &format!("{topic}/0: 20 … 34 (15)"), "--accept-gap"]);
    let account = log::account(folder.path());
    assert_eq!((account.offsets[&0], account.missing), (20, BTreeMap::new()));
    assert!(lake::plays(folder.path()).len() >= 25);
}

#[test]
fn records_deleted_before_they_are_read_are_recorded_with_accept_gap() {
    let (topic, running, folder) = overtaken("accepted", &["--accept-gap"]);
    let status = running.caught_up(&topic);
    assert_eq!((&status["missing"], &status["accepted"], &status["holes"]), (&15.into(), &40.into(), &0.into()));
    assert_contains(&running.program.stderr(), &["--accept-gap", "first=20", "end=35"]);
    running.stop();
    let account = log::account(folder.path());
    assert_eq!((account.missing, account.offsets), ([(0, 15)].into(), [(0, 45), (1, 10)].into()));
    assert_eq!(account.gaps, [serde_json::json!({"partition": 0, "first": 20, "end": 35})]);
    let held = [plays("first", 20), plays("last", 10), plays("other", 5), plays("other", 5)].concat();
    run_to_end(&topic, folder.path(), &[]).assert_equals(&held, &default_charts());
}

#[test]
fn a_deleted_topic_ends_the_run_after_a_commit() {
    let topic = broker::topic("deleted", 2);
    produce(&topic, 1, &plays("a", 30));
    let folder = folder();
    let options = ["--commit-interval", "1h", "-X", "topic.metadata.refresh.interval.ms=500"];
    let running = Running::start(&topic, folder.path(), &options);
    running.caught_up(&topic);
    broker::delete(&topic);
    let ended = running.program.end();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    assert_contains(&ended.stderr, &["no longer exists", "it was deleted"]);
    assert_eq!(log::account(folder.path()).offsets, [(0, 0), (1, 30)].into());
}

/// Even if the new topic has as many records, so that every offset exists again.
#[test]
fn a_topic_recreated_during_a_run_ends_it() {
    let topic = broker::topic("swapped", 1);
    produce(&topic, 0, &plays("old", 10));
    let folder = folder();
    let options = ["-w", "2", "--commit-interval", "1h", "-X", "topic.metadata.refresh.interval.ms=200"];
    let running = Running::start(&topic, folder.path(), &options);
    running.caught_up(&topic);
    broker::delete(&topic);
    eventually("the run notices", || running.program.stderr().contains("does not exist").then_some(()));
    broker::recreate(&topic, 1);
    produce(&topic, 0, &plays("new", 10));
    let ended = running.program.end();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    // Recreating the topic may take so long that the run reports it as deleted.
    assert!(
        ["created again", "no longer exists"].iter().any(|message| ended.stderr.contains(message)),
        "{}",
        ended.stderr
    );
    lake::assert_holds(folder.path(), &plays("old", 10));
}

/// No record of the new topic is committed, even if the run does not refresh its metadata before
/// the next commit.
#[test]
fn a_topic_recreated_between_metadata_refreshes_is_not_committed() {
    let topic = broker::topic("swapped-unseen", 1);
    produce(&topic, 0, &plays("old", 10));
    let folder = folder();
    let options = ["--commit-interval", "200ms", "-X", "topic.metadata.refresh.interval.ms=3600000"];
    let running = Running::start(&topic, folder.path(), &options);
    running.caught_up(&topic);
    eventually("the plays are committed", || (log::newest(folder.path()).offsets == [(0, 10)].into()).then_some(()));
    while_frozen(&running, || {
        broker::delete(&topic);
        broker::recreate(&topic, 1);
        produce(&topic, 0, &plays("new", 30));
    });
    let ended = running.program.end();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    assert_contains(&ended.stderr, &["is not the one that this run began with", "created again"]);
    lake::assert_holds(folder.path(), &plays("old", 10));
    assert_contains(
        &fails(&topic, folder.path(), &[]).stderr,
        &["is not the one that the lake", "its id was", "created again", "keep it"],
    );
}

/// Also for a lake without the topic's id, from an earlier release or a cluster that has no ids.
#[test]
fn a_recreated_topic_is_refused() {
    let topic = broker::topic("recreated", 2);
    produce(&topic, 0, &plays("old", 30));
    let folder = folder();
    let old = run_to_end(&topic, folder.path(), &[]);
    log::remove_topic_id(folder.path());
    // With fewer records than the lake, with as many, and with more.
    broker::delete(&topic);
    broker::recreate(&topic, 2);
    produce(&topic, 0, &plays("new", 20));
    assert_contains(&fails(&topic, folder.path(), &[]).stderr, &["offset 30", "created again", "Keep this lake"]);
    for more in [10, 20] {
        produce(&topic, 0, &plays("new", more));
        let refused = fails(&topic, folder.path(), &["--accept-gap"]);
        assert_contains(
            &refused.stderr,
            &["is not the one that the lake was made from", "offset 29", "Keep this lake"],
        );
    }
    broker::delete(&topic);
    broker::recreate(&topic, 1);
    assert_contains(
        &fails(&topic, folder.path(), &[]).stderr,
        &[&format!("{topic}/1, a partition"), "created again", "Keep this lake"],
    );
    assert!(replay(folder.path(), &[]).lines == old.lines, "the lake is unchanged");
}

#[test]
fn a_consumer_group_follows_the_committed_offsets() {
    let topic = broker::topic("group", 3);
    let group = unique("lag");
    let options = ["--group", &group, "--commit-interval", "300ms"];
    produce(&topic, 0, &plays("a", 30));
    produce(&topic, 2, &plays("a", 10));
    let folder = folder();
    run_to_end(&topic, folder.path(), &options);
    assert_eq!(broker::committed(&group, &topic), [(0, 30), (1, 0), (2, 10)].into());

    let running = Running::start(&topic, folder.path(), &options);
    produce(&topic, 1, &plays("a", 5));
    let reached = [(0, 30), (1, 5), (2, 10)].into();
    eventually("the group follows during the run", || (broker::committed(&group, &topic) == reached).then_some(()));
    produce(&topic, 1, &plays("a", 5));
    running.caught_up(&topic);
    running.stop();
    assert_eq!(broker::committed(&group, &topic), [(0, 30), (1, 10), (2, 10)].into());
    let lake: BTreeMap<i64, i64> = log::account(folder.path()).offsets;
    assert_eq!(lake, [(0, 30), (1, 10), (2, 10)].into());
}
