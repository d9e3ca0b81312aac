//! `reprise demo`: everything in one process, without a terminal, ended by a signal.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::fixture::folder;
use crate::support::oracle::Printed;
use crate::support::program::{Program, clean, reprise};
use crate::support::running::{Running, replay};
use crate::support::{eventually, heavy};

/// How long the demo runs before Ctrl-C.
const RUNS_FOR: Duration = Duration::from_secs(20);

#[test]
fn a_demo_leaves_a_lake_that_replays_to_its_last_charts() {
    let folder = folder();
    let (lake, output) = (folder.path().join("lake"), folder.path().join("last.json"));
    let (lake_name, output_name) = (lake.to_str().unwrap(), output.to_str().unwrap());
    let arguments =
        ["demo", "--listen", "127.0.0.1:0", "--lake", lake_name, "--format", "json", "--output", output_name];
    let history = heavy();
    let began = Instant::now();
    let running = Running::of(reprise(arguments));
    eventually("the history is read", || (running.status()["accepted"].as_i64() > Some(190_000)).then_some(()));
    drop(history);
    std::thread::sleep(RUNS_FOR.saturating_sub(began.elapsed()));
    eventually("live plays are in the lake too", || {
        (running.status()["lake_plays"].as_i64() > Some(200_000)).then_some(())
    });
    assert!(!running.json("/v1/trending")["entries"].as_array().unwrap().is_empty(), "something is trending");
    let trending = running.json("/v1/trending");
    let plays = |rank: usize| trending["entries"][rank - 1]["plays"].as_i64().unwrap();
    assert!(plays(1) > 3 * plays(15), "few songs have most of the plays: {trending}");
    running.program.signal("INT");
    let ended = running.program.succeed();
    assert!(ended.stderr.contains("mock"), "no mention of the mock broker: {}", ended.stderr);

    let last = Printed::parse(&std::fs::read_to_string(&output).unwrap());
    let replayed = replay(&lake, &[]);
    assert!(last.lines.iter().any(|line| line.starts_with(r#"{"chart":"trending""#)), "the window has entries");
    assert_eq!(replayed.clock(), last.clock());
    assert_eq!(replayed.lines.len(), last.lines.len());
    let different = replayed.lines.iter().zip(&last.lines).find(|(replayed, last)| replayed != last);
    assert_eq!(different, None, "the first difference: replayed, shown last");
}

/// Starts a small demo in the working directory `folder`, and waits until plays are in its lake.
fn small(folder: &Path, options: &[&str]) -> Running {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reprise"));
    clean(&mut command);
    command.current_dir(folder).args(["demo", "--listen", "127.0.0.1:0", "--history-plays", "1000", "--rate", "100"]);
    let running = Running::of(Program::spawn(command.args(options)));
    eventually("plays are in the lake", || (running.status()["lake_plays"].as_i64() > Some(0)).then_some(()));
    running
}

/// A demo logs the path of its lake, and removes it on either signal.
#[test]
fn a_demo_removes_its_lake() {
    for signal in ["INT", "TERM"] {
        let folder = folder();
        let running = small(folder.path(), &[]);
        let lake = running.status()["lake"].as_str().unwrap().to_owned();
        assert!(Path::new(&lake).starts_with(folder.path().canonicalize().unwrap()), "{lake}");
        assert!(running.program.stderr().contains(&format!("removes its lake {lake}")), "{}", running.program.stderr());
        running.program.signal(signal);
        let ended = running.program.succeed();
        assert!(ended.stderr.contains(&format!("Removed the lake {lake} with its ")), "{}", ended.stderr);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

/// The second Ctrl-C ends the demo at once; the lake stays, and a message says so.
#[test]
fn a_demo_ended_by_a_second_ctrl_c_keeps_its_lake_and_says_so() {
    // The demo may end before the second Ctrl-C arrives.
    for _ in 0..5 {
        let folder = folder();
        let running = small(folder.path(), &[]);
        let lake = running.status()["lake"].as_str().unwrap().to_owned();
        running.program.signal("INT");
        running.program.signal("INT");
        let ended = running.program.end();
        if ended.status.code() == Some(130) {
            assert!(ended.stderr.contains(&format!("its lake {lake} stays")), "{}", ended.stderr);
            assert!(Path::new(&lake).exists());
            return;
        }
    }
    panic!("the second Ctrl-C came too late each time");
}

/// A demo that cannot start does not print how to end it, and leaves no files.
#[test]
fn a_demo_whose_port_is_taken_fails_at_once() {
    let folder = folder();
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_reprise"));
    clean(&mut command);
    command.current_dir(folder.path()).args(["demo", "--listen", &other.local_addr().unwrap().to_string()]);
    let ended = Program::spawn(&mut command).end();
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.stderr.contains("something already listens on"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("Ctrl-C") && !ended.stderr.contains("stays"), "{}", ended.stderr);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_demo_with_keep_keeps_its_lake() {
    let folder = folder();
    let running = small(folder.path(), &["--keep"]);
    let lake = running.status()["lake"].as_str().unwrap().to_owned();
    running.program.signal("TERM");
    let ended = running.program.succeed();
    assert!(ended.stderr.contains("See their charts again: reprise replay --lake lakes/demo-"), "{}", ended.stderr);
    assert!(!replay(Path::new(&lake), &[]).lines.is_empty());
}
