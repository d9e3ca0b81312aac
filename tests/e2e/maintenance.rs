//! Compaction and vacuum while an instance runs, killed at each of their steps: no play is lost or
//! doubled.

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

/// The failpoints of each command.
const COMPACTION_POINTS: [&str; 5] =
    ["compact-staged", "compact-intended", "compact-renaming", "compact-renamed", "compact-appended"];
const VACUUM_POINTS: [&str; 6] =
    ["vacuum", "vacuum*3", "publish-linked", "publish-linked*2", "publish-deleted", "publish-appended"];

fn split(options: &str) -> Vec<&str> {
    options.split_whitespace().collect()
}

fn lake_command<'a>(command: &'a str, lake: &'a Path, options: &[&'a str]) -> Vec<&'a str> {
    let lake = lake.to_str().expect("folders of tests are UTF-8");
    [&["lake", command, "--lake", lake], options].concat()
}

fn usage(lake: &Path) -> Value {
    let printed = succeed(lake_command("ls", lake, &["--format", "json"])).stdout;
    serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"))
}

fn number(usage: &Value, path: &str) -> u64 {
    usage.pointer(path).and_then(Value::as_u64).unwrap_or_else(|| panic!("no {path} in {usage}"))
}

/// The records sent to a topic of two partitions.
#[derive(Default)]
struct Sent {
    plays: Vec<Play>,
    bad: usize,
}

impl Sent {
    /// Sends plays of three hours, and one record that is not a play.
    fn send(&mut self, topic: &str) {
        let first = Play::new(&(self.plays.len() % 7).to_string(), "2025-10-01T05:05:00Z");
        let play = |minutes: i64| Play { time: first.time + jiff::Span::new().minutes(minutes), ..first.clone() };
        let plays: Vec<Play> = (0..180).map(play).collect();
        broker::produce(topic, 0, plays[..100].iter().map(Play::json));
        broker::produce(topic, 1, plays[100..].iter().map(Play::json).chain([b"no play".to_vec()]));
        self.plays.extend(plays);
        self.bad += 1;
    }

    /// Sends plays in two commits, so that there are small files to compact, and then more plays,
    /// whose commit happens during the operation that follows.
    fn send_commits(&mut self, topic: &str, running: &Running) {
        for _ in 0..2 {
            self.send(topic);
            eventually("the plays are in the lake", || {
                (running.status()["lake_plays"] == self.plays.len()).then_some(())
            });
        }
        self.send(topic);
    }
}

/// Runs `command`, which must die at the failpoint `point`.
fn die_at(point: &str, command: Vec<&str>) {
    let ended = reprise_with(command, &[("REPRISE_FAILPOINT", point.to_owned())]).end();
    assert!(!ended.status.success() && ended.stderr.contains("the process dies"), "{point}: {}", ended.stderr);
}

#[test]
fn maintenance_killed_at_any_step_changes_no_play() {
    let topic = broker::topic("maintenance", 2);
    let folder = folder();
    let lake = folder.path();
    let mut sent = Sent::default();
    sent.send(&topic);
    let running = Running::start(&topic, lake, &["-w", "2", "--commit-interval", "100ms"]);
    for point in COMPACTION_POINTS {
        sent.send_commits(&topic, &running);
        die_at(point, lake_command("compact", lake, &["--all"]));
        sent.send_commits(&topic, &running);
        succeed(lake_command("compact", lake, &["--all"]));
    }
    for point in VACUUM_POINTS {
        sent.send_commits(&topic, &running);
        succeed(lake_command("compact", lake, &["--all"]));
        die_at(point, lake_command("vacuum", lake, &["--retain", "0s"]));
        sent.send(&topic);
        succeed(lake_command("vacuum", lake, &["--retain", "0s"]));
    }
    running.caught_up(&topic);
    running.stop();
    succeed(lake_command("compact", lake, &["--all"]));
    succeed(lake_command("vacuum", lake, &["--retain", "0s"]));

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

/// The maintenance that `run` does by itself, with short intervals.
#[test]
fn a_run_compacts_quiet_hours_and_deletes_replaced_files() {
    let topic = unique("auto-maintenance");
    let traffic = split(
        "--seed 9 --start 2025-10-01T00:00:00Z --rate 8000 --count 24000 --history 2h --late 0.2 --malformed 0.01",
    );
    let folder = folder();
    let lake = folder.path();
    let _heavy = heavy();
    let generator = std::thread::spawn({
        let topic = topic.clone();
        move || Traffic::generate(&topic, &traffic)
    });
    eventually("the topic exists", || broker::exists(&topic).then_some(()));
    let options = ["-w", "2", "--commit-interval", "100ms", "--compact-after", "500ms", "--retain", "500ms"];
    let running = Running::start(&topic, lake, &options);
    let traffic = generator.join().expect("the generator succeeds");
    running.caught_up(&topic);
    let usage = eventually("the lake is compacted and vacuumed", || {
        let usage = usage(lake);
        let is_tidy = (0..2).all(|table| {
            let count = |name: &str| number(&usage, &format!("/tables/{table}/{name}"));
            count("total/files") == count("total/partitions") && count("untracked_files") == 0
        });
        (is_tidy && number(&usage, "/tables/0/total/rows") == traffic.plays.len() as u64).then_some(usage)
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

/// Late plays that keep arriving for an old hour, each in a commit of its own.
#[test]
fn continuous_late_plays_do_not_prevent_compaction() {
    const FILES_MAX: u64 = 60;
    let topic = broker::topic("trickle", 1);
    let folder = folder();
    let lake = folder.path();
    let mut plays: Vec<Play> = Vec::new();
    let options = ["-w", "1", "--commit-interval", "50ms", "--compact-after", "1s", "--retain", "1s"];
    let running = Running::start(&topic, lake, &options);
    let files = |table: &str| number(&usage(lake), &format!("/tables/0/{table}"));
    // Each play has a commit and a file of its own. A small number of files shows that files are
    // merged while more plays arrive.
    let merged = (1..=400).find(|_| {
        let play = Play::new(&(plays.len() % 5).to_string(), "2025-10-01T05:05:00Z");
        broker::produce(&topic, 0, [play.json()]);
        plays.push(play);
        eventually("the plays are in the lake", || (running.status()["lake_plays"] == plays.len()).then_some(()));
        plays.len() > 2 * FILES_MAX as usize && plays.len().is_multiple_of(10) && files("total/files") < FILES_MAX
    });
    assert!(merged.is_some(), "{} plays are in {} files", plays.len(), files("total/files"));
    // Files that were replaced or merged do not accumulate on disk either.
    eventually("replaced files are deleted", || (files("untracked_files") == 0).then_some(()));
    running.stop();
    lake::assert_holds(lake, &plays);
    replay(lake, &[]).assert_equals(&plays, &default_charts());
}

/// Numbers of plays by file name and by the log, as `tests/poll.py` writes them.
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

    /// Waits for a few more counts.
    fn wait_for_more(&self) {
        let before = self.all().len();
        eventually("there are more counts", || (self.all().len() > before + 3).then_some(()));
    }
}

/// DuckDB counts continuously, with the queries of the README, while the lake is compacted and
/// vacuumed during a run.
#[test]
fn readers_by_file_name_see_each_play_once_during_compaction() {
    const ROUNDS: usize = 3;
    let Some(python) = python::environment() else {
        return eprintln!("SKIPPED: no Python for the other readers");
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
            eventually("the plays are in the lake", || {
                (running.status()["lake_plays"] == sent.plays.len()).then_some(())
            });
        }
        // No commits from here on, so both counts are stable.
        let mut reader = Command::new(python);
        reader.arg(repository().join("tests/poll.py")).args([&lake, &stop]);
        reader.stdout(std::fs::File::create(&counts.path).expect("a file for the counts"));
        let mut reader = reader.spawn().expect("Python runs");
        counts.wait_for_more();
        succeed(lake_command("compact", &lake, &["--all"]));
        counts.wait_for_more();
        succeed(lake_command("vacuum", &lake, &["--retain", "1h"]));
        counts.wait_for_more();
        succeed(lake_command("vacuum", &lake, &["--retain", "0s"]));
        counts.wait_for_more();
        std::fs::write(&stop, "").expect("the folder can be written");
        assert!(reader.wait().expect("the reader ends").success());
        std::fs::remove_file(&stop).expect("the file exists");
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

/// Other tools may maintain the lake during a run: nothing is lost, and no warnings follow.
#[test]
fn maintenance_by_other_tools_loses_nothing_and_logs_no_warning() {
    let Some(python) = python::environment() else {
        return eprintln!("SKIPPED: no Python for the other tools");
    };
    let topic = broker::topic("others", 2);
    let folder = folder();
    let lake = folder.path();
    let mut sent = Sent::default();
    sent.send(&topic);
    let running = Running::start(&topic, lake, &["-w", "2", "--commit-interval", "100ms"]);
    let other_tool = |operation: &str| {
        let mut other = Command::new(python);
        other.arg(repository().join("tests/others.py")).arg(lake).arg(operation);
        Program::spawn(&mut other).succeed().stdout
    };
    sent.send_commits(&topic, &running);
    for operation in ["vacuum", "checkpoint", "optimize", "vacuum"] {
        eventually("all plays are in the lake", || (running.status()["lake_plays"] == sent.plays.len()).then_some(()));
        // VACUUM with no retention deletes the files that compaction replaced. OPTIMIZE needs files
        // that are not compacted.
        if operation != "optimize" {
            succeed(lake_command("compact", lake, &["--all"]));
        }
        let output = other_tool(operation);
        assert!(operation != "vacuum" || output.contains("VACUUM END"), "{output}");
        replay(lake, &[]).assert_equals(&sent.plays, &default_charts());
        succeed(lake_command("vacuum", lake, &["--retain", "1h"]));
        for _ in 0..3 {
            sent.send(&topic);
            eventually("the plays are in the lake", || {
                (running.status()["lake_plays"] == sent.plays.len()).then_some(())
            });
        }
        let log = lake.join("song_plays/_delta_log");
        let newest = number(&usage(lake), "/tables/0/version");
        assert!(log.join(format!("{newest:020}.crc")).exists(), "{operation}: the newest version has no checksum");
    }
    running.caught_up(&topic);
    let stderr = running.program.stderr();
    // Warnings about the plays themselves are expected.
    let of_plays = |line: &&str| line.contains("are no plays") || line.contains("too late for the trending window");
    let warnings = stderr.lines().filter(|line| line.contains("ERROR") || line.contains(" WARN"));
    let warnings: Vec<&str> = warnings.filter(|line| !of_plays(line)).collect();
    assert!(warnings.is_empty(), "{warnings:#?}");
    running.stop();
    succeed(lake_command("compact", lake, &["--all"]));
    succeed(lake_command("vacuum", lake, &["--retain", "0s"]));
    lake::assert_holds(lake, &sent.plays);
    assert_eq!(number(&usage(lake), "/tables/0/untracked_files"), 0);
    run_to_end(&topic, lake, &[]).assert_equals(&sent.plays, &default_charts());
}

#[test]
fn lake_ls_shows_the_lake_and_only_one_process_maintains_it_at_a_time() {
    let topic = unique("ls");
    let traffic = Traffic::generate(&topic, &split("--seed 10 --start 2025-10-01T00:00:00Z --rate max --count 2000"));
    let folder = folder();
    run_to_end(&topic, folder.path(), &[]);
    let shown = succeed(lake_command("ls", folder.path(), &[])).stdout;
    assert!(shown.contains("song_plays · version") && shown.contains("2025-10-01"), "{shown}");
    assert!(shown.contains(" · a log of "), "{shown}");
    assert_eq!(number(&usage(folder.path()), "/tables/0/total/rows"), traffic.plays.len() as u64);
    // A second file of the same hour.
    broker::produce(&topic, 0, [Play::new("a", "2025-10-01T00:00:00Z").json()]);
    run_to_end(&topic, folder.path(), &["-w", "1"]);
    let young = succeed(lake_command("compact", folder.path(), &[])).stderr;
    assert!(young.contains("older than 2h; --all takes files of any age"), "{young}");
    assert!(succeed(lake_command("compact", folder.path(), &["--all"])).stderr.starts_with("compacted 1 partition: "));
    let stderr = succeed(lake_command("vacuum", folder.path(), &["--retain", "0s"])).stderr;
    assert!(stderr.starts_with("deleted ") && stderr.contains("deleted the second name, in _merged"), "{stderr}");
    let lock = folder.path().join("song_plays/_staging/care.lock");
    let held =
        std::fs::File::options().create(true).truncate(false).write(true).open(lock).expect("the lock is a file");
    held.lock().expect("the lock is free");
    for command in ["compact", "vacuum"] {
        let ended = reprise_with(lake_command(command, folder.path(), &[]), &[]).end();
        assert_eq!(ended.status.code(), Some(1));
        assert!(ended.stderr.contains("another process compacts or vacuums"), "{}", ended.stderr);
    }
}
