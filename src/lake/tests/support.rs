//! A lake in a temporary folder, with ways to fill it, and to inspect it without the code under
//! test.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::intake::Rejection;
use arrow::array::{
    ArrayRef, AsArray, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{Int32Type, Int64Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use reprise_dataflows::play::{self};
use tempfile::TempDir;

use crate::intake::DeadLetter;
use crate::lake::rows::Cuts;
use crate::lake::store::{self, Place};
use crate::lake::{Committer, Cut, Identity, Snapshot, Writer};

/// 2026-11-20T14:00:00Z.
pub const AFTERNOON_US: i64 = 1_795_183_200_000_000;

/// A lake that is deleted when this is dropped.
pub struct Lake {
    folder: TempDir,
}

impl Lake {
    /// The path of a lake that does not exist yet.
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// The folder of the lake. Its name has characters that URLs, and so the log, escape.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("a lake, 100 % für #1?")
    }

    /// The lake, as the code under test knows it.
    pub fn place(&self) -> Place {
        store::open(&self.path()).unwrap()
    }

    /// The folder of the table of plays.
    pub fn plays(&self) -> PathBuf {
        self.path().join("song_plays")
    }

    /// A committer of the next incarnation, with the partitions 0 and 1 begun at offset 0, and a
    /// writer of the same incarnation.
    pub fn open(&self) -> (Committer, Writer) {
        let mut committer = Committer::open(&self.place(), &identity()).unwrap();
        committer.begin(&BTreeMap::from([(0, 0), (1, 0)])).unwrap();
        let writer = Writer::new(&self.place(), committer.progress().incarnation, 0).unwrap();
        (committer, writer)
    }

    /// The Kafka partition and offset of every row that the log of the plays names, sorted.
    pub fn rows(&self) -> Vec<(i32, i64)> {
        let snapshot = Snapshot::open(&self.place(), None).unwrap();
        let mut rows: Vec<_> = snapshot.files().iter().flat_map(|file| coordinates(&file.place.path())).collect();
        rows.sort();
        rows
    }

    /// All files of `table` outside the log, including staged files and intents.
    pub fn files_on_disk(&self, table: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.path().canonicalize().unwrap().join(table)];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true if path.ends_with("_delta_log") => {}
                    true => folders.push(path),
                    // A lock file, which is never deleted.
                    false if path.ends_with("care.lock") => {}
                    false => found.push(path),
                }
            }
        }
        found.sort();
        found
    }

    /// Fails if there is a file of plays that the log does not name, or the other way round.
    pub fn assert_no_orphans(&self) {
        let snapshot = Snapshot::open(&self.place(), None).unwrap();
        let mut named: Vec<_> = snapshot.files().iter().map(|file| file.place.path()).collect();
        named.sort();
        assert_eq!(named, self.files_on_disk("song_plays"));
    }

    /// The Kafka partition and offset of every dead letter on disk, sorted.
    pub fn dead_letters(&self) -> Vec<(i32, i64)> {
        let files = self.files_on_disk("dead_letters");
        let mut rows: Vec<_> = files.iter().flat_map(|file| coordinates(file)).collect();
        rows.sort();
        rows
    }
}

/// The topic of every test lake.
pub fn identity() -> Identity {
    Identity { cluster_id: "cluster-a".into(), topic: "song-plays".into(), topic_id: Some("topic-a".into()) }
}

/// The Kafka partition and offset of every row of a file.
pub fn coordinates(path: &Path) -> Vec<(i32, i64)> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap().build().unwrap();
    let mut rows = Vec::new();
    for batch in reader {
        let batch = batch.unwrap();
        let partitions = batch.column_by_name("kafka_partition").unwrap().as_primitive::<Int32Type>().values();
        let offsets = batch.column_by_name("kafka_offset").unwrap().as_primitive::<Int64Type>().values();
        rows.extend(partitions.iter().copied().zip(offsets.iter().copied()));
    }
    rows
}

/// Plays of `partition`, one for each of `times_us`, with consecutive offsets from `offset` on.
pub fn plays(partition: i32, offset: i64, times_us: &[i64]) -> RecordBatch {
    let rows = times_us.len();
    let offsets = || offset..offset + rows as i64;
    let texts = |of: fn(i64) -> String| -> ArrayRef { Arc::new(StringArray::from_iter_values(offsets().map(of))) };
    let times = TimestampMicrosecondArray::from(times_us.to_vec()).with_timezone("UTC");
    let columns: Vec<ArrayRef> = vec![
        texts(|n| format!("S{}", n % 50)),
        texts(|n| format!("Title {}", n % 50)),
        texts(|n| format!("Artist {}", n % 7)),
        texts(|n| format!("U{}", n % 1000)),
        Arc::new(times),
        Arc::new(Int32Array::from_iter_values(offsets().map(|n| 30_000 + (n % 1000) as i32))),
        Arc::new(BooleanArray::from_iter(offsets().map(|n| Some(n % 10 < 7)))),
        texts(|_| "mobile".into()),
        texts(|n| ["US", "DE", "JP"][n as usize % 3].into()),
        Arc::new(StringArray::from_iter(offsets().map(|n| (n % 2 == 0).then(|| format!("event-{n}"))))),
        Arc::new(StringArray::new_null(rows)),
        Arc::new(StringArray::new_null(rows)),
        Arc::new(Int32Array::new_null(rows)),
        Arc::new(Int32Array::from(vec![partition; rows])),
        Arc::new(Int64Array::from_iter_values(offsets())),
        Arc::new(TimestampMicrosecondArray::from_iter_values(offsets()).with_timezone("UTC")),
    ];
    RecordBatch::try_new(crate::intake::schema(), columns).unwrap()
}

/// [`plays`] as the rows of the table.
pub fn lake_rows(partition: i32, offset: i64, times_us: &[i64]) -> RecordBatch {
    Cuts::after(None).add(&plays(partition, offset, times_us)).unwrap()
}

/// A record that is not JSON.
pub fn dead_letter(partition: i32, offset: i64) -> DeadLetter {
    DeadLetter {
        partition,
        offset,
        kafka_timestamp_ms: Some(AFTERNOON_US / 1000 + offset),
        reason: Rejection::NotJson,
        detail: "expected value at line 1 column 1".into(),
        key: None,
        value: Some(b"not json".to_vec()),
    }
}

/// A cut without files that moves partitions 0 and 1 to `next_0` and `next_1`.
pub fn empty_cut(epoch: u64, next_0: i64, next_1: i64) -> Cut {
    Cut { epoch, clock_us: Some(AFTERNOON_US), offsets: BTreeMap::from([(0, next_0), (1, next_1)]), ..Cut::default() }
}

/// A cut at `epoch` with the plays `from..to` of partition 0, spread over three hours.
pub fn cut_of_plays(writer: &mut Writer, epoch: u64, from: i64, to: i64) -> Cut {
    let times: Vec<i64> = (from..to).map(|n| AFTERNOON_US + n % 3 * play::HOUR_US + n).collect();
    let files = writer.write_plays(epoch, vec![plays(0, from, &times)]).unwrap();
    Cut { plays: files, ..empty_cut(epoch, to, 0) }
}

/// The coordinates of the plays `0..to` of partition 0.
pub fn expected(to: i64) -> Vec<(i32, i64)> {
    (0..to).map(|offset| (0, offset)).collect()
}

/// The message of an error with all its causes. Panics without an error.
pub fn message<T>(result: anyhow::Result<T>) -> String {
    format!("{:#}", result.err().expect("an error"))
}
