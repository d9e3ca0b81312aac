//! DuckDB, Polars, pyarrow and delta-rs read the lake, and count the plays that the API reports:
//! `tests/readers.py`.

use std::process::Command;

use crate::support::fixture::{folder, traffic};
use crate::support::program::Program;
use crate::support::running::{Running, replay};
use crate::support::{eventually, heavy, python, repository};

#[test]
fn other_readers_count_the_plays_that_the_api_reports() {
    let Some(python) = python::environment() else {
        return eprintln!("SKIPPED: no Python for the other readers");
    };
    let traffic = traffic();
    let folder = folder();
    let _heavy = heavy();
    // Frequent commits make several files per hour.
    let running = Running::start(&traffic.topic, folder.path(), &["-w", "2", "--commit-interval", "500ms"]);
    running.caught_up(&traffic.topic);
    let plays = eventually("everything is in the lake", || {
        let status = running.status();
        (status["lake_plays"] == status["accepted"]).then(|| status["lake_plays"].to_string())
    });
    assert_eq!(plays, traffic.plays.len().to_string());
    running.stop();
    let dead_letters = traffic.bad.len().to_string();
    let mut readers = Command::new(python);
    readers.arg(repository().join("tests/readers.py")).arg(folder.path()).args([&plays, &dead_letters]);
    eprint!("{}", Program::spawn(&mut readers).succeed().stdout);
    assert!(!replay(folder.path(), &[]).lines.is_empty());
}
