//! Tests with plays of many hours: each hour becomes one file per commit, in whatever order the
//! plays arrive and whichever workers read them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Arc;

use proptest::prelude::*;
use reprise_dataflows::play::HOUR_US;

use super::support::{AFTERNOON_US, Lake, coordinates, empty_cut, expected, plays};
use crate::lake::{Cut, DiskFullRetry, Gathering, NewFile, Writer};

/// Stages the plays of every writer, each on its own thread, as workers do.
fn stage(writers: &mut [Writer], epoch: u64) -> Vec<Vec<NewFile>> {
    std::thread::scope(|scope| {
        let staging: Vec<_> =
            writers.iter_mut().map(|writer| scope.spawn(move || writer.stage_plays(epoch).unwrap())).collect();
        staging.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

fn writers(lake: &Lake, incarnation: i64, workers: usize) -> Vec<Writer> {
    let gathering = Arc::new(Gathering::new(workers));
    let writer = |worker| {
        let mut writer = Writer::new(&lake.place(), incarnation, worker).unwrap();
        writer.gather_in(gathering.clone());
        writer.retry_with(DiskFullRetry::default());
        writer
    };
    (0..workers).map(writer).collect()
}

fn hours(files: &[NewFile]) -> Vec<String> {
    files.iter().map(|file| file.path.rsplit_once('/').unwrap().0.to_owned()).collect()
}

#[test]
fn an_hour_that_several_workers_have_read_is_one_file() {
    let lake = Lake::new();
    let (mut committer, _) = lake.open();
    let mut writers = writers(&lake, committer.progress().incarnation, 3);
    let mut offset = 0;
    for epoch in 1..4 {
        let mut all = BTreeSet::new();
        for round in 0..30 {
            for writer in &mut writers {
                // Each batch covers forty hours, some of which every worker has.
                let times: Vec<i64> = (0..100).map(|n| AFTERNOON_US + (n % 40 + round) * HOUR_US + n).collect();
                all.extend(times.iter().map(|at| at.div_euclid(HOUR_US)));
                writer.encode(&plays(0, offset, &times)).unwrap();
                offset += 100;
            }
        }
        let staged = stage(&mut writers, epoch);
        assert!(staged.iter().all(|files| files.len() > 10), "all workers have had something to do");
        let files = staged.concat();
        let hours = hours(&files);
        assert_eq!(hours.len(), all.len());
        assert_eq!(BTreeSet::from_iter(hours).len(), all.len());
        committer.commit(Cut { plays: files, ..empty_cut(epoch, offset, 0) }).unwrap();
    }
    assert_eq!(lake.rows(), expected(offset));
    lake.assert_no_orphans();
}

/// Hours with many plays are encoded as they arrive. Plays of such an hour on other workers join
/// the file that has grown.
#[test]
fn few_plays_of_a_large_hour_join_its_file() {
    let lake = Lake::new();
    let (committer, _) = lake.open();
    let mut writers = writers(&lake, committer.progress().incarnation, 2);
    let large = |from: i64| -> Vec<i64> { (from..from + 5000).map(|n| AFTERNOON_US + n).collect() };
    writers[1].encode(&plays(0, 0, &large(0))).unwrap();
    writers[1].encode(&plays(0, 5000, &large(5000))).unwrap();
    writers[0].encode(&plays(0, 10_000, &[AFTERNOON_US, AFTERNOON_US + HOUR_US])).unwrap();
    let files = stage(&mut writers, 1).concat();
    let rows: BTreeMap<String, i64> = hours(&files).into_iter().zip(files.iter().map(|file| file.rows)).collect();
    assert_eq!(files.len(), 2);
    assert_eq!(rows.into_values().collect::<Vec<_>>(), [10_001, 1]);
    // Two workers with many plays of an hour write a file each.
    writers.iter_mut().for_each(|writer| writer.encode(&plays(0, 0, &large(0))).unwrap());
    assert_eq!(stage(&mut writers, 2).concat().iter().map(|file| file.rows).collect::<Vec<_>>(), [5000, 5000]);
}

#[test]
fn more_files_than_can_be_open_at_once_are_staged() {
    let lake = Lake::new();
    let (mut committer, mut writer) = lake.open();
    let times: Vec<i64> = (0..1500).map(|n| AFTERNOON_US + n * HOUR_US).collect();
    let files = writer.write_plays(1, vec![plays(0, 0, &times)]).unwrap();
    assert_eq!(files.len(), 1500);
    committer.commit(Cut { plays: files, ..empty_cut(1, 1500, 0) }).unwrap();
    assert_eq!(lake.rows(), expected(1500));
}

/// A cut that cannot be staged leaves no file behind: on a full disk the next start needs the
/// space.
#[test]
fn a_cut_that_cannot_be_staged_leaves_no_file() {
    let lake = Lake::new();
    let (_committer, mut writer) = lake.open();
    let times: Vec<i64> = (0..600).map(|n| AFTERNOON_US + n * HOUR_US).collect();
    writer.encode(&plays(0, 0, &times)).unwrap();
    // The name of the four hundredth file is taken.
    let taken = lake.plays().join("_staging/part-1-1-0-400.snappy.parquet.inprogress");
    fs::write(&taken, "").unwrap();
    let said = format!("{:#}", writer.stage_plays(1).unwrap_err());
    assert!(said.contains("part-1-1-0-400"), "{said}");
    assert_eq!(lake.files_on_disk("song_plays"), [taken.canonicalize().unwrap()]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Each play is in exactly one file, that of its hour, and no two files have the same hour.
    #[test]
    fn all_plays_are_in_the_files_of_their_hours(
        batches in prop::collection::vec((0..3usize, prop::collection::vec(0..30 * HOUR_US, 1..60)), 1..20),
    ) {
        let lake = Lake::new();
        let (committer, _) = lake.open();
        let mut writers = writers(&lake, committer.progress().incarnation, 3);
        let (mut offset, mut of_hour) = (0, BTreeMap::<i64, Vec<(i32, i64)>>::new());
        for (worker, times) in &batches {
            writers[*worker].encode(&plays(0, offset, times)).unwrap();
            for (offset, at) in (offset..).zip(times) {
                of_hour.entry(at.div_euclid(HOUR_US)).or_default().push((0, offset));
            }
            offset += times.len() as i64;
        }
        let files = stage(&mut writers, 1).concat();
        prop_assert_eq!(files.len(), of_hour.len());
        for file in files {
            let mut rows = coordinates(&lake.plays().join(&file.staged));
            rows.sort();
            let hour = file.bounds[0].min.unwrap().div_euclid(HOUR_US);
            prop_assert_eq!(&rows, &of_hour[&hour]);
            let folder = format!("date=1970-01-0{}/hour={}/", hour / 24 + 1, hour % 24);
            prop_assert!(file.path.starts_with(&folder));
        }
    }
}
