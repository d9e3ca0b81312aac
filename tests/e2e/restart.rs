//! A lake goes on where it ended, with any number of workers, and counts no play twice.

use std::collections::HashSet;
use std::path::Path;

use crate::support::charts::default_charts;
use crate::support::fixture::{Traffic, folder};
use crate::support::plays::Play;
use crate::support::running::{Running, offsets, replay, run_to_end};
use crate::support::{broker, eventually, heavy, lake, unique};

fn words(options: &str) -> Vec<&str> {
    options.split_whitespace().collect()
}

/// Each offset of each partition is in the lake once, as a play or as a dead letter.
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
    assert!(offsets == expected, "the lake has offsets of its own");
}

#[test]
fn a_second_run_with_other_workers_goes_on_where_the_first_ended() {
    let topic = unique("restart");
    let first = words("--seed 1 --start 2025-03-29T00:00:00Z --history 3d --count 40000 --late 0.1 --malformed 0.01");
    let second = words("--seed 2 --start 2025-03-30T12:00:00Z --history 1d --count 30000 --late 0.1 --malformed 0.01");
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

    // Nothing is new now, so nothing changes, and other charts can be asked for.
    let third = run_to_end(&topic, folder.path(), &["-w", "2"]);
    third.assert_equals(&plays, &default_charts());
    assert_every_offset_once(folder.path(), &topic);
}

/// Stopped at any moment, between any two commits, by either signal.
#[test]
fn runs_that_are_stopped_while_plays_come_in_lose_none() {
    let topic = unique("stopped");
    let traffic = words("--seed 3 --start 2025-10-01T00:00:00Z --rate 8000 --count 48000 --malformed 0.01");
    let folder = folder();
    let lake = folder.path().to_path_buf();
    let _heavy = heavy();
    let generator = std::thread::spawn({
        let topic = topic.clone();
        move || Traffic::generate(&topic, &traffic)
    });
    // The generator makes the topic.
    eventually("the topic is there", || broker::exists(&topic).then_some(()));
    for (workers, signal) in [("1", "TERM"), ("2", "INT"), ("3", "TERM")] {
        let running = Running::start(&topic, &lake, &["-w", workers, "--commit-interval", "300ms"]);
        let before = running.status()["lake_version"].as_i64();
        eventually("something has been committed, or nothing more will come", || {
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

/// The lake of a run that has been stopped replays to what the run answered last.
#[test]
fn a_stopped_run_leaves_what_it_answered() {
    let topic = broker::topic("left", 2);
    let play = |song: &str, second: i64| {
        let play = Play::new(song, "2025-05-05T05:05:00Z");
        Play { time: play.time + jiff::Span::new().seconds(second), ..play }
    };
    let plays: Vec<Play> = (0..200).map(|second| play(&(second % 7).to_string(), second)).collect();
    broker::produce(&topic, 0, plays[..1].iter().map(Play::json));
    let folder = folder();
    // The first commit comes when everything has been read, and then only leaving commits.
    let running = Running::start(&topic, folder.path(), &["-w", "2", "--commit-interval", "1h"]);
    eventually("the first play is committed", || (running.status()["lake_plays"] == 1).then_some(()));
    // And the run has seen, in an epoch after that, that nothing is left.
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

    // And it is where the next one begins.
    let again = Running::start(&topic, folder.path(), &["-w", "1"]);
    let status = again.caught_up(&topic);
    assert_eq!(offsets(&status, "start_offset"), [(0, 150), (1, 50)].into());
    assert_eq!((&status["accepted"], &status["lake_plays"]), (&0.into(), &200.into()));
    again.stop();
}

#[test]
fn from_latest_leaves_out_what_was_there_before() {
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

/// What a partition has got before anybody knew of it would be lost otherwise.
#[test]
fn a_partition_that_was_added_is_read_from_its_beginning() {
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
