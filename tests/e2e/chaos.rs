//! `scripts/chaos`, as anybody can run it: kills at random instants and at every step, and a count by readers that are not
//! ours.

use std::process::Command;
use std::time::Duration;

use crate::support::program::Program;
use crate::support::{broker, heavy, python, repository};

/// Two seconds a kill on a machine with nothing else to do, and five in a cluster, where freezes have to be noticed.
const TIMEOUT: Duration = Duration::from_secs(600);

#[test]
fn nothing_is_lost_or_doubled_however_often_it_is_killed() {
    chaos("1", "20");
}

#[test]
fn nothing_is_lost_or_doubled_however_often_a_process_of_a_cluster_is_killed_or_frozen() {
    chaos("3", "10");
}

fn chaos(processes: &str, kills: &str) {
    if python::environment().is_none() {
        return eprintln!("LEFT OUT: no other reader can count what is in the lake");
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
