//! One dataflow, played twice: live with any number of workers and replayed from the lake, it gives the charts that a
//! brute force gives.

use jiff::Timestamp;

use crate::support::charts::{CHARTS, charts, default_charts};
use crate::support::fixture::{folder, traffic};
use crate::support::lake::assert_holds;
use crate::support::plays::Play;
use crate::support::program::succeed;
use crate::support::running::{replay, run, run_to_end};
use crate::support::{broker, heavy};

#[test]
fn any_number_of_workers_and_the_replays_of_their_lakes_give_the_charts_of_a_brute_force() {
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
            // To the byte: what the numbers are as of is the same too.
            assert_eq!(replayed.as_of, live.as_of, "-w {workers}, replayed with -w {replay_workers}");
            assert!(replayed.lines == live.lines, "-w {workers}, replayed with -w {replay_workers}");
        }
        assert_holds(folder.path(), &traffic.plays);
    }
}

/// What a finished run prints, a replay of its lake prints, to the byte and in every format, also if there was nothing to
/// read, and if the lake has been compacted since.
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

/// The lake does not know which charts it was filled for.
#[test]
fn a_lake_is_recalculated_with_other_charts() {
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
fn a_replay_of_a_part_equals_a_brute_force_over_that_part() {
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
