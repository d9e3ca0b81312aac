//! Plays that are spread over many hours, as those of an imported history are: each hour becomes a file.

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

/// `scripts/bench hours` sets another number: 228,000 are 26 years.
fn hours() -> i64 {
    std::env::var("REPRISE_HOURS").map_or(12_000, |text| text.parse().expect("REPRISE_HOURS is a number"))
}

/// What a run may hold, in MiB. An open file for each hour would take twice as much and more.
fn memory_max() -> String {
    std::env::var("REPRISE_HOURS_MEMORY_MAX").unwrap_or_else(|_| "160".to_owned())
}

fn play(number: i64, hour: i64) -> Play {
    let start: Timestamp = "2000-01-01T00:30:00Z".parse().expect("a time");
    let time = start + SignedDuration::from_hours(hour);
    Play { time, ..Play::new(&(number % 100).to_string(), "2000-01-01T00:00:00Z") }
}

/// Fills `partitions` of a topic with `plays`, one after the other.
fn fill(name: &str, partitions: i32, plays: &[Play]) -> String {
    let topic = broker::topic(name, partitions);
    for partition in 0..partitions {
        let own = plays.iter().skip(partition as usize).step_by(partitions as usize);
        broker::produce(&topic, partition, own.map(Play::json));
    }
    topic
}

/// Plays that are committed.
fn rows(lake: &Path) -> usize {
    let said = succeed(["lake", "ls", "--format", "json", "--lake", lake.to_str().expect("UTF-8")]).stdout;
    let usage: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    usage["tables"][0]["total"]["rows"].as_u64().expect("a number of rows") as usize
}

fn verify(lake: &Path) {
    let said = succeed(["verify", "--lake", lake.to_str().expect("UTF-8")]).stdout;
    assert!(said.contains("complete"), "{said}");
}

#[test]
fn a_play_an_hour_for_years_fits_in_little_memory() {
    let _heavy = heavy();
    let plays: Vec<Play> = (0..hours()).map(|hour| play(hour, hour)).collect();
    let (topic, folder) = (fill("hourly", 2, &plays), folder());
    let options = ["--until-caught-up", "-w", "2", "--memory-max", &memory_max()];
    for _ in 0..2 {
        // The second one begins with a lake of as many files.
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
    // 7919 has no factor in common with the hours, so they come in an order that looks random.
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

/// Instances that are killed two seconds after they are ready get through a backlog whose files one of them could not write.
#[test]
fn a_crash_loop_converges() {
    const LIVES_MAX: usize = 60;
    // A busy machine may be slow to answer a start, but never so often in a row.
    const IN_VAIN_MAX: usize = 8;
    let _heavy = heavy();
    let plays: Vec<Play> = (0..60_000).map(|number| play(number, number / 64)).collect();
    let (topic, folder) = (fill("crash-loop", 4, &plays), folder());
    let mut committed = Vec::new();
    while committed.last() != Some(&plays.len()) {
        assert!(committed.len() < LIVES_MAX, "committed after each life: {committed:?}");
        let running = Running::start(&topic, folder.path(), &["-w", "2"]);
        std::thread::sleep(Duration::from_secs(2));
        running.program.signal("KILL");
        running.program.end();
        committed.push(rows(folder.path()));
    }
    assert!(committed.is_sorted(), "{committed:?}");
    let gets_on = |lives: &[usize]| lives.first() < lives.last();
    assert!(committed.windows(IN_VAIN_MAX).all(gets_on), "{committed:?}");
    eprintln!("committed after each life of two seconds: {committed:?}");
    reprise(run(&topic, folder.path(), &["--until-caught-up"])).succeed();
    verify(folder.path());
    assert_every_offset_once(folder.path(), &topic);
    lake::assert_holds(folder.path(), &plays);
}
