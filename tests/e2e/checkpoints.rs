//! A run that starts from a checkpoint gives the same charts as one that reads the whole lake.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::charts::{CHARTS, charts, default_charts};
use crate::support::fixture::{Traffic, folder, traffic};
use crate::support::heavy;
use crate::support::program::succeed;
use crate::support::running::{Running, replay, run, run_to_end};
use crate::support::unique;

fn make(lake: &Path, options: &[&str]) -> String {
    let lake = lake.to_str().unwrap();
    succeed(["lake", "checkpoint", "--lake", lake].iter().chain(options)).stderr
}

fn checkpoints(lake: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(lake.join("_checkpoints")) else { return Vec::new() };
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.file_name().unwrap().to_str().unwrap().starts_with("checkpoint-"));
    found.sort();
    found
}

#[test]
fn a_restart_from_a_checkpoint_gives_the_charts_of_the_lake() {
    let topic = unique("checkpoint");
    let split = |options: &'static str| options.split_whitespace().collect::<Vec<_>>();
    let parts = [
        split(
            "--seed 11 --start 2025-03-29T00:00:00Z --history 20d --count 30000 --late 0.1 --malformed 0.01 --songs 2000",
        ),
        split("--seed 12 --start 2025-03-29T01:00:00Z --history 1d --count 20000 --late 0.3 --songs 2000"),
        split("--seed 13 --start 2025-03-28T12:00:00Z --history 2d --count 10000 --late 0.3 --songs 3000"),
    ];
    let folder = folder();
    let lake = folder.path();
    let _heavy = heavy();
    let mut plays = Vec::new();
    for (part, workers) in parts.iter().zip(["3", "2", "5"]) {
        plays.extend(Traffic::generate(&topic, part).plays);
        let live = run_to_end(&topic, lake, &["-w", workers]);
        live.assert_equals(&plays, &default_charts());
        assert!(replay(lake, &[]).lines == live.lines, "the replay");
        let stderr = make(lake, &[]);
        assert!(stderr.contains("made a checkpoint"), "{stderr}");
        assert!(make(lake, &[]).contains("already"));
        // The checkpoint now covers all plays.
        run_to_end(&topic, lake, &["-w", "1"]).assert_equals(&plays, &default_charts());
    }
    assert_eq!(checkpoints(lake).len(), 2, "old ones are deleted");

    // Other charts need data that the checkpoint lacks, so the run reads the lake.
    let file = lake.join("charts.toml");
    fs::write(&file, CHARTS).unwrap();
    let options = ["--until-caught-up", "--format", "json", "--charts", file.to_str().unwrap()];
    let ended = succeed(run(&topic, lake, &options));
    assert!(ended.stderr.contains("made for other charts"), "{}", ended.stderr);
    let printed = crate::support::oracle::Printed::parse(&ended.stdout);
    printed.assert_equals(&plays, &charts());

    // A damaged checkpoint is ignored, and the previous one is used.
    let newest = checkpoints(lake).pop().unwrap();
    let tallies = newest.join("tallies-07.parquet");
    let mut bytes = fs::read(&tallies).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&tallies, bytes).unwrap();
    let ended = succeed(run(&topic, lake, &["--until-caught-up", "--format", "json", "-w", "2"]));
    assert!(ended.stderr.contains("is damaged"), "{}", ended.stderr);
    crate::support::oracle::Printed::parse(&ended.stdout).assert_equals(&plays, &default_charts());
}

/// Checkpoints are made in the background while plays arrive, and are used after a SIGKILL.
#[test]
fn a_run_makes_checkpoints_by_itself() {
    let traffic = traffic();
    let folder = folder();
    let _heavy = heavy();
    let options = ["-w", "2", "--commit-interval", "200ms", "--checkpoint-interval", "300ms"];
    let running = Running::start(&traffic.topic, folder.path(), &options);
    running.caught_up(&traffic.topic);
    crate::support::eventually("there is a checkpoint", || (!checkpoints(folder.path()).is_empty()).then_some(()));
    running.program.signal("KILL");
    running.program.end();
    let again = Running::start(&traffic.topic, folder.path(), &options);
    let status = again.caught_up(&traffic.topic);
    assert_ne!(status["checkpoint_version"], Value::Null);
    again.stop();
    replay(folder.path(), &[]).assert_equals(&traffic.plays, &default_charts());
    run_to_end(&traffic.topic, folder.path(), &["-w", "3"]).assert_equals(&traffic.plays, &default_charts());
}
