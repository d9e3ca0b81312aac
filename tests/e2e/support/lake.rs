//! The files of a lake, read with the Parquet crate by the table's public column names.

use std::fs::File;
use std::path::{Path, PathBuf};

use arrow::array::{Array, AsArray, BinaryArray, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::TimestampMicrosecondType;
use base64::prelude::{BASE64_STANDARD, Engine};
use jiff::Timestamp;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::plays::Play;

/// A row of `song_plays`.
pub struct Row {
    /// The Kafka partition.
    pub partition: i32,
    /// The Kafka offset.
    pub offset: i64,
    /// The play itself.
    pub play: Play,
}

/// A row of `dead_letters`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeadLetter {
    pub partition: i32,
    pub offset: i64,
    pub topic: String,
    pub reason: String,
    pub detail: String,
    pub key: Option<String>,
    pub base64: Option<String>,
}

/// All plays below `lake`. Fails if a play is not in the folder of its hour.
pub fn plays(lake: &Path) -> Vec<Row> {
    files(lake).iter().flat_map(|file| plays_of(file)).collect()
}

/// All files of plays below `lake`.
pub fn files(lake: &Path) -> Vec<PathBuf> {
    let hours = folders(&lake.join("song_plays")).into_iter().flat_map(|date| folders(&date));
    hours.flat_map(|hour| parquet_files(&hour)).collect()
}

fn plays_of(file: &Path) -> Vec<Row> {
    let rows: Vec<Row> = batches(file).iter().flat_map(play_rows).collect();
    for row in &rows {
        let expected = row.play.time.strftime("song_plays/date=%Y-%m-%d/hour=%-H").to_string();
        assert!(file.parent().unwrap().ends_with(&expected), "{} has a play of {expected}", file.display());
    }
    rows
}

/// All dead letters below `lake`.
pub fn dead_letters(lake: &Path) -> Vec<DeadLetter> {
    let files = folders(&lake.join("dead_letters")).into_iter().flat_map(|date| parquet_files(&date));
    files.flat_map(|file| batches(&file)).flat_map(|batch| dead_letter_rows(&batch)).collect()
}

/// Fails unless the lake holds exactly the `expected` plays, with all of their fields.
#[track_caller]
pub fn assert_holds(lake: &Path, expected: &[Play]) {
    let lines = |mut lines: Vec<String>| {
        lines.sort_unstable();
        lines
    };
    let expected = lines(expected.iter().map(Play::line).collect());
    let found = lines(self::plays(lake).iter().map(|row| row.play.line()).collect());
    assert_eq!(found.len(), expected.len(), "plays in the lake");
    let different = found.iter().zip(&expected).find(|(found, expected)| found != expected);
    assert_eq!(different, None, "the first play that differs");
}

fn play_rows(batch: &RecordBatch) -> Vec<Row> {
    let text = |name: &str| strings(batch, name);
    let (song_id, title, artist, user_id) = (text("song_id"), text("title"), text("artist"), text("user_id"));
    let (device, country) = (text("device"), text("country"));
    let time = column(batch, "timestamp").as_primitive::<TimestampMicrosecondType>();
    assert_eq!(time.timezone(), Some("UTC"));
    let number = |name: &str| column(batch, name).as_any().downcast_ref::<Int32Array>().expect(name).clone();
    let (duration_ms, listened_ms, partition) =
        (number("duration_ms"), number("listened_ms"), number("kafka_partition"));
    let offset: &Int64Array = column(batch, "kafka_offset").as_primitive();
    let completed: &BooleanArray = column(batch, "completed").as_boolean();
    let row = |row: usize| Row {
        partition: partition.value(row),
        offset: offset.value(row),
        play: Play {
            song_id: song_id.value(row).to_owned(),
            title: title.value(row).to_owned(),
            artist: artist.value(row).to_owned(),
            user_id: user_id.value(row).to_owned(),
            time: Timestamp::from_microsecond(time.value(row)).expect("a time in range"),
            duration_ms: duration_ms.value(row).into(),
            completed: completed.value(row),
            device: device.value(row).to_owned(),
            country: country.value(row).to_owned(),
            listened_ms: listened_ms.is_valid(row).then(|| listened_ms.value(row).into()),
        },
    };
    (0..batch.num_rows()).map(row).collect()
}

fn dead_letter_rows(batch: &RecordBatch) -> Vec<DeadLetter> {
    let (topic, reason) = (strings(batch, "topic"), strings(batch, "reason"));
    let detail = strings(batch, "detail");
    let partition: &Int32Array = column(batch, "kafka_partition").as_primitive();
    let offset: &Int64Array = column(batch, "kafka_offset").as_primitive();
    let bytes = |name: &str| column(batch, name).as_any().downcast_ref::<BinaryArray>().expect(name).clone();
    let (key, value) = (bytes("key"), bytes("value"));
    let row = |row: usize| DeadLetter {
        partition: partition.value(row),
        offset: offset.value(row),
        topic: topic.value(row).to_owned(),
        reason: reason.value(row).to_owned(),
        detail: detail.value(row).to_owned(),
        key: key.is_valid(row).then(|| String::from_utf8_lossy(key.value(row)).into_owned()),
        base64: value.is_valid(row).then(|| BASE64_STANDARD.encode(value.value(row))),
    };
    (0..batch.num_rows()).map(row).collect()
}

fn strings<'a>(batch: &'a RecordBatch, name: &str) -> &'a StringArray {
    column(batch, name).as_string()
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> &'a dyn Array {
    batch.column_by_name(name).unwrap_or_else(|| panic!("no column {name}"))
}

fn batches(path: &Path) -> Vec<RecordBatch> {
    let read = || -> anyhow::Result<Vec<RecordBatch>> {
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?.build()?;
        Ok(reader.collect::<Result<_, _>>()?)
    };
    read().unwrap_or_else(|error| panic!("{}: {error:#}", path.display()))
}

/// The folders `name=value` of a partitioned table.
fn folders(root: &Path) -> Vec<PathBuf> {
    entries(root).into_iter().filter(|path| path.is_dir() && path.to_string_lossy().contains('=')).collect()
}

fn parquet_files(folder: &Path) -> Vec<PathBuf> {
    entries(folder)
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "parquet"))
        .collect()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("a folder can be listed").path()).collect();
    paths.sort();
    paths
}
