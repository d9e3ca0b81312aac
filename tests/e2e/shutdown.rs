//! Stops at any moment: during the start, while the program reads the lake, while it commits.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use crate::restart::assert_every_offset_once;
use crate::support::charts::default_charts;
use crate::support::fixture::folder;
use crate::support::plays::Play;
use crate::support::program::reprise;
use crate::support::running::{replay, run, run_on, run_to_end};
use crate::support::{broker, heavy, log};

/// The delay in ms, the number of workers, and the signal. A start takes some hundred ms, and
/// commits are continuous.
const STOPS: [(u64, &str, &str); 12] = [
    (0, "1", "TERM"),
    (40, "2", "INT"),
    (90, "3", "TERM"),
    (130, "1", "TERM"),
    (180, "2", "TERM"),
    (230, "3", "INT"),
    (290, "1", "TERM"),
    (340, "2", "TERM"),
    (420, "3", "TERM"),
    (530, "1", "INT"),
    (710, "2", "TERM"),
    (1130, "3", "TERM"),
];

#[test]
fn stops_at_any_moment_lose_nothing() {
    let topic = broker::topic("stops", 3);
    let folder = folder();
    let _heavy = heavy();
    let mut all = Vec::new();
    for (number, (delay_ms, workers, signal)) in STOPS.into_iter().enumerate() {
        let play = Play::new(&format!("S{number}"), "2025-05-05T05:05:00Z");
        let more: Vec<Play> = (0..300)
            .map(|second| Play { time: play.time + jiff::Span::new().seconds(second), ..play.clone() })
            .collect();
        for partition in 0..3 {
            broker::produce(&topic, partition, more.iter().skip(partition as usize).step_by(3).map(Play::json));
        }
        all.extend(more);
        let running = reprise(run(&topic, folder.path(), &["-w", workers, "--commit-interval", "20ms"]));
        std::thread::sleep(Duration::from_millis(delay_ms));
        running.signal(signal);
        let ended = running.end();
        // Until the program handles signals, they kill it, as any program.
        let killed_by_signal = ended.status.signal().is_some() && ended.stderr.is_empty();
        assert!(ended.status.success() || killed_by_signal, "{delay_ms} ms: {}\n{}", ended.status, ended.stderr);
    }
    let live = run_to_end(&topic, folder.path(), &["-w", "2"]);
    live.assert_equals(&all, &default_charts());
    assert!(replay(folder.path(), &[]).lines == live.lines, "the replay");
    assert_every_offset_once(folder.path(), &topic);
    log::account(folder.path());
}

/// At start, a run waits for a broker, and handles signals while it waits.
#[test]
fn a_run_can_be_stopped_while_it_waits_for_a_broker() {
    let folder = folder();
    // A port that accepts connections and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let servers = silent.local_addr().unwrap().to_string();
    let running = reprise(run_on(&servers, "plays", &folder.path().join("lake"), &[]));
    std::thread::sleep(Duration::from_secs(1));
    running.signal("TERM");
    let ended = running.end();
    let killed_by_signal = ended.status.signal().is_some() && ended.stderr.is_empty();
    assert!(ended.status.success() || killed_by_signal, "{}\n{}", ended.status, ended.stderr);
    assert!(!ended.stderr.contains("no Kafka broker answers"), "{}", ended.stderr);
    assert!(!folder.path().join("lake").exists(), "a lake was created although nothing was read");
}
