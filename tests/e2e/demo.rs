//! `reprise demo`: everything in one process, without a terminal, left by Ctrl-C.

use std::time::{Duration, Instant};

use crate::support::fixture::folder;
use crate::support::oracle::Printed;
use crate::support::program::reprise;
use crate::support::running::{Running, replay};
use crate::support::{eventually, heavy};

/// How long it runs before Ctrl-C.
const RUNS_FOR: Duration = Duration::from_secs(20);

#[test]
fn a_demo_leaves_a_lake_that_replays_to_the_charts_that_it_showed_last() {
    let folder = folder();
    let (lake, output) = (folder.path().join("lake"), folder.path().join("last.json"));
    let (lake_name, output_name) = (lake.to_str().unwrap(), output.to_str().unwrap());
    let words = ["demo", "--listen", "127.0.0.1:0", "--lake", lake_name, "--format", "json", "--output", output_name];
    let history = heavy();
    let began = Instant::now();
    let running = Running::of(reprise(words));
    eventually("the history is read", || (running.status()["accepted"].as_i64() > Some(190_000)).then_some(()));
    drop(history);
    std::thread::sleep(RUNS_FOR.saturating_sub(began.elapsed()));
    eventually("live plays are in the lake too", || {
        (running.status()["lake_plays"].as_i64() > Some(200_000)).then_some(())
    });
    assert!(!running.json("/v1/trending")["entries"].as_array().unwrap().is_empty(), "something is trending");
    running.program.signal("INT");
    let ended = running.program.succeed();
    assert!(ended.stderr.contains("mock"), "it says that its broker is a mock: {}", ended.stderr);

    let last = Printed::parse(&std::fs::read_to_string(&output).unwrap());
    let replayed = replay(&lake, &[]);
    assert!(last.lines.iter().any(|line| line.starts_with(r#"{"chart":"trending""#)), "the window has entries");
    assert_eq!(replayed.clock(), last.clock());
    assert_eq!(replayed.lines.len(), last.lines.len());
    let different = replayed.lines.iter().zip(&last.lines).find(|(replayed, last)| replayed != last);
    assert_eq!(different, None, "the first cell that differs: replayed, and shown last");
}
