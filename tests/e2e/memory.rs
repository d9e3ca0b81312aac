//! A run that exceeds its memory limit ends with a message, and loses nothing.

#![cfg(target_os = "linux")]

use crate::support::charts::default_charts;
use crate::support::fixture::{Traffic, folder};
use crate::support::program::reprise;
use crate::support::running::{replay, run, run_to_end};
use crate::support::{heavy, lake, unique};

/// In MiB: enough for a run over a few tracks, and too little for one over many.
const LITTLE_MIB: &str = "100";

#[test]
fn exceeding_the_memory_limit_ends_a_run_and_loses_nothing() {
    let _heavy = heavy();
    let options = "--seed 5 --start 2025-03-01T00:00:00Z --history 5d --history-plays 400000 --count 400000 --songs 200000 --skew 0.1";
    let traffic = Traffic::generate(&unique("memory"), &options.split_whitespace().collect::<Vec<_>>());
    let folder = folder();
    let arguments = run(&traffic.topic, folder.path(), &["--until-caught-up", "-w", "2", "--memory-max", LITTLE_MIB]);
    let ended = reprise(arguments).end();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("may hold 100: what it counts does not fit"), "{}", ended.stderr);
    let kept = lake::plays(folder.path()).len();
    assert!(kept > 0 && kept < traffic.plays.len(), "{kept} of {}", traffic.plays.len());

    let refused = reprise(["replay", "--lake", folder.path().to_str().unwrap(), "--memory-max", "1"]).end();
    assert_eq!(refused.status.code(), Some(1), "{}", refused.stderr);
    assert!(refused.stderr.contains("may hold 1: what it counts does not fit"), "{}", refused.stderr);

    let live = run_to_end(&traffic.topic, folder.path(), &["-w", "2"]);
    live.assert_equals(&traffic.plays, &default_charts());
    assert!(replay(folder.path(), &[]).lines == live.lines, "the replay");
}
