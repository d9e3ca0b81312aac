//! Lakes that other tools wrote: a replay gives the charts of the brute force, or an error that
//! says what to do. It never leaves out plays silently.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::support::charts::default_charts;
use crate::support::fixture::folder;
use crate::support::oracle::Printed;
use crate::support::plays::Play;
use crate::support::program::{Ended, Program, reprise};
use crate::support::{python, repository};

/// Plays of several days, on both sides of midnight in UTC and in Los Angeles. The last one sets
/// the clock.
fn plays() -> Vec<Play> {
    let times = [
        "2024-06-01T03:00:00Z",
        "2024-06-02T23:59:59Z",
        "2024-06-03T00:00:00Z",
        "2024-06-03T01:30:00Z",
        "2024-06-03T06:59:59Z",
        "2024-06-03T07:00:00Z",
        "2024-06-03T23:22:00Z",
        "2024-06-03T23:30:00Z",
    ];
    let play = |(number, time): (usize, &&str)| Play {
        country: ["US", "DE"][number % 2].to_owned(),
        completed: number != 5,
        ..Play::new(&format!("s{}", number % 3), time)
    };
    times.iter().enumerate().map(play).collect()
}

/// The lakes of `tests/foreign_lakes.py`; `None` if tests that need Python are skipped.
fn lakes() -> Option<TempDir> {
    let Some(python) = python::environment() else {
        eprintln!("SKIPPED: no Python to write lakes with other tools");
        return None;
    };
    let folder = folder();
    let file = folder.path().join("plays.jsonl");
    let lines: Vec<String> = plays().iter().map(|play| String::from_utf8(play.json()).unwrap()).collect();
    std::fs::write(&file, lines.join("\n")).unwrap();
    let mut write = Command::new(python);
    write.arg(repository().join("tests/foreign_lakes.py")).arg(folder.path()).arg(&file);
    Program::spawn(&mut write).succeed();
    Some(folder)
}

fn replay(lake: &Path, options: &[&str]) -> Ended {
    let arguments = ["replay", "--lake", lake.to_str().unwrap(), "--format", "json", "-w", "2"];
    reprise(arguments.iter().chain(options)).end()
}

/// All supported storage types give the same plays. Invalid rows are counted by reason, with the
/// position of the first.
#[test]
fn plays_of_other_writers_are_read_and_invalid_rows_are_counted() {
    let Some(lakes) = lakes() else { return };
    let misfiled = "in folders of other hours than the UTC hours of their timestamps";
    let nonsense = [
        "not counted, because they break the rules for plays: 14 rows of the lake, ",
        "4 missing_field (first: `",
        "2 bad_timestamp (first: `timestamp` of row ",
        "4 text_too_long (first: `",
        "2 too_old (first: `timestamp` of row ",
        "2 bad_duration (first: `duration_ms` of row ",
    ];
    for (name, messages) in [
        ("required", &[][..]),
        ("nullable", &[]),
        ("plain", &[]),
        ("second-version", &[]),
        ("int96", &[]),
        ("nanoseconds", &[]),
        ("milliseconds", &[]),
        ("without-zone", &[]),
        ("times-as-texts", &[]),
        ("times-as-numbers", &[]),
        ("large-texts", &[]),
        ("text-views", &[]),
        ("bytes", &[]),
        ("dictionaries", &[]),
        ("wide-durations", &[]),
        ("without-folders", &[]),
        ("without-users", &[]),
        ("deltalake", &[]),
        ("deltalake-local", &[misfiled]),
        ("local-folders", &["8 rows of the lake (first: ", misfiled]),
        ("local-folders-without-statistics", &[misfiled]),
        ("null-row", &["1 row of the lake, 1 missing_field (first: `song_id` of row 0 in ", "HIVE_DEFAULT"]),
        ("null-row-among-others", &["1 missing_field (first: `song_id` of row 0 in "]),
        ("nonsense", &nonsense),
        ("huge-duration", &["1 bad_duration (first: `duration_ms` of row "]),
    ] {
        let lake = lakes.path().join(name);
        let ended = replay(&lake, &[]);
        assert!(ended.status.success(), "{name}: {}", ended.stderr);
        let printed = Printed::parse(&ended.stdout);
        assert_eq!(printed.clock(), plays().iter().map(|play| play.time).max(), "{name}");
        printed.assert_equals(&plays(), &default_charts());
        let whole = reprise(["verify", "--lake", lake.to_str().unwrap()]).end();
        assert!(whole.status.success(), "{name}: {}{}", whole.stdout, whole.stderr);
        assert!(whole.stdout.contains(" rows, 8 of them plays"), "{name}: {}", whole.stdout);
        for text in messages {
            assert!(ended.stderr.contains(text), "{name}: {text}: {}", ended.stderr);
            assert!(whole.stdout.contains(text), "{name}: {text}: {}", whole.stdout);
        }
        assert!(!messages.is_empty() || ended.stderr.is_empty(), "{name}: {}", ended.stderr);
    }
    let checkpoint = reprise(["lake", "checkpoint", "--lake", lakes.path().join("nullable").to_str().unwrap()]).end();
    assert_eq!(checkpoint.status.code(), Some(1));
    assert!(checkpoint.stderr.contains("was imported"), "{}", checkpoint.stderr);
}

/// Folders named by local time do not decide which files hold the plays of a time range.
#[test]
fn a_partial_replay_of_a_lake_with_local_hours_is_exact() {
    let Some(lakes) = lakes() else { return };
    let time = |text: &str| text.parse::<jiff::Timestamp>().unwrap();
    for (from, to) in [
        ("2024-06-03T00:00:00Z", "2024-06-03T07:00:00Z"),
        ("2024-06-02T23:00:00Z", "2024-06-03T00:00:00Z"),
        ("2024-06-03T06:59:59Z", "2024-06-04T00:00:00Z"),
    ] {
        let part: Vec<Play> =
            plays().into_iter().filter(|play| time(from) <= play.time && play.time < time(to)).collect();
        assert!(!part.is_empty());
        for name in ["local-folders", "local-folders-without-statistics", "deltalake-local", "without-folders"] {
            let ended = replay(&lakes.path().join(name), &["--from", from, "--to", to]);
            assert!(ended.status.success(), "{name}: {}", ended.stderr);
            Printed::parse(&ended.stdout).assert_equals(&part, &default_charts());
        }
    }
}

/// A lake that cannot be counted completely is refused: the error names the chart and the column,
/// or what to do about the table.
#[test]
fn lakes_that_would_lose_plays_are_refused() {
    let Some(lakes) = lakes() else { return };
    let charts = lakes.path().join("charts.toml");
    let definitions = "[trending]\neligible = \"all\"\nscopes = [\"global\"]\n\
        [[chart]]\nname = \"worldwide\"\nperiod = \"all\"\nscopes = [\"global\"]\neligible = \"all\"\n\
        [[chart]]\nname = \"by-device\"\nperiod = \"all\"\nscopes = [\"global\", \"device\"]\neligible = \"all\"\n";
    std::fs::write(&charts, definitions).unwrap();
    let by_device = ["--charts", charts.to_str().unwrap()];
    for (name, options, messages) in [
        (
            "no-completed",
            &[][..],
            &["no column `completed`", "the charts `trending`, `weekly`, `monthly`, `all-time` need"][..],
        ),
        ("no-country", &[], &["no column `country`", "`weekly`"]),
        ("by-country", &[], &["is partitioned by `country`, which the charts", "without that partition"]),
        ("no-device", &by_device, &["no column `device`, which the chart `by-device` needs"]),
        ("no-timestamp", &[], &["lacks the column `timestamp`"]),
        ("renamed", &[], &["no column `song_id`", "It has track_id, title"]),
        ("completed-as-number", &[], &["its column `completed` is of the type Int32, and must be Boolean"]),
        ("fractions", &[], &["its column `duration_ms` is of the type Float64"]),
        ("deleted-rows", &[], &["has a deletion vector", "OPTIMIZE"]),
        ("mapped-columns", &[], &["maps the names of its columns"]),
    ] {
        let lake = lakes.path().join(name);
        let ended = replay(&lake, options);
        assert_eq!(ended.status.code(), Some(1), "{name}: {}{}", ended.stdout, ended.stderr);
        assert_eq!(ended.stdout, "", "{name}");
        for text in messages {
            assert!(ended.stderr.contains(text), "{name}: {text}: {}", ended.stderr);
        }
        assert!(ended.stderr.contains(name), "the error does not name the lake: {}", ended.stderr);
        // The default charts do not use devices.
        if name != "no-device" {
            let whole = reprise(["verify", "--lake", lake.to_str().unwrap()]).end();
            assert_eq!(whole.status.code(), Some(1), "{name}: {}{}", whole.stdout, whole.stderr);
        }
    }
    // Columns that no requested chart needs may be absent.
    for (name, options) in [
        ("no-device", &[][..]),
        ("no-device", &[&by_device[..], &["--chart", "worldwide"]].concat()),
        ("no-completed", &[&by_device[..], &["--chart", "worldwide"]].concat()),
    ] {
        let ended = replay(&lakes.path().join(name), options);
        assert!(ended.status.success() && !ended.stdout.is_empty(), "{name}: {}", ended.stderr);
    }
}
