//! Runs `scripts/chaos`: kills at random instants and at every step, and a count by third-party
//! readers.

use std::process::Command;
use std::time::Duration;

use crate::support::program::Program;
use crate::support::{broker, heavy, python, repository};

/// A kill takes two seconds on an idle machine, and five in a cluster, where freezes have to be
/// detected.
const TIMEOUT: Duration = Duration::from_secs(600);

#[test]
fn repeated_kills_lose_and_double_nothing() {
    chaos("1", "20");
}

#[test]
fn repeated_kills_and_freezes_of_cluster_processes_lose_and_double_nothing() {
    chaos("3", "10");
}

fn chaos(processes: &str, kills: &str) {
    if python::environment().is_none() {
        return eprintln!("SKIPPED: no Python for the other readers");
    }
    let _heavy = heavy();
    let mut chaos = Command::new("python3");
    let options = ["--processes", processes, "--kills", kills, "--reprise", env!("CARGO_BIN_EXE_reprise")];
    chaos.arg(repository().join("scripts/chaos")).args(options);
    chaos.env("KAFKA_BOOTSTRAP_SERVERS", broker::servers());
    let ended = Program::spawn(&mut chaos).end_within(TIMEOUT);
    assert!(ended.status.success(), "{}: {}\n{}", ended.status, ended.stdout, ended.stderr);
    assert!(ended.stdout.contains(&format!("{kills} kills,")), "{}", ended.stdout);
    assert!(ended.stdout.contains("lost 0, doubled 0"), "{}", ended.stdout);
    eprint!("{}", ended.stdout);
}
