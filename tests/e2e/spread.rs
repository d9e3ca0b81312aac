//! Plays spread over many hours, as in an imported history: each hour becomes a file.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::restart::assert_every_offset_once;
use crate::support::charts::default_charts;
use crate::support::fixture::folder;
use crate::support::plays::Play;
use crate::support::program::{reprise, succeed};
use crate::support::running::{Running, replay, run};
use crate::support::{broker, heavy, lake};

/// The number of hours; `scripts/bench hours` sets another one. 228,000 hours are 26 years.
fn hours() -> i64 {
    std::env::var("REPRISE_HOURS").map_or(12_000, |text| text.parse().expect("REPRISE_HOURS is a number"))
}

/// The memory limit of a run, in MiB. An open file for each hour would take more than twice as
/// much.
fn memory_max() -> String {
    std::env::var("REPRISE_HOURS_MEMORY_MAX").unwrap_or_else(|_| "160".to_owned())
}

fn play(number: i64, hour: i64) -> Play {
    let start: Timestamp = "2000-01-01T00:30:00Z".parse().expect("a time");
    let time = start + SignedDuration::from_hours(hour);
    Play { time, ..Play::new(&(number % 100).to_string(), "2000-01-01T00:00:00Z") }
}

/// Creates a topic with `plays` distributed over `partitions` in turn.
fn fill(name: &str, partitions: i32, plays: &[Play]) -> String {
    let topic = broker::topic(name, partitions);
    for partition in 0..partitions {
        let own = plays.iter().skip(partition as usize).step_by(partitions as usize);
        broker::produce(&topic, partition, own.map(Play::json));
    }
    topic
}

/// The number of committed plays.
fn rows(lake: &Path) -> usize {
    let stdout = succeed(["lake", "ls", "--format", "json", "--lake", lake.to_str().expect("UTF-8")]).stdout;
    let usage: serde_json::Value = serde_json::from_str(&stdout).expect("JSON");
    usage["tables"][0]["total"]["rows"].as_u64().expect("a number of rows") as usize
}

fn verify(lake: &Path) {
    let stdout = succeed(["verify", "--lake", lake.to_str().expect("UTF-8")]).stdout;
    assert!(stdout.contains("complete"), "{stdout}");
}

#[test]
fn a_play_an_hour_for_years_fits_in_little_memory() {
    let _heavy = heavy();
    let plays: Vec<Play> = (0..hours()).map(|hour| play(hour, hour)).collect();
    let (topic, folder) = (fill("hourly", 2, &plays), folder());
    let options = ["--until-caught-up", "-w", "2", "--memory-max", &memory_max()];
    for _ in 0..2 {
        // The second run starts with a lake of that many files.
        let ended = reprise(run(&topic, folder.path(), &options)).end_within(Duration::from_secs(3600));
        assert!(ended.status.success(), "{}", ended.stderr);
    }
    assert_eq!(lake::files(folder.path()).len(), plays.len());
    verify(folder.path());
    replay(folder.path(), &[]).assert_equals(&plays, &default_charts());
}

#[test]
fn a_random_spread_makes_one_file_for_each_hour_and_commit() {
    let _heavy = heavy();
    // 7919 is coprime to the number of hours, so the order looks random.
    let (hours, plays) = (1500, 12_000);
    let plays: Vec<Play> = (0..plays).map(|number| play(number, number * 7919 % hours)).collect();
    let (topic, folder) = (fill("random", 2, &plays), folder());
    reprise(run(&topic, folder.path(), &["--until-caught-up", "-w", "2"])).succeed();
    let mut files = HashMap::<_, usize>::new();
    for file in lake::files(folder.path()) {
        let name = file.file_name().expect("a file has a name").to_string_lossy().into_owned();
        let epoch = name.split('-').nth(2).expect("a name holds the epoch of its commit").to_owned();
        *files.entry((file.parent().map(Path::to_path_buf), epoch)).or_default() += 1;
    }
    assert!(files.len() as i64 >= hours);
    assert!(files.values().all(|files| *files == 1), "an hour has two files of a commit");
    verify(folder.path());
    replay(folder.path(), &[]).assert_equals(&plays, &default_charts());
}

/// Instances that are killed two seconds after they are ready work through a backlog that one of
/// them could not write in that time.
#[test]
fn a_crash_loop_converges() {
    const STARTS_MAX: usize = 60;
    // On a busy machine some instances commit nothing, but never this many in a row.
    const STARTS_WITHOUT_COMMIT: usize = 8;
    let _heavy = heavy();
    let plays: Vec<Play> = (0..60_000).map(|number| play(number, number / 64)).collect();
    let (topic, folder) = (fill("crash-loop", 4, &plays), folder());
    let mut committed = Vec::new();
    while committed.last() != Some(&plays.len()) {
        assert!(committed.len() < STARTS_MAX, "committed after each start: {committed:?}");
        let running = Running::start(&topic, folder.path(), &["-w", "2"]);
        std::thread::sleep(Duration::from_secs(2));
        running.program.signal("KILL");
        running.program.end();
        committed.push(rows(folder.path()));
    }
    assert!(committed.is_sorted(), "{committed:?}");
    let grows = |starts: &[usize]| starts.first() < starts.last();
    assert!(committed.windows(STARTS_WITHOUT_COMMIT).all(grows), "{committed:?}");
    eprintln!("committed after each start, killed after two seconds: {committed:?}");
    reprise(run(&topic, folder.path(), &["--until-caught-up"])).succeed();
    verify(folder.path());
    assert_every_offset_once(folder.path(), &topic);
    lake::assert_holds(folder.path(), &plays);
}
