//! A lake has one writer at a time. A second one started by mistake is refused and does not disturb
//! the first. One that takes over continues, whatever the first is doing.

use std::path::{Path, PathBuf};

use crate::restart::assert_every_offset_once;
use crate::support::charts::default_charts;
use crate::support::fixture::{Traffic, folder};
use crate::support::mock::Mock;
use crate::support::plays::Play;
use crate::support::program::{Ended, Program, reprise};
use crate::support::running::{Running, replay, run, run_on, run_to_end};
use crate::support::{broker, cluster, eventually, heavy, log, unique};

const COMMIT_OFTEN: [&str; 2] = ["--commit-interval", "100ms"];
const TAKE_OVER: [&str; 3] = ["--commit-interval", "100ms", "--take-over"];

fn play() -> Play {
    Play::new("a", "2025-05-05T05:05:00Z")
}

fn topic(name: &str) -> String {
    let topic = broker::topic(name, 2);
    broker::produce(&topic, 0, [play().json()]);
    topic
}

/// The file that names the process which writes to the lake.
fn record(lake: &Path) -> PathBuf {
    lake.join("song_plays/_staging/writer.lock")
}

#[track_caller]
fn assert_refused(ended: &Ended, messages: &[&str]) {
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    for message in messages {
        assert!(ended.stderr.contains(message), "no {message:?} in\n{}", ended.stderr);
    }
}

/// Fails unless the process still commits to its lake.
#[track_caller]
fn assert_writes(running: &Running, topic: &str, lake: &Path) {
    let before = log::newest(lake).offsets[&0];
    broker::produce(topic, 0, [play().json()]);
    eventually("there is a commit", || (log::newest(lake).offsets[&0] > before).then_some(()));
    assert_eq!(running.status()["lake"], lake.to_str().unwrap());
}

#[test]
fn a_second_run_by_mistake_is_refused_and_the_first_continues() {
    let (topic, folder) = (topic("mistake"), folder());
    let first = Running::start(&topic, folder.path(), &COMMIT_OFTEN);
    first.caught_up(&topic);
    let process = format!("process {} on ", first.program.id());
    let messages = [&process, &*first.address, "--take-over", "Nothing was changed"];
    assert_refused(&reprise(run(&topic, folder.path(), &[])).end(), &messages);
    let listen = first.address.strip_prefix("http://").unwrap();
    let same_command = reprise(run(&topic, folder.path(), &["--listen", listen])).end();
    assert_refused(&same_command, &[&messages[..], &["another --listen"]].concat());
    let second = reprise(cluster::cluster("2", run(&topic, folder.path(), &["-w", "1"])));
    eventually("a cluster is refused as well", || second.stderr().contains(&process).then_some(()));
    drop(second);
    assert_writes(&first, &topic, folder.path());
    first.stop();

    // Neither the next run nor the one after a kill warns of a takeover: a stopped run clears its
    // record, and a kill releases the lock.
    for end in ["KILL", "TERM"] {
        let next = Running::start(&topic, folder.path(), &COMMIT_OFTEN);
        next.caught_up(&topic);
        assert!(!next.program.stderr().contains("taking the lake over"), "{}", next.program.stderr());
        next.program.signal(end);
        next.program.end();
    }
    assert_eq!(std::fs::read_to_string(record(folder.path())).unwrap(), "");
    assert_every_offset_once(folder.path(), &topic);
}

/// The overtaken run has nothing to commit, and its commit interval is an hour.
#[test]
fn an_overtaken_run_ends_even_if_it_is_idle() {
    let (topic, folder) = (topic("idle"), folder());
    let first = Running::start(&topic, folder.path(), &["--commit-interval", "1h"]);
    first.caught_up(&topic);
    let second = Running::start(&topic, folder.path(), &TAKE_OVER);
    let ended = first.program.end();
    assert_refused(
        &ended,
        &["has taken over this lake", &second.address, "Let only one `reprise run` write to a lake"],
    );
    let lock = std::fs::File::open(record(folder.path())).unwrap();
    eventually("the second one has the lock", || {
        let is_free = lock.try_lock().is_ok();
        lock.unlock().unwrap();
        (!is_free).then_some(())
    });
    let refused = reprise(run(&topic, folder.path(), &[])).end();
    assert_refused(&refused, &[&format!("process {} on ", second.program.id()), &second.address]);
    assert_writes(&second, &topic, folder.path());
    second.stop();
    assert_every_offset_once(folder.path(), &topic);
}

/// Where file locks do not work, the record of a process that was not stopped remains.
#[test]
fn a_lake_left_by_another_machine_is_taken_over_with_a_warning() {
    let (topic, folder) = (topic("elsewhere"), folder());
    run_to_end(&topic, folder.path(), &[]);
    let other = r#"{"host":"elsewhere","pid":4711,"address":"http://10.0.0.7:7878","started":"2026-11-30T12:00:00Z"}"#;
    std::fs::write(record(folder.path()), other).unwrap();
    let next = Running::start(&topic, folder.path(), &COMMIT_OFTEN);
    let stderr = next.program.stderr();
    let warning = stderr.lines().find(|line| line.contains("WARN") && line.contains("taking the lake over"));
    let warning = warning.unwrap_or_else(|| panic!("no warning in\n{stderr}"));
    assert!(warning.contains("elsewhere") && warning.contains("4711") && warning.contains("10.0.0.7"), "{warning}");
    next.stop();
    // A record that cannot be parsed does not prevent a start.
    std::fs::write(record(folder.path()), [0xff; 5000]).unwrap();
    run_to_end(&topic, folder.path(), &[]);
}

/// Every check that can refuse a start is made before the new process becomes the writer.
#[test]
fn a_start_that_is_refused_leaves_the_writer_alone() {
    let (topic, other, folder) = (topic("refused"), topic("refused-other"), folder());
    let lake = folder.path();
    let first = Running::start(&topic, lake, &["--commit-interval", "1h"]);
    let plays = first.caught_up(&topic)["accepted"].as_i64();
    eventually("all plays are committed", || (first.status()["lake_plays"].as_i64() == plays).then_some(()));
    let writers = log::incarnations(lake);
    let refuse = |topic: &str, message: &str| {
        assert_refused(&reprise(run(topic, lake, &["--take-over"])).end(), &[message]);
        assert_eq!(log::incarnations(lake).last(), writers.last(), "another writer: {message}");
    };
    refuse(&other, "holds the topic");
    refuse("test-no-such-topic", "does not exist");
    // Edit the log so that it has more holes than offsets without a row.
    let entry = format!(r#"{{"txn":{{"appId":"kafka-holes:{topic}:0","version":5}}}}"#);
    let folder = lake.join("song_plays/_delta_log");
    let versions = std::fs::read_dir(&folder)
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.strip_suffix(".json")?.parse::<u64>().ok());
    let next = versions.max().unwrap() + 1;
    std::fs::write(folder.join(format!("{next:020}.json")), entry).unwrap();
    refuse(&topic, "does not add up");
    first.json("/v1/status");
}

/// Process 1 reads another Kafka cluster, whose offsets mean nothing to process 0.
#[test]
fn a_process_with_another_kafka_cluster_is_refused_before_the_lake_changes() {
    let (mock, folder, hosts) = (Mock::new(1), folder(), cluster::HostFiles::local(2));
    let topic = crate::support::mock::TOPIC;
    if !broker::exists(topic) {
        broker::recreate(topic, 3);
    }
    let first = hosts.start(0, topic, folder.path(), &["-w", "1", "--join-timeout", "60s"]);
    let own = hosts.options(1);
    let options: Vec<&str> = own.iter().map(String::as_str).chain(["-w", "1"]).collect();
    let ended = reprise(run_on(&mock.cluster.bootstrap_servers(), topic, folder.path(), &options)).end();
    assert_refused(&ended, &["Kafka cluster (--brokers)", "disagree"]);
    eventually("process 0 says the same", || first.stderr().contains("Kafka cluster (--brokers)").then_some(()));
    assert!(!folder.path().join("song_plays").exists(), "the lake was changed");
}

/// A commit of the old writer between the new one's checks and its takeover must not end both.
#[test]
fn takeovers_and_rolling_updates_during_traffic_leave_one_writer() {
    let (topic, folder) = (unique("takeovers"), folder());
    let _heavy = heavy();
    let generator = std::thread::spawn({
        let topic = topic.clone();
        let options = "--seed 5 --start 2025-10-01T00:00:00Z --rate 2000 --count 60000 --malformed 0.01";
        move || Traffic::generate(&topic, &options.split_whitespace().collect::<Vec<_>>())
    });
    eventually("the topic exists", || broker::exists(&topic).then_some(()));
    let mut writer = Running::start(&topic, folder.path(), &COMMIT_OFTEN);
    for _ in 0..10 {
        let next = ready(Running::start(&topic, folder.path(), &TAKE_OVER));
        let ended = writer.program.end();
        assert_refused(&ended, &["has taken over this lake"]);
        writer = next;
    }
    for offset_ms in [-300_i64, -150, -40, 80, 140, 200] {
        let wait = || std::thread::sleep(std::time::Duration::from_millis(offset_ms.unsigned_abs()));
        let start = || reprise(run(&topic, folder.path(), &TAKE_OVER));
        let next: Program = if offset_ms < 0 {
            writer.program.signal("TERM");
            wait();
            start()
        } else {
            let next = start();
            wait();
            writer.program.signal("TERM");
            next
        };
        let next = ready(Running::of(next));
        let ended = writer.program.end();
        let in_order = ended.status.success() || ended.stderr.contains("has taken over this lake");
        assert!(in_order, "{offset_ms} ms: {}\n{}", ended.status, ended.stderr);
        writer = next;
    }
    let traffic = generator.join().expect("the generator succeeds");
    writer.caught_up(&topic);
    writer.stop();
    let live = run_to_end(&topic, folder.path(), &["-w", "2"]);
    live.assert_equals(&traffic.plays, &default_charts());
    assert!(replay(folder.path(), &[]).lines == live.lines, "the replay");
    assert_every_offset_once(folder.path(), &topic);
    log::account(folder.path());
}

/// Waits until the charts are served.
fn ready(running: Running) -> Running {
    eventually("the charts are served", || (running.get("/readyz").0 == 200).then_some(()));
    running
}
