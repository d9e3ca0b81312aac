//! Tests of compaction, alone and beside writers.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::{
    attention, commit, compact_all, files_by_partition, hour_us, lake_of, open, rows, rows_of, staged, vacuum_all,
};
use crate::lake::entries::entries;
use crate::lake::maintenance::compact::{CompactIntent, commit as append_all};
use crate::lake::maintenance::merge::Digest;
use crate::lake::maintenance::{Attention, Lock, compact, usage};
use crate::lake::table::{DEAD_LETTERS, PLAYS};
use crate::lake::tests::support::{Lake, cut_of_plays, dead_letter, empty_cut, expected};
use crate::lake::{Cut, Snapshot};

/// Commits every ten minutes, each with one late play of the hour before.
#[test]
fn after_a_days_run_each_hour_is_one_file() {
    let lake = Lake::new();
    let (mut committer, mut writer) = lake.open();
    let mut offset = 0;
    for ten_minutes in 0..24 * 6 {
        let at_us = hour_us(0) + ten_minutes * 600_000_000;
        let times = [at_us, at_us + 1_001, at_us - 300_000_000];
        commit(&mut committer, &mut writer, offset, &times);
        offset += times.len() as i64;
    }
    let before = (rows(&lake, &PLAYS), Snapshot::open(&lake.place(), None).unwrap().progress().clone());
    assert_eq!(before.0.len(), offset as usize);
    assert!(files_by_partition(&lake).iter().max() > Some(&5));

    let compacted = compact_all(&lake);
    // The late play of the first commit lies in the hour before the first one.
    assert_eq!((compacted.partitions, compacted.files_after, compacted.failed), (24, 24, 0));
    assert_eq!(files_by_partition(&lake), [1; 25]);
    assert!(compacted.bytes_after < compacted.bytes_before);
    assert_eq!(rows(&lake, &PLAYS), before.0, "with all their columns, in their hours");
    let after = Snapshot::open(&lake.place(), None).unwrap();
    let mut progress = after.progress().clone();
    assert!(progress.version > before.1.version);
    let checksum = format!("_delta_log/{:020}.crc", progress.version);
    assert!(lake.plays().join(checksum).exists(), "so that the next to open it need not read the log");
    progress.version = before.1.version;
    assert_eq!(progress, before.1, "a compaction moves no offset, epoch or clock");
    assert_eq!(after.files().iter().map(|file| file.rows).sum::<u64>(), offset as u64);
    for file in after.files() {
        let times = (file.min_timestamp_us.unwrap(), file.max_timestamp_us.unwrap());
        assert!(times.0 <= times.1 && file.size_bytes == file.place.path().metadata().unwrap().len(), "{file:?}");
    }

    assert_eq!(compact_all(&lake).partitions, 0, "nothing is left to do");
    assert!(vacuum_all(&lake, Duration::ZERO).files > 100);
    lake.assert_no_orphans();
    commit(&mut committer, &mut writer, offset, &[hour_us(30)]);
    assert_eq!(lake.rows(), expected(offset + 1), "and the run goes on");
}

#[test]
fn the_digest_of_the_rows_is_the_same_before_and_after() {
    let digest = |lake: &Lake| {
        let entries = entries(&open(lake, &PLAYS)).unwrap();
        let digests = entries.iter().map(|entry| Digest::of(&entry.place).unwrap());
        digests.fold((0, 0u64), |sum, digest| (sum.0 + digest.rows, sum.1.wrapping_add(digest.sum)))
    };
    let lake = lake_of(7);
    let before = digest(&lake);
    assert_eq!(before.0, 21);
    compact_all(&lake);
    assert_eq!(digest(&lake), before);
    assert_ne!(digest(&lake_of(8)), before);
}

#[test]
fn dead_letters_are_compacted_by_day() {
    let lake = Lake::new();
    let (mut committer, mut writer) = lake.open();
    for epoch in 1..=5_i64 {
        let letters = vec![dead_letter(0, epoch * 2 - 2), dead_letter(0, epoch * 2 - 1)];
        let files = writer.write_dead_letters(epoch as u64, &letters).unwrap();
        committer.commit(Cut { dead_letters: files, ..empty_cut(epoch as u64, epoch * 2, 0) }).unwrap();
    }
    let before = rows(&lake, &DEAD_LETTERS);
    assert_eq!(compact_all(&lake).partitions, 1);
    assert_eq!(rows(&lake, &DEAD_LETTERS), before);
    vacuum_all(&lake, Duration::ZERO);
    assert_eq!(lake.dead_letters(), expected(10));
}

#[test]
fn hours_that_are_not_quiet_stay_as_they_are() {
    let lake = lake_of(4);
    let lock = Lock::take(&lake.place()).unwrap().unwrap();
    let compacted = compact(&lake.place(), &lock, Duration::from_secs(3600), &attention()).unwrap();
    assert_eq!((compacted.partitions, files_by_partition(&lake)), (0, vec![4; 3]));
}

#[test]
fn one_cares_at_a_time() {
    let lake = lake_of(1);
    let lock = Lock::take(&lake.place()).unwrap();
    assert!(lock.is_some());
    assert!(Lock::take(&lake.place()).unwrap().is_none());
    drop(lock);
    assert!(Lock::take(&lake.place()).unwrap().is_some());
}

/// A writer's commit comes between the compaction's reading of the log and its append.
#[test]
fn a_compaction_is_rebased_on_what_is_committed_meanwhile() {
    let lake = lake_of(4);
    let (mut committer, mut writer) = lake.open();
    let (mut table, intent) = staged(&lake, "a");
    committer.commit(cut_of_plays(&mut writer, 9, 12, 15)).unwrap();
    assert!(append_all(&mut table, "a", &intent).unwrap());
    // And the other way round: the writer finds a version that another process wrote.
    committer.commit(cut_of_plays(&mut writer, 10, 15, 18)).unwrap();
    assert_eq!(lake.rows(), expected(18));
    assert_eq!(files_by_partition(&lake), [3; 3]);
}

#[test]
fn a_compaction_of_files_that_have_gone_is_given_up() {
    let lake = lake_of(4);
    let (mut first, mut second) = (staged(&lake, "a"), staged(&lake, "b"));
    assert!(append_all(&mut first.0, "a", &first.1).unwrap());
    assert!(!append_all(&mut second.0, "b", &second.1).unwrap());
    assert_eq!(lake.rows(), expected(12));
    vacuum_all(&lake, Duration::ZERO);
    lake.assert_no_orphans();
}

/// An unreadable file is left out with a warning, and the other partitions are compacted.
#[test]
fn a_damaged_file_stays_as_it_is() {
    let lake = lake_of(3);
    let damaged = Snapshot::open(&lake.place(), None).unwrap().files()[0].clone();
    std::fs::write(damaged.place.path(), b"no parquet").unwrap();
    let compacted = compact_all(&lake);
    assert_eq!((compacted.failed, compacted.partitions), (1, 2));
    assert_eq!(files_by_partition(&lake), [3, 1, 1]);
    assert_eq!(usage(&lake.place()).unwrap().tables[0].staged_files, 0);
}

/// A compaction would lose a column that another program has added.
#[test]
fn files_with_other_columns_stay_as_they_are() {
    let lake = lake_of(3);
    let file = Snapshot::open(&lake.place(), None).unwrap().files()[0].clone();
    let batches =
        ParquetRecordBatchReaderBuilder::try_new(File::open(file.place.path()).unwrap()).unwrap().build().unwrap();
    let batch = batches.into_iter().next().unwrap().unwrap();
    let mood = Field::new("mood", DataType::Int64, false);
    let fields = batch.schema().fields().iter().cloned().chain([Arc::new(mood)]).collect::<Vec<_>>();
    let moods = Arc::new(Int64Array::from(vec![7; batch.num_rows()]));
    let columns = [batch.columns(), &[moods]].concat();
    let schema = Arc::new(Schema::new(fields));
    let mut writer = ArrowWriter::try_new(File::create(file.place.path()).unwrap(), schema.clone(), None).unwrap();
    writer.write(&RecordBatch::try_new(schema, columns).unwrap()).unwrap();
    writer.close().unwrap();
    let before = rows_of(&file.place.path());
    assert_eq!(compact_all(&lake).failed, 0);
    assert_eq!(files_by_partition(&lake), [2, 1, 1]);
    assert_eq!(rows_of(&file.place.path()), before);
    assert_eq!(lake.rows(), expected(9));
}

#[test]
fn one_that_is_stopped_changes_nothing() {
    let lake = lake_of(3);
    let lock = Lock::take(&lake.place()).unwrap().unwrap();
    let stop = AtomicBool::new(true);
    let attention = Attention { stop: &stop, progress: &|_, _| {} };
    assert_eq!(compact(&lake.place(), &lock, Duration::ZERO, &attention).unwrap().partitions, 0);
    lake.assert_no_orphans();
    assert_eq!(files_by_partition(&lake), [3; 3]);
}

/// Written files are verified: an output that lacks a row has another digest, so it never reaches
/// the log.
#[test]
fn rows_that_are_lost_on_the_way_are_noticed() {
    let lake = lake_of(3);
    let (table, CompactIntent { files, .. }) = staged(&lake, "a");
    let whole = Digest::of(&table.root.join(&files[0].staged)).unwrap();
    let batches = rows_of(&table.root.join(&files[0].staged).path());
    assert_eq!(whole.rows as usize, batches.len());
    let others: Vec<_> = files[1..].iter().map(|file| Digest::of(&table.root.join(&file.staged)).unwrap()).collect();
    assert!(others.iter().all(|other| other.rows == whole.rows && other.sum != whole.sum));
}
