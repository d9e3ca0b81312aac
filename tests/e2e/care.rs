//! Compaction and vacuum beside a running instance, killed at each of their steps: no play is lost, and none is doubled.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::charts::default_charts;
use crate::support::fixture::{Traffic, folder};
use crate::support::plays::Play;
use crate::support::program::{Program, reprise_with, succeed};
use crate::support::running::{Running, offsets, replay, run_to_end};
use crate::support::{broker, eventually, heavy, lake, python, repository, unique};

/// Where each of them may die.
const COMPACTION_POINTS: [&str; 5] =
    ["compact-staged", "compact-intended", "compact-renaming", "compact-renamed", "compact-appended"];
const VACUUM_POINTS: [&str; 6] =
    ["vacuum", "vacuum*3", "publish-linked", "publish-linked*2", "publish-deleted", "publish-appended"];

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

/// Plays for hours of long ago, one commit after the other, as from phones that come back from a journey.
#[test]
fn late_plays_that_never_stop_do_not_stop_compaction() {
    const FILES_MAX: u64 = 60;
    let topic = broker::topic("trickle", 1);
    let folder = folder();
    let lake = folder.path();
    let mut plays: Vec<Play> = Vec::new();
    let options = ["-w", "1", "--commit-interval", "50ms", "--compact-after", "1s", "--retain", "1s"];
    let running = Running::start(&topic, lake, &options);
    let files = |table: &str| number(&usage(lake), &format!("/tables/0/{table}"));
    // Each in a commit and a file of its own; that they are ever few shows that they are merged while more come.
    let merged = (1..=400).find(|_| {
        let play = Play::new(&(plays.len() % 5).to_string(), "2025-10-01T05:05:00Z");
        broker::produce(&topic, 0, [play.json()]);
        plays.push(play);
        eventually("it is in the lake", || (running.status()["lake_plays"] == plays.len()).then_some(()));
        plays.len() > 2 * FILES_MAX as usize && plays.len().is_multiple_of(10) && files("total/files") < FILES_MAX
    });
    assert!(merged.is_some(), "{} plays are in {} files", plays.len(), files("total/files"));
    // Nor do what was replaced and what was merged pile up on the disk.
    eventually("what was replaced is gone", || (files("untracked_files") == 0).then_some(()));
    running.stop();
    lake::assert_holds(lake, &plays);
    replay(lake, &[]).assert_equals(&plays, &default_charts());
}

/// Counts by name and by the log, as `tests/poll.py` has found them.
struct Counts {
    path: std::path::PathBuf,
}

impl Counts {
    fn all(&self) -> Vec<(usize, usize)> {
        let text = std::fs::read_to_string(&self.path).expect("the counts");
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let counts = whole.lines().map(|line| line.split_once(' ').expect("two counts"));
        counts.map(|(by_name, by_log)| (by_name.parse().unwrap(), by_log.parse().unwrap())).collect()
    }

    /// Waits until the reader has looked a few times more.
    fn more(&self) {
        let before = self.all().len();
        eventually("it has looked again", || (self.all().len() > before + 3).then_some(()));
    }
}

/// DuckDB by the recipes of the README, all the time, while a lake is compacted and vacuumed beside a run.
#[test]
fn readers_by_name_see_each_play_once_while_files_are_merged() {
    const ROUNDS: usize = 3;
    let Some(python) = python::environment() else {
        return eprintln!("LEFT OUT: no other reader has looked at the lake");
    };
    let topic = broker::topic("names", 2);
    let folder = folder();
    let (lake, stop) = (folder.path().join("lake"), folder.path().join("stop"));
    let counts = Counts { path: folder.path().join("counts") };
    let running = Running::start(&topic, &lake, &["-w", "2", "--commit-interval", "100ms"]);
    let mut sent = Sent::default();
    for _ in 0..ROUNDS {
        for _ in 0..3 {
            sent.send(&topic);
            eventually("it is in the lake", || (running.status()["lake_plays"] == sent.plays.len()).then_some(()));
        }
        // Nothing is committed from here on: the two counts are the same at any time.
        let mut reader = Command::new(python);
        reader.arg(repository().join("tests/poll.py")).args([&lake, &stop]);
        reader.stdout(std::fs::File::create(&counts.path).expect("a file for the counts"));
        let mut reader = reader.spawn().expect("Python runs");
        counts.more();
        succeed(care("compact", &lake, &["--all"]));
        counts.more();
        succeed(care("vacuum", &lake, &["--retain", "1h"]));
        counts.more();
        succeed(care("vacuum", &lake, &["--retain", "0s"]));
        counts.more();
        std::fs::write(&stop, "").expect("the folder can be written");
        assert!(reader.wait().expect("it ends").success());
        std::fs::remove_file(&stop).expect("it was there");
        let (plays, all) = (sent.plays.len(), counts.all());
        assert!(all.iter().all(|(by_name, by_log)| *by_log == plays && *by_name >= plays), "{plays}: {all:?}");
        let twice = all.iter().filter(|(by_name, _)| *by_name > plays).count();
        assert!(twice <= 1, "{twice} of {} counts by name had plays twice: {all:?}", all.len());
        let usage = usage(&lake);
        assert_eq!(number(&usage, "/tables/0/total/files"), number(&usage, "/tables/0/total/partitions"), "{usage}");
    }
    running.stop();
    lake::assert_holds(&lake, &sent.plays);
}

/// Other tools may look after the lake beside a run: nothing is lost, and nothing is said for ever after.
#[test]
fn what_other_tools_do_to_a_lake_is_taken_quietly() {
    let Some(python) = python::environment() else {
        return eprintln!("LEFT OUT: no other tool has touched the lake");
    };
    let topic = broker::topic("others", 2);
    let folder = folder();
    let lake = folder.path();
    let mut sent = Sent::default();
    sent.send(&topic);
    let running = Running::start(&topic, lake, &["-w", "2", "--commit-interval", "100ms"]);
    let other = |what: &str| {
        let mut other = Command::new(python);
        other.arg(repository().join("tests/others.py")).arg(lake).arg(what);
        Program::spawn(&mut other).succeed().stdout
    };
    sent.send_commits(&topic, &running);
    for what in ["vacuum", "checkpoint", "optimize", "vacuum"] {
        eventually("all is in the lake", || (running.status()["lake_plays"] == sent.plays.len()).then_some(()));
        // What was replaced is what a VACUUM without patience deletes. An OPTIMIZE has to find something to do.
        if what != "optimize" {
            succeed(care("compact", lake, &["--all"]));
        }
        let said = other(what);
        assert!(what != "vacuum" || said.contains("VACUUM END"), "{said}");
        replay(lake, &[]).assert_equals(&sent.plays, &default_charts());
        succeed(care("vacuum", lake, &["--retain", "1h"]));
        for _ in 0..3 {
            sent.send(&topic);
            eventually("it is in the lake", || (running.status()["lake_plays"] == sent.plays.len()).then_some(()));
        }
        let log = lake.join("song_plays/_delta_log");
        let newest = number(&usage(lake), "/tables/0/version");
        assert!(log.join(format!("{newest:020}.crc")).exists(), "{what}: the newest version has no checksum");
    }
    running.caught_up(&topic);
    let said = running.program.stderr();
    // What is said of the plays is true, and not about the other tools.
    let of_plays = |line: &&str| line.contains("are no plays") || line.contains("too late for trending");
    let loud = said.lines().filter(|line| line.contains("ERROR") || line.contains(" WARN"));
    let loud: Vec<&str> = loud.filter(|line| !of_plays(line)).collect();
    assert!(loud.is_empty(), "{loud:#?}");
    running.stop();
    succeed(care("compact", lake, &["--all"]));
    succeed(care("vacuum", lake, &["--retain", "0s"]));
    lake::assert_holds(lake, &sent.plays);
    assert_eq!(number(&usage(lake), "/tables/0/untracked_files"), 0);
    run_to_end(&topic, lake, &[]).assert_equals(&sent.plays, &default_charts());
}

#[test]
fn the_lake_is_shown_and_one_cares_for_it_at_a_time() {
    let topic = unique("ls");
    let traffic = Traffic::generate(&topic, &words("--seed 10 --start 2025-10-01T00:00:00Z --rate max --count 2000"));
    let folder = folder();
    run_to_end(&topic, folder.path(), &[]);
    let shown = succeed(care("ls", folder.path(), &[])).stdout;
    assert!(shown.contains("song_plays · version") && shown.contains("2025-10-01"), "{shown}");
    assert!(shown.contains(" · a log of "), "{shown}");
    assert_eq!(number(&usage(folder.path()), "/tables/0/total/rows"), traffic.plays.len() as u64);
    // A second file of the same hour.
    broker::produce(&topic, 0, [Play::new("a", "2025-10-01T00:00:00Z").json()]);
    run_to_end(&topic, folder.path(), &["-w", "1"]);
    let young = succeed(care("compact", folder.path(), &[])).stderr;
    assert!(young.contains("older than 2h; --all takes files of any age"), "{young}");
    assert!(succeed(care("compact", folder.path(), &["--all"])).stderr.starts_with("compacted 1 partition: "));
    let said = succeed(care("vacuum", folder.path(), &["--retain", "0s"])).stderr;
    assert!(said.starts_with("deleted ") && said.contains("deleted the second name, in _merged"), "{said}");
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
