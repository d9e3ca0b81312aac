//! Which folders can be lakes, and what a replay prints for a lake without matching plays.

use crate::support::broker;
use crate::support::fixture::folder;
use crate::support::program::reprise;
use crate::support::running::run_to_end;
use crate::usage::{bounded_run, refusal, topic_with_a_play};

/// As a path, a URL would create a local folder of that name.
#[test]
fn a_url_is_refused_as_a_lake() {
    for url in ["s3://bucket/music", "file:///tmp/music"] {
        for command in [&["run", "--brokers", "x"][..], &["replay"], &["verify"], &["lake", "ls"]] {
            let refused = refusal(&[command, &["--lake", url]].concat(), &[]);
            assert!(refused.starts_with("status 2") && refused.contains(url), "{refused}");
            assert!(refused.contains("object stores"), "{refused}");
        }
    }
}

/// `%20` and backslashes have a meaning in URLs, so the log of another folder would be read.
#[test]
fn a_path_that_changes_as_a_url_is_refused_as_a_lake() {
    let folder = folder();
    for name in ["team%20a", "team\\a", "team\na"] {
        let lake = folder.path().join(name).display().to_string();
        for command in [
            &["run", "--brokers", "x"][..],
            &["demo"],
            &["replay"],
            &["verify"],
            &["lake", "ls"],
            &["lake", "checkpoint"],
        ] {
            let refused = refusal(&[command, &["--lake", &lake]].concat(), &[]);
            assert!(refused.starts_with("status 2") && refused.contains("cannot be a lake"), "{refused}");
        }
        assert!(!folder.path().join(name).exists());
    }
}

/// Characters that are special in URLs, globs and shells are part of the name.
#[test]
fn a_lake_may_have_any_other_name() {
    let (topic, folder) = (topic_with_a_play(), folder());
    let long = "x".repeat(200);
    for name in ["team a", "a#b?c=d&e", "100%", "ü 日本", "a*[b]{c}", "$HOME;'\"", long.as_str()] {
        let lake = folder.path().join(name);
        let plays = run_to_end(&topic, &lake, &[]);
        assert!(crate::support::running::replay(&lake, &[]).lines == plays.lines, "{name}");
        assert_eq!(crate::support::lake::plays(&lake).len(), 1, "{name}");
    }
}

#[test]
fn a_checkpoint_of_a_missing_lake_creates_nothing() {
    let folder = folder();
    let lake = folder.path().join("typo");
    let refused = refusal(&["lake", "checkpoint", "--lake", &lake.display().to_string()], &[]);
    assert!(refused.contains("there is no lake"), "{refused}");
    assert!(!lake.exists());
}

#[test]
fn a_replay_without_matching_plays_reports_that() {
    let folder = folder();
    run_to_end(&topic_with_a_play(), folder.path(), &[]);
    let replay = |options: &[&str]| {
        let lake = folder.path().display().to_string();
        reprise([&["replay", "--format", "json", "--lake", &lake], options].concat()).end()
    };
    let nothing = replay(&["--chart", "weekly", "--scope", "XX"]);
    assert_eq!((nothing.status.code(), nothing.stdout.as_str()), (Some(0), ""));
    assert!(
        nothing.stderr.starts_with("no play in ") && nothing.stderr.contains("there are lists of 2025-W01"),
        "{}",
        nothing.stderr
    );
    let nowhere = replay(&["--scope", "Germany"]);
    assert_eq!((nowhere.status.code(), nowhere.stdout.as_str()), (Some(1), ""));
    assert!(
        nowhere.stderr.contains("scope Germany; of ") && nowhere.stderr.contains("for global"),
        "{}",
        nowhere.stderr
    );
    for options in [&["--scope", "de"][..], &["--scope", "de", "--chart", "weekly"]] {
        let lower = replay(options);
        assert_eq!((lower.status.code(), lower.stdout.as_str()), (Some(1), ""), "{options:?}: {}", lower.stderr);
    }
    // Nothing lists the countries of a past window, so any well-formed country code is accepted.
    let window = ["--chart", "trending", "--clock", "2025-01-01T00:05:00Z", "--scope"];
    let of_window = |scope: &'static str| replay(&[&window[..], &[scope]].concat());
    let (lower, possible) = (of_window("de"), of_window("XX"));
    assert_eq!((lower.status.code(), lower.stdout.as_str()), (Some(1), ""), "{}", lower.stderr);
    assert_eq!((possible.status.code(), possible.stdout.as_str()), (Some(0), ""), "{}", possible.stderr);
    let impossible = replay(&["--scope", "device:mobile"]);
    assert_eq!(impossible.status.code(), Some(2));
    assert!(impossible.stderr.contains("no chart has device lists"), "{}", impossible.stderr);
}

#[test]
fn a_replay_of_a_lake_without_plays_reports_that() {
    let (topic, folder) = (broker::topic("no-plays", 1), folder());
    broker::produce(&topic, 0, ["no play", "no play either"]);
    let lake = folder.path().to_str().unwrap();
    // A run whose topic has no play fails, after it has committed the dead letters.
    assert_eq!(reprise(bounded_run(&topic, folder.path(), &[])).end().status.code(), Some(1));
    let nothing = reprise(["replay", lake, "--format", "json"]).end();
    assert_eq!((nothing.status.code(), nothing.stdout.as_str()), (Some(0), ""), "{}", nothing.stderr);
    assert_eq!(nothing.stderr, format!("the lake {lake} holds no play (2 dead letters)\n"));
}

/// Without this check, the error would name a folder inside the one that was given.
#[test]
fn a_table_is_refused_as_a_lake() {
    let folder = folder();
    run_to_end(&topic_with_a_play(), folder.path(), &[]);
    let names = [(folder.path().to_str().unwrap(), "LAKE")];
    let refused = refusal(&["replay", folder.path().join("song_plays").to_str().unwrap()], &names);
    assert_eq!(refused, "status 1\nerror: LAKE/song_plays is one table of a lake: name the lake, LAKE\n");
    let bare = folder.path().join("bare");
    std::fs::create_dir_all(bare.join("_delta_log")).unwrap();
    let refused = refusal(&["verify", bare.to_str().unwrap()], &names);
    assert!(refused.starts_with("status 1\n"), "{refused}");
    assert!(refused.contains("move the plays to LAKE/song_plays"), "{refused}");
}
