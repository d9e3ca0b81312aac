//! Tests of listing and pruning a lake, and of the errors for folders that are not lakes.

use std::fs;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use axum::body::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use proptest::prelude::*;
use reprise_dataflows::play::{DAY_US, HOUR_US};
use reprise_dataflows::rules::definition::Definitions;

use super::support::{AFTERNOON_US, Lake, empty_cut, lake_rows, message, plays};
use crate::lake::encoder::Encoder;
use crate::lake::hours::Hours;
use crate::lake::{Committer, Cut, Snapshot};
use crate::run::tick::clock_of_plays;
use crate::source::lake::latest_times;

/// A lake with one play at each of `times_us`, each in its own commit.
fn lake_of(times_us: &[i64]) -> Lake {
    let lake = Lake::new();
    let (mut committer, mut writer) = lake.open();
    for (offset, time_us) in (0..).zip(times_us) {
        let epoch = offset as u64 + 1;
        let files = writer.write_plays(epoch, vec![plays(0, offset, &[*time_us])]).unwrap();
        committer.commit(Cut { plays: files, ..empty_cut(epoch, offset + 1, 0) }).unwrap();
    }
    lake
}

fn clock_us(snapshot: &Snapshot) -> Option<i64> {
    clock_of_plays(&latest_times(snapshot.files(), &Definitions::builtin()).unwrap())
}

#[test]
fn files_are_listed_in_order_with_their_bounds() {
    let lake = lake_of(&[AFTERNOON_US + DAY_US, AFTERNOON_US + 1_234_567, AFTERNOON_US - 5 * HOUR_US]);
    let snapshot = Snapshot::open(&lake.place(), None).unwrap();
    let day = (AFTERNOON_US / DAY_US) as i32;
    let files: Vec<_> = snapshot.files().iter().map(|file| (file.day, file.hour, file.rows)).collect();
    assert_eq!(files, [(day, 9, 1), (day, 14, 1), (day + 1, 14, 1)]);
    let middle = &snapshot.files()[1];
    assert!(middle.place.key().contains("date=2026-11-20/hour=14/part-1-2-0-1"), "{:?}", middle.place);
    assert!(snapshot.files()[0].place.key().contains("/hour=9/"), "no leading zero");
    assert_eq!(middle.size_bytes, fs::metadata(middle.place.path()).unwrap().len());
    assert!(middle.min_timestamp_us.unwrap() <= AFTERNOON_US + 1_234_567);
    assert!(middle.max_timestamp_us.unwrap() >= AFTERNOON_US + 1_234_567);
    assert_eq!(clock_us(&snapshot), Some(AFTERNOON_US + DAY_US));
}

#[test]
fn the_greatest_event_time_is_exact() {
    let lake = lake_of(&[AFTERNOON_US + 1_001, AFTERNOON_US + 1_999, AFTERNOON_US + 1_500]);
    assert_eq!(clock_us(&Snapshot::open(&lake.place(), None).unwrap()), Some(AFTERNOON_US + 1_999));
    let empty = Lake::new();
    drop(empty.open());
    assert_eq!(clock_us(&Snapshot::open(&empty.place(), None).unwrap()), None);
}

#[test]
fn one_play_far_ahead_does_not_move_a_clock_that_nobody_has_kept() {
    let crowd = (0..100).map(|second| AFTERNOON_US + second * 1_000_000);
    let times: Vec<i64> = crowd.chain([AFTERNOON_US + 400 * DAY_US]).collect();
    let lake = lake_of(&times);
    assert_eq!(clock_us(&Snapshot::open(&lake.place(), None).unwrap()), Some(AFTERNOON_US + 99 * 1_000_000));
}

#[test]
fn pruning_drops_only_what_cannot_match() {
    let times: Vec<i64> = (0..12).map(|n| AFTERNOON_US + n * 17 * 60_000_000 + n * 333).collect();
    let lake = lake_of(&times);
    let snapshot = Snapshot::open(&lake.place(), None).unwrap();
    let edges = times.iter().flat_map(|at| [at - 1, *at, at + 1]).collect::<Vec<_>>();
    for from in &edges {
        for to in edges.iter().filter(|to| from < *to) {
            let found = snapshot.files_between(*from, *to).count();
            let matching = times.iter().filter(|at| (from..to).contains(at)).count();
            let near = times.iter().filter(|at| (from - 999..to + 999).contains(at)).count();
            assert!((matching..=near).contains(&found), "[{from}, {to}): {found}");
        }
    }
    assert_eq!(snapshot.files_between(i64::MIN, i64::MAX).count(), 12);
    assert_eq!(snapshot.files_between(AFTERNOON_US - HOUR_US, AFTERNOON_US).count(), 0);
}

/// Rewrites the last commit of the log, and removes the checksums that would be read instead of it.
fn tamper(lake: &Lake, change: impl Fn(String) -> String) {
    let log = lake.plays().join("_delta_log");
    let mut names: Vec<_> = fs::read_dir(&log).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    for name in names.iter().filter(|name| name.extension().is_some_and(|ending| ending == "crc")) {
        fs::remove_file(name).unwrap();
    }
    let last = names.iter().rfind(|name| name.extension().is_some_and(|ending| ending == "json")).unwrap();
    fs::write(last, change(fs::read_to_string(last).unwrap())).unwrap();
}

#[test]
fn without_statistics_in_the_log_the_footers_tell() {
    let lake = lake_of(&[AFTERNOON_US + 1_234_567]);
    tamper(&lake, |commit| commit.replace("\"stats\":", "\"nothing\":"));
    let snapshot = Snapshot::open(&lake.place(), None).unwrap();
    let file = &snapshot.files()[0];
    let at = Some(AFTERNOON_US + 1_234_567);
    assert_eq!((file.rows, file.min_timestamp_us, file.max_timestamp_us), (1, at, at));
    assert_eq!(clock_us(&snapshot), at);
}

/// A power failure leaves an entry of zeros or a truncated one, and a copy of a lake may lack the
/// checkpoint that the hint names.
#[test]
fn what_is_damaged_is_named() {
    let said = |lake: &Lake| message(Snapshot::open(&lake.place(), None));
    for change in [|commit: String| commit[..commit.len() - 200].to_owned(), |commit: String| "\0".repeat(commit.len())]
    {
        let lake = lake_of(&[AFTERNOON_US, AFTERNOON_US + HOUR_US]);
        tamper(&lake, change);
        let (said, log) = (said(&lake), lake.plays().canonicalize().unwrap().join("_delta_log"));
        assert!(said.contains(&format!(" of {}/0000", log.display())) && said.contains("put back a copy"), "{said}");
        assert!(said.contains("line ") && !said.contains("<unknown>") && said.lines().count() == 1, "{said}");
    }
    let lake = lake_of(&[AFTERNOON_US]);
    fs::write(lake.plays().join("_delta_log/_last_checkpoint"), r#"{"version":1,"size":3}"#).unwrap();
    let said = said(&lake);
    assert!(said.contains("_last_checkpoint names a checkpoint of version 1") && said.contains("delete it"), "{said}");
}

#[test]
fn a_log_that_leads_out_of_the_lake_is_refused() {
    for outside in ["../secret.parquet", "..%2F..%2Fsecret.parquet", "/etc/passwd", "file:///etc/passwd", "s3://b/x"] {
        let lake = lake_of(&[AFTERNOON_US]);
        tamper(&lake, |commit| {
            let start = commit.find("date=2026-11-20/hour=14/").unwrap();
            let end = start + commit[start..].find('"').unwrap();
            format!("{}{outside}{}", &commit[..start], &commit[end..])
        });
        let said = message(Snapshot::open(&lake.place(), None));
        assert!(said.contains("outside the lake") && said.contains(outside), "{said}");
    }
}

#[test]
fn folders_that_are_no_lake_are_told_apart() {
    let lake = Lake::new();
    let open = || message(Snapshot::open(&lake.place(), None));
    assert!(open().contains("there is no lake"));
    fs::create_dir(lake.path()).unwrap();
    assert!(open().contains("is empty"));
    fs::create_dir(lake.path().join("photos")).unwrap();
    assert!(open().contains("is not a lake"));
    drop(lake.open());
    assert!(message(Snapshot::open(&lake.place().join("song_plays"), None)).contains("the folder above"));
    assert!(message(Snapshot::open(&lake.place(), Some(99))).contains("version 99"));
}

#[test]
fn a_lake_is_not_made_where_it_cannot_be() {
    let lake = Lake::new();
    fs::write(lake.path(), "a file").unwrap();
    assert!(message(Committer::open(&lake.place(), &super::support::identity())).contains("writable folder"));
    fs::remove_file(lake.path()).unwrap();
    fs::create_dir_all(lake.plays().join("date=2025-01-01")).unwrap();
    let said = message(Committer::open(&lake.place(), &super::support::identity()));
    assert!(said.contains("date=2025-01-01") && said.contains("not a lake of ours"), "{said}");
}

/// The offset and time of each play.
fn rows(batch: &RecordBatch) -> Vec<(i64, i64)> {
    let times = batch["timestamp"].as_primitive::<TimestampMicrosecondType>().values();
    let offsets = batch["kafka_offset"].as_primitive::<Int64Type>().values();
    offsets.iter().copied().zip(times.iter().copied()).collect()
}

proptest! {
    /// Every row is returned once, with its own hour, as a brute force computes.
    #[test]
    fn hours_hold_what_a_brute_force_says(
        batches in prop::collection::vec(prop::collection::vec(-3 * HOUR_US..30 * HOUR_US, 0..40), 0..6)
    ) {
        let mut expected = Vec::new();
        let mut offset = 0;
        let mut inputs = Vec::new();
        for times in &batches {
            expected.extend((offset..).zip(times).map(|(offset, at)| (at.div_euclid(HOUR_US), offset, *at)));
            inputs.push(lake_rows(0, offset, times));
            offset += times.len() as i64;
        }
        let mut found = Vec::new();
        let mut hours = Hours::default();
        inputs.into_iter().for_each(|batch| hours.insert(batch).unwrap());
        hours.settle().unwrap();
        while let Some(hour) = hours.first() {
            for batch in hours.take(hour) {
                let batch = batch.unwrap();
                found.extend(rows(&batch).into_iter().map(|(offset, at)| (hour, offset, at)));
            }
        }
        expected.sort();
        found.sort();
        prop_assert_eq!(found, expected);
    }

    /// The same holds for files, however many of them grow at once.
    #[test]
    fn files_hold_what_a_brute_force_says(
        batches in prop::collection::vec(
            (0..12i64, 1..8i64).prop_flat_map(|(first, hours)| {
                prop::collection::vec(first * HOUR_US..(first + hours) * HOUR_US, 0..40)
            }),
            0..8,
        ),
    ) {
        let (mut expected, mut offset, mut encoder) = (Vec::new(), 0, Encoder::default());
        for times in &batches {
            expected.extend((offset..).zip(times).map(|(offset, at)| (at.div_euclid(HOUR_US), offset, *at)));
            encoder.add(lake_rows(0, offset, times)).unwrap();
            offset += times.len() as i64;
        }
        let mut found = Vec::new();
        while let Some((hour, file)) = encoder.next_file().unwrap() {
            let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(file.bytes)).unwrap().build().unwrap();
            for batch in reader.map(Result::unwrap) {
                found.extend(rows(&batch).into_iter().map(|(offset, at)| (hour, offset, at)));
            }
        }
        expected.sort();
        found.sort();
        prop_assert_eq!(found, expected);
    }
}
