//! Lakes of earlier formats, as earlier releases have left them in `tests/data`, are continued and
//! compacted.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use serde_json::json;

use super::*;
use crate::intake::{SEEN, schema};
use crate::lake::columns::NEEDS_NEWER;
use crate::lake::rows::CUT;
use crate::lake::table::{CLUSTER_ID, FORMAT};
use crate::lake::{Identity, Snapshot};

/// A copy of the lake of 400 plays that a release of format 1 has made.
fn format_1() -> Lake {
    let lake = Lake::new();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/lake-format-1");
    copy(&from, &lake.path());
    lake
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        match path.is_dir() {
            true => copy(&path, &to),
            false => assert!(fs::copy(&path, &to).is_ok()),
        }
    }
}

fn identity_of(lake: &Lake) -> Identity {
    let table = open(lake, &PLAYS);
    let text = |text: Option<&str>| text.unwrap().to_owned();
    Identity {
        cluster_id: text(table.cluster_id()),
        topic: text(table.topic()),
        topic_id: table.topic_id().map(str::to_owned),
    }
}

/// `cut` and `seen` of each row, by partition and offset.
fn remembered(lake: &Lake) -> BTreeMap<(i32, i64), (Option<i64>, Option<i64>)> {
    let mut found = BTreeMap::new();
    for file in Snapshot::open(&lake.place(), None).unwrap().files() {
        let file = File::open(file.place.path()).unwrap();
        for batch in ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap() {
            let batch = batch.unwrap();
            let column = |name: &str| batch.column_by_name(name);
            let partitions = column("kafka_partition").unwrap().as_primitive::<arrow::datatypes::Int32Type>();
            let offsets = column("kafka_offset").unwrap().as_primitive::<Int64Type>();
            for row in 0..batch.num_rows() {
                let cut = column(CUT).map(|cut| cut.as_primitive::<Int64Type>());
                let cut = cut.filter(|cut| cut.is_valid(row)).map(|cut| cut.value(row));
                let seen = column(SEEN).map(|seen| seen.as_primitive::<TimestampMicrosecondType>());
                let seen = seen.filter(|seen| seen.is_valid(row)).map(|seen| seen.value(row));
                found.insert((partitions.value(row), offsets.value(row)), (cut, seen));
            }
        }
    }
    found
}

#[test]
fn a_lake_of_format_1_is_continued_in_format_2() {
    let lake = format_1();
    let before = Snapshot::open(&lake.place(), None).unwrap();
    let (identity, old) = (identity_of(&lake), remembered(&lake));
    assert_eq!((old.len(), open(&lake, &PLAYS).format().unwrap()), (400, 1));
    assert!(old.values().all(|row| *row == (None, None)));

    for start in 1..3 {
        let mut committer = Committer::open(&lake.place(), &identity).unwrap();
        let (table, progress) = (open(&lake, &PLAYS), committer.progress().clone());
        assert_eq!((table.format().unwrap(), table.cluster_id()), (2, Some(&*identity.cluster_id)));
        assert_eq!(table.metadata().unwrap()["configuration"][CLUSTER_ID], NEEDS_NEWER, "for releases of before");
        assert!(schema().fields().iter().all(|field| table.snapshot().schema().field(field.name()).is_some()));
        let last = progress.epoch.unwrap();
        let mut writer = Writer::new(&lake.place(), progress.incarnation, 0).unwrap();
        // The first start adds an entry with the columns after that of its incarnation.
        assert_eq!(progress.version, before.version() + if start == 1 { 2 } else { 5 });
        for epoch in [last + 3, last + 5] {
            let mut offsets = committer.progress().offsets.clone();
            let from = offsets[&0];
            let files = writer.write_plays(epoch, vec![plays(0, from, &[AFTERNOON_US; 4])]).unwrap();
            offsets.insert(0, from + 4);
            committer.commit(Cut { epoch, plays: files, offsets, ..Cut::default() }).unwrap();
        }
        let rows = remembered(&lake);
        let of_cut = |cut: u64| rows.values().filter(|(found, _)| *found == Some(cut as i64)).count();
        assert_eq!((of_cut(last), of_cut(last + 3), of_cut(last + 5)), (4, 4, 0), "the last cut before they were read");
        assert!(rows.iter().all(|(place, row)| old.get(place).is_none_or(|before| row == before)));
    }
    let cuts: Vec<_> =
        Snapshot::open(&lake.place(), None).unwrap().files().iter().filter_map(|file| file.cuts).collect();
    assert!(cuts.len() == 4 && cuts.iter().all(|(min, max)| min == max), "{cuts:?}");
}

#[test]
fn compaction_keeps_what_rows_remember_and_what_they_do_not() {
    let lake = format_1();
    let mut committer = Committer::open(&lake.place(), &identity_of(&lake)).unwrap();
    let mut writer = Writer::new(&lake.place(), committer.progress().incarnation, 0).unwrap();
    let hours: Vec<i64> =
        Snapshot::open(&lake.place(), None).unwrap().files().iter().filter_map(|file| file.min_timestamp_us).collect();
    for at_us in [&hours[..], &hours].concat() {
        let (mut offsets, epoch) = (committer.progress().offsets.clone(), committer.progress().epoch.unwrap() + 1);
        let files = writer.write_plays(epoch, vec![plays(0, offsets[&0], &[at_us])]).unwrap();
        *offsets.get_mut(&0).unwrap() += 1;
        committer.commit(Cut { epoch, plays: files, offsets, ..Cut::default() }).unwrap();
    }
    let before = remembered(&lake);
    assert!(compact_all(&lake).partitions > 0);
    assert_eq!(remembered(&lake), before);
    let files = Snapshot::open(&lake.place(), None).unwrap().files().to_vec();
    assert!(files.iter().any(|file| file.cuts.is_some_and(|(min, max)| min < max)), "{files:?}");
}

#[test]
fn a_newer_format_is_refused() {
    let lake = format_1();
    let identity = identity_of(&lake);
    drop(Committer::open(&lake.place(), &identity).unwrap());
    let mut table = open(&lake, &PLAYS);
    let mut metadata = table.metadata().unwrap();
    metadata["configuration"][FORMAT] = json!("3");
    assert!(table.append_actions(&[json!({"metaData": metadata})]).unwrap());
    for refused in [
        Committer::found(&lake.place(), &identity).map(drop),
        Committer::open(&lake.place(), &identity).map(drop),
        Snapshot::open(&lake.place(), None).map(drop),
    ] {
        let message = format!("{:#}", refused.unwrap_err());
        assert!(message.contains("has format 3") && message.contains("install a newer one"), "{message}");
    }
}
