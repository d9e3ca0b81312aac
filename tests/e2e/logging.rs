//! The log of a run without a terminal: one line per change, numbers as fields, and no lines while
//! idle.

use std::time::Duration;

use serde_json::Value;

use crate::support::fixture::folder;
use crate::support::plays::Play;
use crate::support::program::reprise;
use crate::support::running::{Running, run};
use crate::support::{broker, eventually};

/// A topic with three plays and a dead letter.
fn topic() -> String {
    let topic = broker::topic("logging", 1);
    broker::produce(&topic, 0, ["a", "b", "a"].map(|song| Play::new(song, "2025-01-01T00:00:00Z").json()));
    broker::produce(&topic, 0, ["no play"]);
    topic
}

#[test]
fn numbers_are_fields_of_log_lines() {
    let (folder, topic) = (folder(), topic());
    let ended =
        reprise(run(&topic, folder.path(), &["-w", "1", "--until-caught-up", "--log-format", "json"])).succeed();
    let lines: Vec<Value> = ended.stderr.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let last = lines.iter().rfind(|line| line["message"] == "counted").unwrap_or_else(|| panic!("{}", ended.stderr));
    assert_eq!((&last["accepted"], &last["dead_letters"]), (&3.into(), &1.into()), "{last}");
    // The lag is unknown until the broker has answered.
    assert!(last.get("lag").is_none_or(|lag| *lag == 0), "{last}");
    assert!(last["plays_per_second"].is_u64() && last["lake_version"].is_u64(), "{last}");
    let warning = lines.iter().find(|line| line["level"] == "WARN").unwrap_or_else(|| panic!("{}", ended.stderr));
    assert_eq!(warning["dead_letters"], 1, "{warning}");
    assert!(warning["message"].as_str().unwrap().contains(&format!("as at offset 3 of {topic}/0")), "{warning}");
}

/// The log lines of a program with `--log-format json`. Fails unless each is JSON.
#[track_caller]
fn json(stderr: &str) -> Vec<Value> {
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    stderr.lines().map(parse).collect()
}

/// Notices, errors, and names with characters that JSON and a terminal escape differently.
#[test]
fn every_line_of_the_json_log_is_json() {
    let (folder, topic) = (folder(), topic());
    let lake = folder.path().join("a\u{200f}b");
    let program = reprise(run(&topic, &lake, &["-w", "1", "--log-format", "json"]));
    eventually("the run has started", || program.stderr().contains("\"counted\"").then_some(()));
    program.signal("TERM");
    let lines = json(&program.succeed().stderr);
    let is_note = |line: &Value, start: &str| line["message"].as_str().is_some_and(|text| text.starts_with(start));
    assert!(lines.iter().any(|line| line["lake"] == lake.to_str().unwrap()), "{lines:#?}");
    assert!(lines.iter().any(|line| is_note(line, "stopping: ")), "{lines:#?}");

    let lake_name = lake.to_str().unwrap();
    let noted = reprise(["lake", "compact", lake_name, "--log-format", "json"]).succeed();
    assert!(json(&noted.stderr).iter().any(|line| line["level"] == "INFO"), "{}", noted.stderr);
    let nowhere = lake.join("nowhere");
    for (arguments, status) in [
        (&["replay", nowhere.to_str().unwrap()][..], 1),
        (&["verify", lake_name, "--against", "https://a"][..], 2),
        (&["trending", "--url", "127.0.0.1:1"][..], 1),
    ] {
        let ended = reprise(arguments.iter().chain(&["--log-format", "json"])).end();
        let lines = json(&ended.stderr);
        assert_eq!((ended.status.code(), lines.len()), (Some(status), 1), "{}", ended.stderr);
        assert!(lines[0]["level"] == "ERROR" && lines[0]["timestamp"].is_string(), "{lines:#?}");
    }
}

#[test]
fn an_idle_run_logs_nothing() {
    let (folder, topic) = (folder(), topic());
    let running = Running::start(&topic, folder.path(), &["-w", "1", "--commit-interval", "100ms"]);
    eventually("the last change is logged", || running.program.stderr().contains("lake_plays=3").then_some(()));
    let before = running.program.stderr();
    // Longer than the ten seconds between two lines of progress.
    std::thread::sleep(Duration::from_secs(12));
    assert_eq!(running.program.stderr(), before);
    running.stop();
}
