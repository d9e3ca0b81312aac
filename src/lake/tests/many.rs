//! A log with many commits stays readable, and the ten thousandth commit takes no longer than the
//! tenth.
//!
//! `scripts/bench commits` runs this test with `REPRISE_COMMITS=10000` and reports the latencies
//! that it prints.

use std::fs;
use std::time::{Duration, Instant};

use super::support::{Lake, cut_of_plays, expected};
use crate::lake::maintenance::{Lock, clean_logs};

/// How many commits each reported latency is measured over.
const WINDOW: usize = 200;

fn commits() -> usize {
    std::env::var("REPRISE_COMMITS").map_or(600, |text| text.parse().expect("REPRISE_COMMITS is a number"))
}

/// The median and the 99th percentile.
fn percentiles(latencies: &[Duration]) -> (Duration, Duration) {
    let mut sorted = latencies.to_vec();
    sorted.sort();
    (sorted[sorted.len() / 2], sorted[sorted.len() * 99 / 100])
}

#[test]
fn commits_do_not_slow_down_with_the_log() {
    let commits = commits();
    let lake = Lake::new();
    let (mut committer, mut writer) = lake.open();
    let mut latencies = Vec::new();
    for number in 0..commits as i64 {
        let cut = cut_of_plays(&mut writer, number as u64 + 1, number, number + 1);
        let began = Instant::now();
        committer.commit(cut).unwrap();
        latencies.push(began.elapsed());
    }
    for (name, window) in [
        ("10", &latencies[..WINDOW.min(commits)]),
        (&*commits.to_string(), &latencies[commits.saturating_sub(WINDOW)..]),
    ] {
        let (median, p99) = percentiles(window);
        eprintln!(
            "commit {name}: p50 {:.2} ms, p99 {:.2} ms, over {} commits",
            median.as_secs_f64() * 1e3,
            p99.as_secs_f64() * 1e3,
            window.len()
        );
    }
    assert_eq!(lake.rows(), expected(commits as i64));
    // Entries are kept for a day. Checksums and checkpoints, which only make opening fast, are
    // limited at once.
    let lock = Lock::take(&lake.place()).unwrap().unwrap();
    clean_logs(&lake.place(), &lock, Duration::ZERO).unwrap();
    let log = || fs::read_dir(lake.plays().join("_delta_log")).unwrap().map(|entry| entry.unwrap().path());
    let count = |ending: &str| log().filter(|path| path.to_string_lossy().ends_with(ending)).count();
    assert!(count(".json") > commits && count(".crc") <= 301 && count(".checkpoint.parquet") <= 3);
    assert_eq!(lake.rows(), expected(commits as i64));
}
