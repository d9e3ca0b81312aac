//! One dataflow, live and replayed: with any number of workers, a run and a replay of its lake give
//! the charts of the brute force.

use jiff::Timestamp;
use serde_json::Value;

use crate::support::charts::{CHARTS, charts, default_charts};
use crate::support::fixture::{folder, traffic};
use crate::support::lake::assert_holds;
use crate::support::plays::Play;
use crate::support::program::succeed;
use crate::support::running::{replay, run, run_to_end};
use crate::support::{broker, heavy};

#[test]
fn runs_and_replays_with_any_number_of_workers_equal_a_brute_force() {
    let traffic = traffic();
    let _heavy = heavy();
    for workers in ["1", "2", "4"] {
        let folder = folder();
        let live = run_to_end(&traffic.topic, folder.path(), &["-w", workers]);
        assert_eq!(
            live.clock(),
            traffic.plays.iter().map(|play| play.time).max(),
            "the clock is that of the last play"
        );
        live.assert_equals(&traffic.plays, &default_charts());
        for replay_workers in ["1", "3"] {
            let replayed = replay(folder.path(), &["-w", replay_workers]);
            // Byte for byte, including `as_of`.
            assert_eq!(replayed.as_of, live.as_of, "-w {workers}, replayed with -w {replay_workers}");
            assert!(replayed.lines == live.lines, "-w {workers}, replayed with -w {replay_workers}");
        }
        assert_holds(folder.path(), &traffic.plays);
    }
}

/// A finished run and a replay of its lake print the same bytes in every format, including after a
/// run that read nothing and after a compaction.
#[test]
fn a_finished_run_prints_what_a_replay_prints() {
    let topic = broker::topic("printed", 3);
    let folder = folder();
    let lake = folder.path().to_str().unwrap();
    for (round, workers) in ["1", "3", "2", "2"].into_iter().enumerate() {
        if round < 3 {
            let play =
                |number: usize| Play::new(&format!("s{}", number % 7), &format!("2025-05-0{}T05:05:00Z", 1 + round));
            broker::produce(&topic, round as i32, (0..20 * round).map(|number| play(number).json()));
        }
        for format in ["json", "csv", "table"] {
            let options = ["--until-caught-up", "--format", format, "-w", workers];
            let live = succeed(run(&topic, folder.path(), &options)).stdout;
            for replay_workers in ["1", "2"] {
                let replayed = succeed(["replay", "--lake", lake, "--format", format, "-w", replay_workers]).stdout;
                assert!(replayed == live, "round {round}, {format}:\n{live}\n{replayed}");
            }
            assert!(live.is_empty() == (round == 0) || format == "csv", "{live}");
        }
        succeed(["lake", "compact", "--lake", lake, "--all"]);
    }
}

/// A lake does not depend on the charts of the run that filled it.
#[test]
fn a_lake_can_be_replayed_with_other_charts() {
    let traffic = traffic();
    let folder = folder();
    let (lake, file) = (folder.path().join("lake"), folder.path().join("charts.toml"));
    std::fs::write(&file, CHARTS).unwrap();
    let other_charts = ["--charts", file.to_str().unwrap()];

    let _heavy = heavy();
    let live = run_to_end(&traffic.topic, &lake, &other_charts);
    live.assert_equals(&traffic.plays, &charts());
    assert!(replay(&lake, &other_charts).lines == live.lines, "replayed with the same charts");
    replay(&lake, &[]).assert_equals(&traffic.plays, &default_charts());
}

#[test]
fn a_partial_replay_equals_a_brute_force_over_that_part() {
    let traffic = traffic();
    let folder = folder();
    let _heavy = heavy();
    let whole = run_to_end(&traffic.topic, folder.path(), &["-w", "2"]);

    let time = |text: &str| text.parse::<Timestamp>().unwrap();
    let (from, to) = ("2024-12-30T07:59:59Z", "2025-01-01T12:00:00Z");
    let within = |play: &&Play| time(from) <= play.time && play.time < time(to);
    let part: Vec<Play> = traffic.plays.iter().filter(within).cloned().collect();
    replay(folder.path(), &["--from", from, "--to", to]).assert_equals(&part, &default_charts());

    let at = replay(folder.path(), &["--clock", "2025-01-01T00:00:30Z"]);
    assert_eq!(at.clock(), Some(time("2025-01-01T00:00:30Z")));
    at.assert_equals(&traffic.plays, &default_charts());

    let one = ["--chart", "weekly", "--scope", "JP", "--period", "2025-W01"];
    let cell = |line: &&String| {
        line.starts_with(r#"{"chart":"weekly","period":"2025-W01""#) && line.contains(r#""scope":"JP""#)
    };
    let expected: Vec<&String> = whole.lines.iter().filter(cell).collect();
    assert_eq!(expected.len(), 1);
    assert_eq!(replay(folder.path(), &one).lines.iter().collect::<Vec<_>>(), expected);
}

/// Optional columns: live and replayed, with one worker and with several, from our own files and
/// after a compaction. The expected counts are computed by hand.
#[test]
fn charts_by_city_and_of_albums() {
    let topic = broker::topic("cities", 2);
    let folder = folder();
    let (lake, file) = (folder.path().join("lake"), folder.path().join("charts.toml"));
    let chart =
        |name: &str, rest: &str| format!("[[chart]]\nname = '{name}'\nperiod = 'all'\neligible = 'all'\n{rest}\n");
    let charts = chart("cities", "scopes = ['global', 'city', 'country', 'device']")
        + &chart("albums", "item = 'album'\nscopes = ['global', 'city']");
    std::fs::write(&file, charts).unwrap();
    let options = ["--charts", file.to_str().unwrap()];
    // By number: no city for 0, 4, 8 and so on, Porto for 1 and 3, Lisbon for 2; no album for 0, 3,
    // 6 and so on.
    let record = |number: usize| {
        let mut play: Value = serde_json::from_slice(&Play::new("s1", "2025-05-05T05:05:00Z").json()).unwrap();
        let city = ["", "Porto", "Lisbon", "Porto"][number % 4];
        play["city"] = if city.is_empty() { Value::Null } else { city.into() };
        if !number.is_multiple_of(3) {
            play["album"] = format!("album {}", number % 3).into();
        }
        play.to_string().into_bytes()
    };
    for partition in 0..2 {
        broker::produce(&topic, partition, (0..60).map(record));
    }
    let live = run_to_end(&topic, &lake, &[&options[..], &["-w", "2"]].concat());
    let plays = |chart: &str, scope: &str| -> Vec<(Option<String>, i64)> {
        let mut cells = live.lines.iter().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let cell = cells.find(|cell| cell["chart"] == chart && cell["scope"] == scope);
        let entries = cell.map_or_else(Vec::new, |cell| cell["entries"].as_array().unwrap().clone());
        let entry = |entry: &Value| (entry["title"].as_str().map(str::to_owned), entry["plays"].as_i64().unwrap());
        entries.iter().map(entry).collect()
    };
    let counts = |scope: &str| plays("cities", scope).iter().map(|(_, plays)| *plays).collect::<Vec<_>>();
    assert_eq!(
        [counts("global"), counts("city:Porto"), counts("city:Lisbon"), counts("city:none")],
        [vec![120], vec![60], vec![30], vec![30]]
    );
    let album = |name: &str, plays: i64| (Some(name.to_owned()), plays);
    assert_eq!(plays("albums", "global"), [album("album 1", 40), album("album 2", 40)]);
    assert_eq!(plays("albums", "city:Lisbon"), [album("album 1", 10), album("album 2", 10)]);
    for compacted in [false, true] {
        for workers in ["1", "3"] {
            let replayed = replay(&lake, &[&options[..], &["-w", workers]].concat());
            assert!(replayed.lines == live.lines, "-w {workers}, compacted: {compacted}");
        }
        succeed(["lake", "compact", "--lake", lake.to_str().unwrap(), "--all"]);
    }
    // A start from a checkpoint, which contains these keys too.
    succeed(["lake", "checkpoint", "--lake", lake.to_str().unwrap(), options[0], options[1]]);
    let again = run_to_end(&topic, &lake, &options);
    let without_as_of = |line: &String| line.split(r#","as_of""#).next().unwrap_or_default().to_owned();
    assert_eq!(again.lines.len(), live.lines.len());
    assert!(again.lines.iter().map(without_as_of).eq(live.lines.iter().map(without_as_of)));
}
