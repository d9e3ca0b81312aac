//! The clock of a run when the machine's time is wrong, a device is ahead, or a transaction stays
//! open.

use std::path::Path;
use std::process::Command;

use jiff::{SignedDuration, Timestamp, ToSpan};
use rdkafka::producer::{BaseProducer, Producer};
use serde_json::{Value, json};

use crate::support::broker;
use crate::support::charts::default_charts;
use crate::support::fixture::folder;
use crate::support::plays::Play;
use crate::support::program::{reprise, reprise_with, succeed};
use crate::support::running::{Running, replay, run};
use crate::support::{eventually, repository, unique};

fn play(song: &str, time: Timestamp) -> Play {
    Play { time, ..Play::new(song, "2026-01-01T00:00:00Z") }
}

/// The current time in whole µs, the precision of plays.
fn now() -> Timestamp {
    Timestamp::from_microsecond(Timestamp::now().as_microsecond()).expect("a time in range")
}

fn clock(running: &Running) -> Option<Timestamp> {
    Some(running.status()["clock"].as_str()?.parse().expect("an instant"))
}

fn trending(running: &Running) -> Vec<Value> {
    let mut answer = running.json("/v1/trending");
    let entries = std::mem::take(answer["entries"].as_array_mut().expect("entries"));
    entries.into_iter().map(|mut entry| entry["track_id"].take()).collect()
}

fn metric(running: &Running, name: &str) -> f64 {
    let (_, text) = running.get("/metrics");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in {text}"))
}

/// A run that sees the machine's time a day ahead.
#[cfg(target_os = "linux")]
fn run_tomorrow(topic: &str, folder: &Path, options: &[&str]) -> Running {
    let library = folder.join("shift.so");
    let source = repository().join("tests/e2e/support/shift.c");
    let made = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).status();
    assert!(made.expect("cc runs").success());
    let library = library.to_str().expect("folders of tests are UTF-8").to_owned();
    let variables = [("LD_PRELOAD", library), ("SHIFT_S", "86400".to_owned())];
    Running::of(reprise_with(run(topic, &folder.join("lake"), options), &variables))
}

/// The clock of an idle run does not advance to a wrong machine time, so new plays trend at once.
#[cfg(target_os = "linux")]
#[test]
fn a_machine_time_that_is_ahead_does_not_move_the_clock() {
    let (topic, folder) = (broker::topic("tomorrow", 1), folder());
    let first = play("first", now());
    broker::produce(&topic, 0, [first.json()]);
    let running = run_tomorrow(&topic, folder.path(), &["--idle", "1s", "--commit-interval", "100ms"]);
    running.caught_up(&topic);
    let moved = eventually("the clock advances without plays", || {
        clock(&running).filter(|clock| *clock > first.time + 2.seconds())
    });
    assert!(moved <= Timestamp::now(), "{moved}");
    running.stop();
    let running = Running::start(&topic, &folder.path().join("lake"), &["--idle", "1h"]);
    broker::produce(&topic, 0, [play("second", Timestamp::now()).json()]);
    eventually("the new play is trending", || trending(&running).contains(&json!("second")).then_some(()));
    assert_eq!(running.status()["clock_ahead_ms"], Value::Null);
    running.stop();
}

/// A clock that is ahead is reported in status, metrics and log. `--reset-clock` sets it back and
/// records that in the lake; the charts then equal a replay.
#[cfg(target_os = "linux")]
#[test]
fn a_clock_that_is_ahead_is_reported_and_can_be_reset() {
    let (topic, folder) = (broker::topic("ahead", 1), folder());
    let lake = folder.path().join("lake");
    let now = now();
    broker::produce(&topic, 0, [play("ahead", now + 40.minutes()).json()]);
    let running = run_tomorrow(&topic, folder.path(), &["--commit-interval", "100ms", "--idle", "1h"]);
    eventually("the clock is where the play is", || (clock(&running)? == now + 40.minutes()).then_some(()));
    running.stop();

    let plays: Vec<Play> = (0..100).map(|second| play("now", now - (second * 5).seconds())).collect();
    let running = Running::start(&topic, &lake, &["--commit-interval", "100ms", "--idle", "1h"]);
    for (part, missed) in [(&plays[..50], 50), (&plays[50..], 100)] {
        broker::produce(&topic, 0, part.iter().map(Play::json));
        running.caught_up(&topic);
        eventually("the clock is ahead, and plays miss its window", || {
            let status = running.status();
            let ahead_ms = status["clock_ahead_ms"].as_i64()?;
            let misses = status["window_misses"] == json!({"plays": missed, "missed": missed});
            (ahead_ms > 0 && ahead_ms <= 2_400_000 && misses).then_some(())
        });
    }
    assert!(metric(&running, "reprise_clock_ahead_seconds") > 0.0);
    assert_eq!(metric(&running, "reprise_window_misses_total"), 100.0);
    assert_eq!(trending(&running), [json!("ahead")]);
    eventually("both are in the log", || {
        let stderr = running.program.stderr();
        (stderr.contains("ahead of this machine's") && stderr.contains("too late for the trending window"))
            .then_some(())
    });
    running.stop();

    let options = ["--reset-clock", "--commit-interval", "100ms", "--idle", "1h"];
    let running = Running::start(&topic, &lake, &options);
    running.caught_up(&topic);
    eventually("the clock is at the last of the many plays", || (clock(&running)? == now).then_some(()));
    assert_eq!((trending(&running), &running.status()["clock_ahead_ms"]), (vec![json!("now")], &Value::Null));
    let verified = succeed(["verify", "--lake", lake.to_str().unwrap(), "--against", &running.address]);
    assert!(verified.stdout.contains("trending"), "{}", verified.stdout);
    running.stop();
    let log = std::fs::read_dir(lake.join("song_plays/_delta_log")).unwrap().map(|entry| entry.unwrap().path());
    let commits = log.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    let recorded = format!("\"clock_reset\":\"from {:.0}", now + 40.minutes());
    let resets = commits.filter(|path| std::fs::read_to_string(path).unwrap().contains(&recorded[..30]));
    assert_eq!(resets.count(), 1, "{recorded}");
    let replayed = replay(&lake, &[]);
    assert_eq!(replayed.clock(), Some(now));
    let all: Vec<Play> = plays.into_iter().chain([play("ahead", now + 40.minutes())]).collect();
    replayed.assert_equals(&all, &default_charts());
    // A second reset has nothing to do.
    let running = Running::start(&topic, &lake, &options);
    eventually("the log says so", || running.program.stderr().contains("changes nothing").then_some(()));
    assert_eq!(clock(&running), Some(now));
    running.stop();
}

/// The stream is 20 minutes behind, and one device is half an hour ahead of it, before and after a
/// restart.
#[test]
fn a_device_that_is_ahead_does_not_empty_the_window() {
    let (topic, folder) = (broker::topic("device", 2), folder());
    let late = now() - SignedDuration::from_mins(20);
    let plays = (0..300).map(|second| play("crowd", late - second.seconds()).json());
    broker::produce(&topic, 0, plays);
    for ahead in [30, 33] {
        let running = Running::start(&topic, folder.path(), &["--idle", "1h"]);
        running.caught_up(&topic);
        // Three songs, and each is sent three times.
        let at = |song: i64| late + SignedDuration::from_mins(ahead) + SignedDuration::from_secs(song % 3 * 150);
        broker::produce(&topic, 1, (0..9).map(|song| play("device", at(song)).json()));
        running.caught_up(&topic);
        eventually("the device's plays are counted", || {
            let plays = running.json("/v1/tracks/device?chart=all-time")["plays"][0]["plays"].as_i64()?;
            (plays == if ahead == 30 { 9 } else { 18 }).then_some(())
        });
        assert_eq!((clock(&running), trending(&running)), (Some(late), vec![json!("crowd")]));
        running.stop();
    }
    assert_eq!(replay(folder.path(), &[]).clock(), Some(late));
}

fn open_transaction(topic: &str, plays: &[Play]) -> BaseProducer {
    let id = unique("open");
    let mut config = broker::config();
    config.set("transactional.id", &id).set("transaction.timeout.ms", "300000");
    let producer: BaseProducer = config.create().expect("a transactional producer");
    producer.init_transactions(std::time::Duration::from_secs(30)).expect("the broker knows transactions");
    producer.begin_transaction().unwrap();
    broker::send(&producer, topic, 0, plays.iter().map(Play::json));
    producer
}

/// Records behind an open transaction are reported, the window waits for them, and they are counted
/// when it ends.
#[test]
fn an_open_transaction_is_reported_and_holds_the_window() {
    let (topic, folder) = (broker::topic("open", 2), folder());
    let now = now();
    let plays: Vec<Play> = (0..6).map(|second| play("song", now + second.seconds())).collect();
    broker::produce(&topic, 0, plays[..2].iter().map(Play::json));
    let producer = open_transaction(&topic, &plays[2..5]);
    broker::produce(&topic, 0, plays[5..].iter().map(Play::json));

    let ended = reprise(run(&topic, &folder.path().join("bounded"), &["--until-caught-up"])).succeed();
    let expected = format!("4 records wait behind a transaction that has not ended ({topic}/0: offsets 2 … 5 (4))");
    assert!(ended.stderr.contains(&expected) && ended.stderr.contains("not in the charts"), "{}", ended.stderr);

    let running = Running::start(&topic, &folder.path().join("lake"), &["--idle", "1s"]);
    let status = eventually("the transaction is reported", || {
        let status = running.status();
        (status["open_transaction"]["records"] == 4).then_some(status)
    });
    assert_eq!((&status["lag"], &status["accepted"], &status["caught_up"]), (&json!(0), &json!(2), &json!(true)));
    let since: Timestamp = status["open_transaction"]["since"].as_str().unwrap().parse().unwrap();
    assert!(now <= since && since <= Timestamp::now());
    assert_eq!(clock(&running), Some(plays[1].time), "the window does not drain");
    assert_eq!(metric(&running, "reprise_open_transaction_records"), 4.0);
    eventually("it is in the log", || running.program.stderr().contains("wait behind a transaction").then_some(()));

    broker::commit(&producer);
    eventually("all plays are counted, and no record waits", || {
        let status = running.status();
        (status["accepted"] == 6 && status["open_transaction"] == Value::Null).then_some(())
    });
    eventually("the window moves again", || (clock(&running)? > plays[5].time).then_some(()));
    assert_eq!(metric(&running, "reprise_open_transaction_records"), 0.0);
    running.stop();

    // An aborted transaction ends too, and no marker counts as a waiting record.
    let producer = open_transaction(&topic, &plays[..1]);
    broker::abort(&producer);
    let ended = reprise(run(&topic, &folder.path().join("lake"), &["--until-caught-up"])).succeed();
    assert!(!ended.stderr.contains("wait behind"), "{}", ended.stderr);
}
