//! The client commands, which query a running instance: their output, and their exit status on
//! errors.

use serde_json::Value;

use crate::support::broker;
use crate::support::fixture::folder;
use crate::support::plays::Play;
use crate::support::program::{Ended, reprise};
use crate::support::running::Running;

/// An instance that has read three plays of two tracks.
fn instance() -> (Running, tempfile::TempDir) {
    let (topic, folder) = (broker::topic("client", 1), folder());
    broker::produce(&topic, 0, ["a", "b", "a"].map(|song| Play::new(song, "2025-01-01T00:00:00Z").json()));
    let running = Running::start(&topic, folder.path(), &["-w", "1"]);
    running.caught_up(&topic);
    (running, folder)
}

fn query(running: &Running, arguments: &[&str]) -> Ended {
    reprise(arguments.iter().chain(&["--url", running.address.as_str()])).end()
}

#[test]
fn client_commands_print_what_an_instance_knows() {
    let (running, folder) = instance();
    let succeed = |arguments: &[&str]| {
        let ended = query(&running, arguments);
        assert!(ended.status.success(), "{arguments:?}: {}", ended.stderr);
        ended.stdout
    };
    let status = succeed(&["status"]);
    let lake = folder.path().to_str().unwrap();
    assert!(
        status.contains(lake)
            && status.lines().any(|line| line.split_whitespace().eq("accepted since this start 3".split(' '))),
        "{status}"
    );
    assert!(status.contains("committed offset"), "no table of partitions: {status}");
    let json: Value = serde_json::from_str(&succeed(&["status", "--format", "json"])).unwrap();
    assert_eq!(json["accepted"], 3);

    let title = Play::new("a", "2025-01-01T00:00:00Z").title;
    let found = succeed(&["search", &title.to_uppercase()]);
    assert!(found.contains(&title), "{found}");
    assert!(succeed(&["search", "nobody sings this"]).contains("nothing has"));

    let track = succeed(&["track", "a"]);
    assert!(track.contains("all-time") && track.lines().next().unwrap().starts_with("a · "), "{track}");
    let weekly = succeed(&["track", "a", "--chart", "weekly", "--scope", "global"]);
    assert!(weekly.contains("2025-W01") && !weekly.contains("all-time"), "{weekly}");
    let nowhere = succeed(&["track", "a", "--chart", "weekly", "--scope", "XX"]);
    assert!(nowhere.contains("no plays; there are lists of 2025-W01; for "), "{nowhere}");
    let json: Value = serde_json::from_str(&succeed(&["track", "a", "--format", "json"])).unwrap();
    assert_eq!(json["track_id"], "a");

    assert_eq!(succeed(&["health"]), "ok\n");
    assert_eq!(succeed(&["health", "--ready"]), "ready\n");
    running.stop();
}

/// Scripts see an error answer in the exit status.
#[test]
fn error_answers_exit_with_status_1() {
    let (running, _folder) = instance();
    for arguments in [
        &["track", "nobody"][..],
        &["track", ".."],
        &["chart", "nonsense"],
        &["chart", "weekly", "--period", "2026-13"],
    ] {
        let ended = query(&running, arguments);
        assert_eq!((ended.status.code(), ended.stdout.as_str()), (Some(1), ""), "{arguments:?}: {}", ended.stderr);
        assert!(ended.stderr.starts_with("error: "), "{}", ended.stderr);
    }
    let stderr = query(&running, &["track", "nobody"]).stderr;
    assert!(stderr.contains("`reprise search`"), "{stderr}");
    let address = running.address.clone();
    running.stop();
    for arguments in [&["health"][..], &["status"], &["search", "x"], &["track", "a"]] {
        let ended = reprise(arguments.iter().chain(&["--url", address.as_str()])).end();
        assert_eq!(ended.status.code(), Some(1), "{arguments:?}");
        assert!(ended.stderr.contains("no reprise answers at"), "{}", ended.stderr);
    }
}
