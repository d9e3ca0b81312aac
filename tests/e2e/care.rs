//! Compaction and vacuum beside a running instance, killed at each of their steps: no play is lost, and none is doubled.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::support::charts::default_charts;
use crate::support::fixture::{Traffic, folder};
use crate::support::plays::Play;
use crate::support::program::{reprise_with, succeed};
use crate::support::running::{Running, offsets, replay, run_to_end};
use crate::support::{broker, eventually, heavy, lake, unique};

/// Where each of them may die.
const COMPACTION_POINTS: [&str; 5] =
    ["compact-staged", "compact-intended", "compact-renaming", "compact-renamed", "compact-appended"];
const VACUUM_POINTS: [&str; 2] = ["vacuum", "vacuum*3"];

fn words(options: &str) -> Vec<&str> {
    options.split_whitespace().collect()
}

fn care<'a>(command: &'a str, lake: &'a Path, options: &[&'a str]) -> Vec<&'a str> {
    let lake = lake.to_str().expect("folders of tests are UTF-8");
    [&["lake", command, "--lake", lake], options].concat()
}

fn usage(lake: &Path) -> Value {
    let printed = succeed(care("ls", lake, &["--format", "json"])).stdout;
    serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"))
}

fn number(usage: &Value, path: &str) -> u64 {
    usage.pointer(path).and_then(Value::as_u64).unwrap_or_else(|| panic!("no {path} in {usage}"))
}

/// What a topic of two partitions has been sent.
#[derive(Default)]
struct Sent {
    plays: Vec<Play>,
    bad: usize,
}

impl Sent {
    /// Sends plays of three hours, and a record that is none.
    fn send(&mut self, topic: &str) {
        let first = Play::new(&(self.plays.len() % 7).to_string(), "2025-10-01T05:05:00Z");
        let play = |minutes: i64| Play { time: first.time + jiff::Span::new().minutes(minutes), ..first.clone() };
        let plays: Vec<Play> = (0..180).map(play).collect();
        broker::produce(topic, 0, plays[..100].iter().map(Play::json));
        broker::produce(topic, 1, plays[100..].iter().map(Play::json).chain([b"no play".to_vec()]));
        self.plays.extend(plays);
        self.bad += 1;
    }

    /// Sends until there are small files to compact, and then more, whose commit comes while something else is done.
    fn send_commits(&mut self, topic: &str, running: &Running) {
        for _ in 0..2 {
            self.send(topic);
            eventually("it is in the lake", || (running.status()["lake_plays"] == self.plays.len()).then_some(()));
        }
        self.send(topic);
    }
}

/// Does `command` until it dies at `point`.
fn die_at(point: &str, command: Vec<&str>) {
    let ended = reprise_with(command, &[("REPRISE_FAILPOINT", point.to_owned())]).end();
    assert!(!ended.status.success() && ended.stderr.contains("the process dies"), "{point}: {}", ended.stderr);
}

#[test]
fn care_that_dies_at_any_step_beside_a_run_changes_no_play() {
    let topic = broker::topic("care", 2);
    let folder = folder();
    let lake = folder.path();
    let mut sent = Sent::default();
    sent.send(&topic);
    let running = Running::start(&topic, lake, &["-w", "2", "--commit-interval", "100ms"]);
    for point in COMPACTION_POINTS {
        sent.send_commits(&topic, &running);
        die_at(point, care("compact", lake, &["--all"]));
        sent.send_commits(&topic, &running);
        succeed(care("compact", lake, &["--all"]));
    }
    for point in VACUUM_POINTS {
        sent.send_commits(&topic, &running);
        succeed(care("compact", lake, &["--all"]));
        die_at(point, care("vacuum", lake, &["--retain", "0s"]));
        sent.send(&topic);
        succeed(care("vacuum", lake, &["--retain", "0s"]));
    }
    running.caught_up(&topic);
    running.stop();
    succeed(care("compact", lake, &["--all"]));
    succeed(care("vacuum", lake, &["--retain", "0s"]));

    let usage = usage(lake);
    assert_eq!(number(&usage, "/tables/0/total/rows"), sent.plays.len() as u64);
    assert_eq!(number(&usage, "/tables/0/total/files"), number(&usage, "/tables/0/total/partitions"));
    assert_eq!(number(&usage, "/tables/1/total/rows"), sent.bad as u64);
    for table in 0..2 {
        assert_eq!(number(&usage, &format!("/tables/{table}/untracked_files")), 0, "{usage}");
        assert_eq!(number(&usage, &format!("/tables/{table}/staged_files")), 0, "{usage}");
    }
    lake::assert_holds(lake, &sent.plays);
    replay(lake, &[]).assert_equals(&sent.plays, &default_charts());
    run_to_end(&topic, lake, &["-w", "3"]).assert_equals(&sent.plays, &default_charts());
}

/// What `run` does by itself, only sooner.
#[test]
fn a_run_compacts_what_is_quiet_and_deletes_what_was_replaced() {
    let topic = unique("caretaker");
    let traffic = words(
        "--seed 9 --start 2025-10-01T00:00:00Z --rate 8000 --count 24000 --history 2h --late 0.2 --malformed 0.01",
    );
    let folder = folder();
    let lake = folder.path();
    let _heavy = heavy();
    let generator = std::thread::spawn({
        let topic = topic.clone();
        move || Traffic::generate(&topic, &traffic)
    });
    eventually("the topic is there", || broker::exists(&topic).then_some(()));
    let options = ["-w", "2", "--commit-interval", "100ms", "--compact-after", "500ms", "--retain", "500ms"];
    let running = Running::start(&topic, lake, &options);
    let traffic = generator.join().expect("the generator succeeds");
    running.caught_up(&topic);
    let usage = eventually("the lake is tidy", || {
        let usage = usage(lake);
        let tidy = (0..2).all(|table| {
            let count = |name: &str| number(&usage, &format!("/tables/{table}/{name}"));
            count("total/files") == count("total/partitions") && count("untracked_files") == 0
        });
        (tidy && number(&usage, "/tables/0/total/rows") == traffic.plays.len() as u64).then_some(usage)
    });
    let next: BTreeMap<i64, i64> = offsets(&running.status(), "next_offset");
    let committed = usage["offsets"].as_object().expect("offsets").iter();
    let committed: BTreeMap<i64, i64> =
        committed.map(|(partition, next)| (partition.parse().unwrap(), next.as_i64().unwrap())).collect();
    assert_eq!(committed, next);
    running.stop();
    lake::assert_holds(lake, &traffic.plays);
    replay(lake, &[]).assert_equals(&traffic.plays, &default_charts());
}

#[test]
fn the_lake_is_shown_and_one_cares_for_it_at_a_time() {
    let topic = unique("ls");
    let traffic = Traffic::generate(&topic, &words("--seed 10 --start 2025-10-01T00:00:00Z --rate max --count 2000"));
    let folder = folder();
    run_to_end(&topic, folder.path(), &[]);
    let shown = succeed(care("ls", folder.path(), &[])).stdout;
    assert!(shown.contains("song_plays · version") && shown.contains("2025-10-01"), "{shown}");
    assert_eq!(number(&usage(folder.path()), "/tables/0/total/rows"), traffic.plays.len() as u64);
    let lock = folder.path().join("song_plays/_staging/care.lock");
    let held =
        std::fs::File::options().create(true).truncate(false).write(true).open(lock).expect("the lock is a file");
    held.lock().expect("nobody has the lock");
    for command in ["compact", "vacuum"] {
        let ended = reprise_with(care(command, folder.path(), &[]), &[]).end();
        assert_eq!(ended.status.code(), Some(1));
        assert!(ended.stderr.contains("another process compacts or vacuums"), "{}", ended.stderr);
    }
}
