//! The log of a run without a terminal: a line when something has changed, numbers as fields, silence while it is idle.

use std::time::Duration;

use serde_json::Value;

use crate::support::fixture::folder;
use crate::support::plays::Play;
use crate::support::program::reprise;
use crate::support::running::{Running, run};
use crate::support::{broker, eventually};

/// A topic of three plays and a dead letter.
fn topic() -> String {
    let topic = broker::topic("logging", 1);
    broker::produce(&topic, 0, ["a", "b", "a"].map(|song| Play::new(song, "2025-01-01T00:00:00Z").json()));
    broker::produce(&topic, 0, ["no play"]);
    topic
}

#[test]
fn numbers_are_fields() {
    let (folder, topic) = (folder(), topic());
    let ended =
        reprise(run(&topic, folder.path(), &["-w", "1", "--until-caught-up", "--log-format", "json"])).succeed();
    let lines: Vec<Value> = ended.stderr.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let last = lines.iter().rfind(|line| line["message"] == "counted").unwrap_or_else(|| panic!("{}", ended.stderr));
    assert_eq!((&last["accepted"], &last["dead_letters"]), (&3.into(), &1.into()), "{last}");
    // It is not known before the broker has been asked.
    assert!(last.get("lag").is_none_or(|lag| *lag == 0), "{last}");
    assert!(last["plays_per_second"].is_u64() && last["lake_version"].is_u64(), "{last}");
    let warning = lines.iter().find(|line| line["level"] == "WARN").unwrap_or_else(|| panic!("{}", ended.stderr));
    assert_eq!(warning["dead_letters"], 1, "{warning}");
    assert!(warning["message"].as_str().unwrap().contains(&format!("as at offset 3 of {topic}/0")), "{warning}");
}

#[test]
fn an_idle_run_says_nothing() {
    let (folder, topic) = (folder(), topic());
    let running = Running::start(&topic, folder.path(), &["-w", "1", "--commit-interval", "100ms"]);
    eventually("the last change is told", || running.program.stderr().contains("lake_plays=3").then_some(()));
    let before = running.program.stderr();
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(running.program.stderr(), before);
    running.stop();
}
