//! Tests of maintenance, which changes files but never plays: whatever it does, and whichever
//! process dies meanwhile, the rows of the lake stay the same.

mod compaction;
mod crashes;
mod formats;
mod logs;
mod publishing;
mod vacuuming;

use std::fs::{self, File};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use arrow::util::display::{ArrayFormatter, FormatOptions};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::attention::ago;
use super::compact::{CompactIntent, Compacted, stage};
use super::plan::{Rule, jobs, plan};
use super::vacuum::Vacuumed;
use super::{Attention, Lock, compact, vacuum};
use crate::lake::entries::entries;
use crate::lake::table::{PLAYS, Table, TableKind};
use crate::lake::tests::support::{AFTERNOON_US, Lake, empty_cut, plays};
use crate::lake::{Committer, Cut, Writer};

static GOES_ON: AtomicBool = AtomicBool::new(false);

fn attention() -> Attention<'static> {
    Attention { stop: &GOES_ON, progress: &|_, _| {} }
}

/// Commits plays of partition 0, one for each of `times_us`, with offsets from `from` on.
fn commit(committer: &mut Committer, writer: &mut Writer, from: i64, times_us: &[i64]) {
    let epoch = committer.progress().epoch.unwrap_or(0) + 1;
    let files = writer.write_plays(epoch, vec![plays(0, from, times_us)]).unwrap();
    committer.commit(Cut { plays: files, ..empty_cut(epoch, from + times_us.len() as i64, 0) }).unwrap();
}

/// A lake of `commits` commits, each with a play in each of three hours.
fn lake_of(commits: i64) -> Lake {
    let lake = Lake::new();
    let (mut committer, mut writer) = lake.open();
    for commit in 0..commits {
        let cut = crate::lake::tests::support::cut_of_plays(&mut writer, commit as u64 + 1, commit * 3, commit * 3 + 3);
        committer.commit(cut).unwrap();
    }
    lake
}

fn compact_all(lake: &Lake) -> Compacted {
    let lock = Lock::take(&lake.place()).unwrap().expect("nobody has the lock");
    compact(&lake.place(), &lock, Duration::ZERO, &attention()).unwrap()
}

fn vacuum_all(lake: &Lake, retain: Duration) -> Vacuumed {
    let lock = Lock::take(&lake.place()).unwrap().expect("nobody has the lock");
    vacuum(&lake.place(), &lock, retain, false, &attention()).unwrap()
}

fn open(lake: &Lake, kind: &'static TableKind) -> Table {
    Table::open(&lake.place(), kind, lake.place().engine().unwrap(), None).unwrap()
}

/// A compaction of all plays, up to the step at which its files are staged.
fn staged(lake: &Lake, id: &str) -> (Table, CompactIntent) {
    let table = open(lake, &PLAYS);
    let rule = Rule::new(Duration::ZERO);
    let folders = plan(&table, &rule).unwrap().commits.into_iter().flatten().collect();
    let jobs = jobs(&table, &folders, &rule).unwrap();
    let (intent, _) = stage(&PLAYS, &table, id, jobs, &attention(), &mut |_| {}).unwrap();
    (table, intent)
}

/// All rows of a table that its log names, with all columns as text, sorted.
fn rows(lake: &Lake, kind: &'static TableKind) -> Vec<String> {
    let mut rows: Vec<String> =
        entries(&open(lake, kind)).unwrap().iter().flat_map(|entry| rows_of(&entry.place.path())).collect();
    rows.sort();
    rows
}

/// The same rows for readers that find files by name.
fn rows_by_name(lake: &Lake, kind: &'static TableKind) -> Vec<String> {
    let files = lake.place().join(kind.folder).partitioned_files();
    let mut rows: Vec<String> = files.iter().flat_map(|file| rows_of(&file.path())).collect();
    rows.sort();
    rows
}

fn rows_of(path: &Path) -> Vec<String> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap().build().unwrap();
    let folder = path.parent().unwrap().file_name().unwrap().to_string_lossy().into_owned();
    let mut rows = Vec::new();
    for batch in reader {
        let batch = batch.unwrap();
        let options = FormatOptions::default().with_null("null");
        let columns: Vec<_> =
            batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
        rows.extend((0..batch.num_rows()).map(|row| {
            let values: Vec<String> = columns.iter().map(|column| column.value(row).to_string()).collect();
            format!("{folder} {}", values.join("|"))
        }));
    }
    rows
}

/// How many files the log of the plays names in each partition.
fn files_by_partition(lake: &Lake) -> Vec<usize> {
    let mut counts = std::collections::BTreeMap::<_, usize>::new();
    for entry in entries(&open(lake, &PLAYS)).unwrap() {
        *counts.entry(entry.partition).or_default() += 1;
    }
    counts.into_values().collect()
}

fn hour_us(hour: i64) -> i64 {
    AFTERNOON_US + hour * reprise_dataflows::play::HOUR_US
}

/// Sets the modification time of a file to `age` ago.
fn set_age(path: &Path, age: Duration) {
    let file = File::options().read(true).open(path).unwrap();
    file.set_modified(ago(age)).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// Sets the modification time of the newest commit of the plays to `age` ago, and of the earlier
/// ones to twice that.
fn set_age_of_log(lake: &Lake, age: Duration) {
    let log = lake.plays().join("_delta_log");
    let newest = names(&log).into_iter().rfind(|name| name.ends_with(".json")).unwrap();
    for name in names(&log) {
        set_age(&log.join(&name), if name < newest { 2 * age } else { age });
    }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
