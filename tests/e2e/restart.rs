//! A run continues where the lake ends, with any number of workers, and counts no play twice.

use std::collections::HashSet;
use std::path::Path;

use crate::support::charts::default_charts;
use crate::support::fixture::{Traffic, folder};
use crate::support::plays::Play;
use crate::support::running::{Running, offsets, replay, run_to_end};
use crate::support::{broker, eventually, heavy, lake, unique};

fn split(options: &str) -> Vec<&str> {
    options.split_whitespace().collect()
}

/// Fails unless each offset of each partition is in the lake once, as a play or as a dead letter.
pub fn assert_every_offset_once(lake: &Path, topic: &str) {
    let plays = lake::plays(lake).into_iter().map(|row| (row.partition, row.offset));
    let letters = lake::dead_letters(lake).into_iter().map(|letter| (letter.partition, letter.offset));
    let mut offsets: Vec<(i32, i64)> = plays.chain(letters).collect();
    offsets.sort_unstable();
    let mut expected: Vec<(i32, i64)> = broker::ends(topic)
        .into_iter()
        .flat_map(|(partition, end)| (0..end).map(move |offset| (partition, offset)))
        .collect();
    expected.sort_unstable();
    assert_eq!(offsets.len(), expected.len(), "offsets in the lake, and in the topic");
    assert!(offsets == expected, "the lake has other offsets than the topic");
}

#[test]
fn a_run_with_other_workers_continues_where_the_last_one_ended() {
    let topic = unique("restart");
    let first = split("--seed 1 --start 2025-03-29T00:00:00Z --history 3d --count 40000 --late 0.1 --malformed 0.01");
    let second = split("--seed 2 --start 2025-03-30T12:00:00Z --history 1d --count 30000 --late 0.1 --malformed 0.01");
    let folder = folder();
    let _heavy = heavy();
    let mut plays = Vec::new();
    for (options, workers) in [(first, "3"), (second, "1")] {
        plays.extend(Traffic::generate(&topic, &options).plays);
        let live = run_to_end(&topic, folder.path(), &["-w", workers]);
        live.assert_equals(&plays, &default_charts());
        assert!(replay(folder.path(), &[]).lines == live.lines, "the replay");
        assert_every_offset_once(folder.path(), &topic);
    }
    lake::assert_holds(folder.path(), &plays);

    // A run without new records changes nothing.
    let third = run_to_end(&topic, folder.path(), &["-w", "2"]);
    third.assert_equals(&plays, &default_charts());
    assert_every_offset_once(folder.path(), &topic);
}

/// Runs are stopped between any two commits, by either signal.
#[test]
fn runs_stopped_while_plays_arrive_lose_none() {
    let topic = unique("stopped");
    let traffic = split("--seed 3 --start 2025-10-01T00:00:00Z --rate 8000 --count 48000 --malformed 0.01");
    let folder = folder();
    let lake = folder.path().to_path_buf();
    let _heavy = heavy();
    let generator = std::thread::spawn({
        let topic = topic.clone();
        move || Traffic::generate(&topic, &traffic)
    });
    // The generator creates the topic.
    eventually("the topic exists", || broker::exists(&topic).then_some(()));
    for (workers, signal) in [("1", "TERM"), ("2", "INT"), ("3", "TERM")] {
        let running = Running::start(&topic, &lake, &["-w", workers, "--commit-interval", "300ms"]);
        let before = running.status()["lake_version"].as_i64();
        eventually("there is a commit, or the generator has finished", || {
            let committed = running.status()["lake_version"].as_i64() > before.map(|version| version + 1);
            (committed || generator.is_finished()).then_some(())
        });
        running.program.signal(signal);
        running.program.succeed();
    }
    let traffic = generator.join().expect("the generator succeeds");
    let live = run_to_end(&topic, &lake, &["-w", "2"]);
    live.assert_equals(&traffic.plays, &default_charts());
    assert!(replay(&lake, &[]).lines == live.lines, "the replay");
    assert_every_offset_once(&lake, &topic);
}

/// A replay of a stopped run's lake equals the run's last answers.
#[test]
fn a_stopped_run_leaves_its_last_charts_in_the_lake() {
    let topic = broker::topic("left", 2);
    let play = |song: &str, second: i64| {
        let play = Play::new(song, "2025-05-05T05:05:00Z");
        Play { time: play.time + jiff::Span::new().seconds(second), ..play }
    };
    let plays: Vec<Play> = (0..200).map(|second| play(&(second % 7).to_string(), second)).collect();
    broker::produce(&topic, 0, plays[..1].iter().map(Play::json));
    let folder = folder();
    // The first commit happens when everything has been read; the second only when the run stops.
    let running = Running::start(&topic, folder.path(), &["-w", "2", "--commit-interval", "1h"]);
    eventually("the first play is committed", || (running.status()["lake_plays"] == 1).then_some(()));
    // Later epochs show that the run has noticed that nothing is left.
    for _ in 0..3 {
        let epoch = running.status()["epoch"].clone();
        eventually("an epoch", || (running.status()["epoch"] != epoch).then_some(()));
    }
    broker::produce(&topic, 0, plays[1..150].iter().map(Play::json));
    broker::produce(&topic, 1, plays[150..].iter().map(Play::json));
    let status = running.caught_up(&topic);
    assert_eq!(status["lake_plays"], 1);
    running.stop();
    let replayed = replay(folder.path(), &[]);
    replayed.assert_equals(&plays, &default_charts());
    assert_eq!(replayed.clock(), plays.iter().map(|play| play.time).max());

    // The next run continues from there.
    let again = Running::start(&topic, folder.path(), &["-w", "1"]);
    let status = again.caught_up(&topic);
    assert_eq!(offsets(&status, "start_offset"), [(0, 150), (1, 50)].into());
    assert_eq!((&status["accepted"], &status["lake_plays"]), (&0.into(), &200.into()));
    again.stop();
}

#[test]
fn from_latest_skips_earlier_records() {
    let topic = broker::topic("latest", 1);
    let old = Play::new("old", "2025-05-05T05:05:00Z");
    let new = Play::new("new", "2025-05-05T05:05:00Z");
    broker::produce(&topic, 0, [old.json()]);
    let folder = folder();
    let running = Running::start(&topic, folder.path(), &["--from", "latest"]);
    running.caught_up(&topic);
    broker::produce(&topic, 0, [new.json()]);
    running.caught_up(&topic);
    running.stop();
    replay(folder.path(), &[]).assert_equals(&[new], &default_charts());
    let offsets: HashSet<i64> = lake::plays(folder.path()).iter().map(|row| row.offset).collect();
    assert_eq!(offsets, [1].into());
}

/// Otherwise records that arrive before the partition is noticed would be lost.
#[test]
fn an_added_partition_is_read_from_its_beginning() {
    let topic = broker::topic("added", 1);
    let plays = ["a", "b", "c"].map(|song| Play::new(song, "2025-05-05T05:05:00Z"));
    broker::produce(&topic, 0, [plays[0].json()]);
    let folder = folder();
    run_to_end(&topic, folder.path(), &[]).assert_equals(&plays[..1], &default_charts());
    broker::add_partitions(&topic, 3);
    broker::produce(&topic, 2, plays[1..].iter().map(Play::json));
    run_to_end(&topic, folder.path(), &["--from", "latest", "-w", "2"]).assert_equals(&plays, &default_charts());
    assert_every_offset_once(folder.path(), &topic);
}
