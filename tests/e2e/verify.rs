//! `reprise verify`: an instance serves what its lake holds at any moment, and incomplete lakes are
//! reported.

use std::path::Path;

use serde_json::Value;

use crate::support::fixture::{Traffic, folder};
use crate::support::plays::Play;
use crate::support::program::{Ended, reprise, reprise_with, succeed};
use crate::support::running::{Running, run};
use crate::support::{broker, eventually, heavy, unique};

/// Compares the instance with a replay of `lake`.
fn verify(running: &Running, lake: &Path, workers: &str) -> Ended {
    reprise(["verify", "--lake", lake.to_str().unwrap(), "--against", &running.address, "-w", workers]).end()
}

/// The lake version that was compared, and the number of cells. Fails unless all charts are the
/// same.
fn compared(ended: &Ended) -> (u64, u64) {
    assert!(ended.status.success(), "{}\n{}", ended.stdout, ended.stderr);
    let version = ended.stdout.strip_prefix("lake version ").and_then(|rest| rest.split(',').next()).unwrap();
    let charts: Vec<Vec<&str>> = ended.stdout.lines().skip(2).map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(
        charts.iter().map(|columns| columns[0]).collect::<Vec<_>>(),
        ["all-time", "monthly", "trending", "weekly"]
    );
    assert!(charts.iter().all(|columns| columns.last() == Some(&"same")), "{}", ended.stdout);
    (version.parse().unwrap(), charts.iter().map(|columns| columns[1].replace(',', "").parse::<u64>().unwrap()).sum())
}

/// While plays arrive and commits are made, with any number of workers on either side, and across
/// restarts.
#[test]
fn a_live_instance_equals_replays_of_its_lake_at_any_moment() {
    let topic = broker::topic("verify", 3);
    let options = "--seed 9 --history 3d --history-plays 20000 --count 60000 --rate 4000 --late 0.1 --malformed 0.01";
    let folder = folder();
    let _heavy = heavy();
    let generator = std::thread::spawn({
        let topic = topic.clone();
        move || Traffic::generate(&topic, &options.split_whitespace().collect::<Vec<_>>())
    });
    let mut versions = Vec::new();
    for (live, replayed) in [("2", ["1", "3"]), ("3", ["2", "1"]), ("1", ["2", "3"])] {
        let options = ["-w", live, "--commit-interval", "200ms"];
        let running = Running::start(&topic, folder.path(), &options);
        eventually("the charts of the lake are served", || (running.get("/readyz").0 == 200).then_some(()));
        for workers in replayed {
            let served = || running.json("/v1/trending?durable=true")["as_of"]["lake_version"].as_u64().unwrap();
            let before = versions.last().copied().unwrap_or_else(served);
            eventually("there is a commit, or the generator has finished", || {
                let chart = running.json("/v1/charts/all-time?durable=true");
                assert_eq!(chart["as_of"]["durable"], true);
                let newer = chart["as_of"]["lake_version"].as_u64().unwrap() > before;
                let is_empty = chart["entries"].as_array().unwrap().is_empty();
                ((newer || generator.is_finished()) && !is_empty).then_some(())
            });
            let (version, cells) = compared(&verify(&running, folder.path(), workers));
            assert!(version >= before, "version {version} after {before}, {cells} cells");
            versions.push(version);
        }
        running.stop();
    }
    generator.join().expect("the generator succeeds");
    assert!(versions.iter().collect::<std::collections::BTreeSet<_>>().len() >= 3, "{versions:?}");
    let alone = succeed(["verify", "--lake", folder.path().to_str().unwrap()]);
    assert_eq!(alone.stdout.matches(" complete").count(), 3, "{}", alone.stdout);
}

#[test]
fn a_snapshot_is_a_header_and_every_cell() {
    let topic = unique("snapshot");
    let options = "--seed 10 --start 2025-05-05T00:00:00Z --history 10d --history-plays 5000 --count 5000 --rate max";
    Traffic::generate(&topic, &options.split_whitespace().collect::<Vec<_>>());
    let folder = folder();
    // With this option, the clock stays at the last play.
    let running = Running::start(&topic, folder.path(), &["-w", "2", "--commit-interval", "100ms", "--idle", "1h"]);
    running.caught_up(&topic);
    let lines = |path: &str| {
        let (status, body) = running.get(path);
        assert_eq!(status, 200, "{body}");
        body.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
    };
    eventually("everything is committed", || {
        let durable = lines("/v1/snapshot?durable=true");
        let newest = lines("/v1/snapshot");
        // The clock, and with it the window, may advance between commits.
        let without = |cells: &[Value]| {
            let mut cells: Vec<Value> = cells[1..].iter().filter(|cell| cell["chart"] != "trending").cloned().collect();
            cells.iter_mut().for_each(|cell| drop(cell.as_object_mut().unwrap().remove("as_of")));
            cells
        };
        assert_eq!((&durable[0]["topic"], &newest[0]["topic"]), (&topic.as_str().into(), &topic.as_str().into()));
        assert_eq!((&durable[0]["as_of"]["durable"], &newest[0]["as_of"]["durable"]), (&true.into(), &false.into()));
        (newest.len() > 40 && without(&durable) == without(&newest)).then_some(())
    });
    running.stop();
}

/// A comparison with the wrong lake or charts is refused with the reason, and not reported as a
/// difference.
#[test]
fn comparisons_with_the_wrong_lake_or_charts_are_refused() {
    let [topic, other] = ["compared", "other"].map(|name| broker::topic(name, 1));
    let play = crate::support::plays::Play::new("a", "2025-05-05T05:05:00Z");
    let folder = folder();
    let [lake, others] = ["lake", "other"].map(|name| folder.path().join(name));
    for topic in [&topic, &other] {
        broker::produce(topic, 0, [play.json()]);
    }
    crate::support::running::run_to_end(&other, &others, &[]);
    let running = Running::start(&topic, &lake, &["--commit-interval", "100ms"]);
    running.caught_up(&topic);
    let refused = |lake: &Path, options: &[&str], message: &str| {
        let arguments = ["verify", "--lake", lake.to_str().unwrap(), "--against", &running.address];
        let ended = reprise(arguments.iter().chain(options)).end();
        assert_eq!(ended.status.code(), Some(1));
        assert!(ended.stderr.contains(message), "{message}: {}", ended.stderr);
    };
    eventually("the play is committed", || (compared(&verify(&running, &lake, "1")).1 > 0).then_some(()));
    let charts = folder.path().join("charts.toml");
    std::fs::write(&charts, "[[chart]]\nname = \"weekly\"\nperiod = \"week\"\ntop = 3\n").unwrap();
    refused(&lake, &["--charts", charts.to_str().unwrap()], "give --charts the file that the instance has");
    refused(&folder.path().join("nowhere"), &[], "there is no lake");
    refused(&others, &[], &format!("holds {other}: name its own lake, {}", lake.display()));
    let file = crate::support::lake::files(&lake).pop().expect("a file of plays");
    let kept = std::fs::read(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    refused(&lake, &[], file.file_name().unwrap().to_str().unwrap());
    std::fs::write(&file, kept).unwrap();
    compared(&verify(&running, &lake, "2"));
    running.stop();
    let ended = reprise(["verify", lake.to_str().unwrap(), "--against", "127.0.0.1:1", "--wait", "0s"]).end();
    assert_eq!(ended.status.code(), Some(1));
    let advises = ended.stderr.contains("no reprise answers at") && ended.stderr.contains("name it with --against");
    assert!(advises && !ended.stderr.contains("--url"), "{}", ended.stderr);
}

/// `verify` started before the instance listens, while it opens or rebuilds its lake, or before it
/// has read anything, waits until there is something to compare.
#[test]
fn verify_waits_for_an_instance_that_is_starting() {
    let topic = broker::topic("just-begun", 2);
    let plays = (0..500).map(|song| Play::new(&(song % 9).to_string(), "2025-05-05T05:05:00Z").json());
    broker::produce(&topic, 0, plays);
    let folder = folder();
    let lake = folder.path().to_str().unwrap();
    // A port that has just been released.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    // With a new lake, and then with one that has to be rebuilt.
    for _ in 0..2 {
        let verifying = reprise(["verify", lake, "--against", &address]);
        eventually("verify waits", || verifying.stderr().contains("waiting for it").then_some(()));
        let running = Running::start(&topic, folder.path(), &["--listen", &address, "--commit-interval", "1h"]);
        assert!(compared(&verifying.end()).1 > 0);
        running.stop();
    }
}

/// A start commits as soon as it has read everything, so that it can be verified at once. An empty
/// lake verifies nothing.
#[test]
fn verify_waits_for_the_first_commit_and_reports_uncommitted_plays() {
    let topic = broker::topic("first-commit", 2);
    let folder = folder();
    let lake = folder.path().to_str().unwrap().to_owned();
    let running = Running::start(&topic, folder.path(), &["--commit-interval", "1h", "--idle", "1h"]);
    running.caught_up(&topic);
    let nothing = verify(&running, folder.path(), "1");
    assert_eq!(nothing.status.code(), Some(1), "{}", nothing.stdout);
    assert!(nothing.stderr.contains("there is nothing to compare") && nothing.stdout.is_empty(), "{}", nothing.stderr);
    assert!(succeed(["verify", "--lake", &lake]).stdout.contains("the lake holds no play yet"));

    let plays: Vec<Play> = (0..500).map(|song| Play::new(&(song % 9).to_string(), "2025-05-05T05:05:00Z")).collect();
    broker::produce(&topic, 0, plays.iter().map(Play::json));
    running.caught_up(&topic);
    // The interval has not passed and nothing has waited: the first commit is under way or done.
    let (_, cells) = compared(&verify(&running, folder.path(), "2"));
    assert!(cells > 0);

    // Later plays are not in the lake yet, which is reported.
    broker::produce(&topic, 1, plays[..7].iter().map(Play::json));
    running.caught_up(&topic);
    eventually("the status counts them", || (running.status()["uncommitted_plays"] == 7).then_some(()));
    let ended = verify(&running, folder.path(), "1");
    compared(&ended);
    assert!(ended.stderr.contains("7 plays are not committed yet; the next commit is in "), "{}", ended.stderr);
    running.stop();

    // With only dead letters, the lake is complete, and there is still nothing to compare.
    let topic = broker::topic("only-bad", 1);
    let others = folder.path().join("others");
    broker::produce(&topic, 0, ["not json"]);
    let running = Running::start(&topic, &others, &["--commit-interval", "100ms"]);
    running.caught_up(&topic);
    running.stop();
    assert!(succeed(["verify", "--lake", others.to_str().unwrap()]).stdout.contains("complete (1 dead letter)"));
}

/// While nothing can be committed, `--wait` limits the time that `verify` waits. It continues after
/// the commit.
#[test]
fn verify_fails_if_the_first_commit_does_not_come() {
    let topic = broker::topic("never-committed", 1);
    let folder = folder();
    let (lake, release) = (folder.path().join("lake"), folder.path().join("release"));
    broker::produce(&topic, 0, [Play::new("a", "2025-05-05T05:05:00Z").json()]);
    let full =
        [("REPRISE_FAILPOINT", "staged=full".into()), ("REPRISE_FAILPOINT_UNTIL", release.to_str().unwrap().into())];
    let running = Running::of(reprise_with(run(&topic, &lake, &["--commit-interval", "1h"]), &full));
    running.caught_up(&topic);
    let arguments = ["verify", "--lake", lake.to_str().unwrap(), "--against", &running.address, "--wait"];
    let ended = reprise(arguments.iter().chain(&["0s"])).end();
    assert_eq!((ended.status.code(), ended.stdout.as_str()), (Some(1), ""), "{}", ended.stderr);
    assert!(ended.stderr.contains("nothing to compare: 1 play is not committed yet"), "{}", ended.stderr);
    let waiting = reprise(arguments.iter().chain(&["90s"]));
    eventually("verify reports that it waits", || waiting.stderr().contains("waiting for it").then_some(()));
    std::fs::write(release, "").unwrap();
    assert!(compared(&waiting.end()).1 > 0);
    running.stop();
}

/// A lake without an instance: complete, or exactly what is wrong with it.
#[test]
fn an_incomplete_lake_is_reported() {
    let topic = broker::topic("whole", 2);
    let plays = ["a", "b", "c"].map(|song| crate::support::plays::Play::new(song, "2025-05-05T05:05:00Z"));
    broker::produce(&topic, 0, plays.iter().map(crate::support::plays::Play::json));
    broker::produce(&topic, 1, ["not json"]);
    let folder = folder();
    crate::support::running::run_to_end(&topic, folder.path(), &["-w", "2"]);
    let lake = folder.path().to_str().unwrap();
    let whole = succeed(["verify", "--lake", lake]).stdout;
    assert!(whole.contains(&format!("{topic}/0: 0 … 3 complete\n")), "{whole}");
    assert!(whole.contains(&format!("{topic}/1: 0 … 1 complete (1 dead letter)\n")), "{whole}");

    let file = crate::support::lake::files(folder.path()).pop().expect("a file of plays");
    let kept = std::fs::read(&file).unwrap();
    let name = file.file_name().unwrap().to_str().unwrap();
    for damaged in [None, Some(kept[..kept.len() / 2].to_vec()), Some([&kept[..], b"more"].concat())] {
        match damaged {
            None => std::fs::remove_file(&file).unwrap(),
            Some(bytes) => std::fs::write(&file, bytes).unwrap(),
        }
        let ended = reprise(["verify", "--lake", lake]).end();
        assert_eq!(ended.status.code(), Some(1));
        assert!(ended.stdout.contains(name), "{}\n{}", ended.stdout, ended.stderr);
        assert!(ended.stdout.contains(&format!("{topic}/0: 0 … 3 LOST 3 of 3, first at 0")), "{}", ended.stdout);
        assert!(!ended.stdout.contains("holds no play"), "lost plays reported as never held: {}", ended.stdout);
    }
    std::fs::write(&file, kept).unwrap();
    assert_eq!(succeed(["verify", "--lake", lake]).stdout, whole);
}
