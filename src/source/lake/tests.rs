//! Every reader returns the content of a file, whether titles are read with the plays or later.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Int32Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding};
use parquet::file::properties::{WriterProperties, WriterVersion};
use proptest::prelude::*;
use reprise_dataflows::play::{DAY_US, HOUR_US, PlayBatch};
use reprise_dataflows::rules::definition::{Definitions, Measure};
use reprise_dataflows::rules::plan::Plan;
use tempfile::TempDir;

use super::{Reader, Selection, share};
use crate::lake::footer_checksum as checksum;
use crate::lake::store;
use crate::lake::tests::support::plays;
use crate::lake::{Filing, LakeFile};

/// The hour of all files here. A timestamp before the year 2000 is no play.
const DAY: i32 = 20_000;
const START_US: i64 = DAY as i64 * DAY_US;

type Play = (String, String, String, bool, String, i64);

fn play() -> impl Strategy<Value = Play> {
    let text = || prop_oneof!["[ab]{0,2}", "é{0,40}", Just("a title of some length".to_owned())];
    let country = prop_oneof![4 => Just("US".to_owned()), 1 => "[A-Z]{2}"];
    ("S[0-9]{1,2}", text(), text(), any::<bool>(), country, START_US..START_US + HOUR_US)
}

/// A way to write a file, within the limits of the layout.
#[derive(Clone, Debug)]
struct Layout {
    group_rows: usize,
    page_rows: usize,
    /// Small, so that the writer gives up the dictionary.
    dictionary_bytes: usize,
    second_version: bool,
    sealed: bool,
}

fn layout() -> impl Strategy<Value = Layout> {
    let sizes = (1usize..300, 1usize..200, prop_oneof![Just(100usize), Just(1 << 20)]);
    (sizes, any::<bool>(), prop::bool::weighted(0.8)).prop_map(
        |((group_rows, page_rows, dictionary_bytes), second_version, sealed)| Layout {
            group_rows,
            page_rows,
            dictionary_bytes,
            second_version,
            sealed,
        },
    )
}

fn batch_of(of: &[Play]) -> RecordBatch {
    let batch = plays(0, 0, &vec![0; of.len()]);
    let texts = |text: fn(&Play) -> &str| -> ArrayRef { Arc::new(StringArray::from_iter_values(of.iter().map(text))) };
    let mut columns = batch.columns().to_vec();
    columns[0] = texts(|play| &play.0);
    columns[1] = texts(|play| &play.1);
    columns[2] = texts(|play| &play.2);
    columns[4] =
        Arc::new(TimestampMicrosecondArray::from_iter_values(of.iter().map(|play| play.5)).with_timezone("UTC"));
    columns[6] = Arc::new(BooleanArray::from_iter(of.iter().map(|play| Some(play.3))));
    columns[8] = texts(|play| &play.4);
    RecordBatch::try_new(batch.schema(), columns).unwrap()
}

/// A user, a city, an album, a duration, and how long it was listened to.
type Sparse = (String, Option<String>, Option<String>, i32, Option<i32>);

fn sparse() -> impl Strategy<Value = Sparse> {
    let text = || prop::option::of(prop_oneof!["[ab]{0,2}", "é{0,40}"]);
    ("U[0-9]{0,30}", text(), text(), 0i32..100_000, prop::option::of(0i32..100_000))
}

/// Plays whose optional values are all null, never null, or null as in `of`.
fn sparse_batch(of: &[Sparse], nulls: Option<bool>) -> RecordBatch {
    let batch = plays(0, 0, &vec![START_US; of.len()]);
    let mut columns = batch.columns().to_vec();
    let mut set = |name: &str, array: ArrayRef| columns[batch.schema().index_of(name).unwrap()] = array;
    let with_nulls = |value: &Option<String>| match nulls {
        Some(true) => None,
        Some(false) => Some(value.clone().unwrap_or_default()),
        None => value.clone(),
    };
    set("user_id", Arc::new(StringArray::from_iter_values(of.iter().map(|play| &play.0))));
    set("city", Arc::new(StringArray::from_iter(of.iter().map(|play| with_nulls(&play.1)))));
    set("album", Arc::new(StringArray::from_iter(of.iter().map(|play| with_nulls(&play.2)))));
    set("duration_ms", Arc::new(Int32Array::from_iter_values(of.iter().map(|play| play.3))));
    let listened = of.iter().map(|play| with_nulls(&play.4.map(|ms| ms.to_string())));
    let listened = listened.map(|ms| ms.map(|ms| ms.parse().unwrap_or_default()));
    set("listened_ms", Arc::new(Int32Array::from_iter(listened)));
    RecordBatch::try_new(batch.schema(), columns).unwrap()
}

fn write(folder: &TempDir, batch: &RecordBatch, layout: &Layout) -> LakeFile {
    let path = folder.path().join("file.parquet");
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_max_row_group_row_count(Some(layout.group_rows))
        .set_data_page_row_count_limit(layout.page_rows)
        .set_write_batch_size(layout.page_rows.min(16))
        .set_dictionary_page_size_limit(layout.dictionary_bytes)
        .set_column_dictionary_enabled("completed".into(), false)
        .set_column_dictionary_enabled("timestamp".into(), false)
        .set_column_dictionary_enabled("user_id".into(), false)
        .set_column_dictionary_enabled("duration_ms".into(), false)
        .set_column_encoding("duration_ms".into(), Encoding::DELTA_BINARY_PACKED)
        .set_column_encoding("timestamp".into(), Encoding::DELTA_BINARY_PACKED)
        .set_writer_version(if layout.second_version {
            WriterVersion::PARQUET_2_0
        } else {
            WriterVersion::PARQUET_1_0
        });
    let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties.build())).unwrap();
    writer.write(batch).unwrap();
    match layout.sealed {
        true => drop(checksum::finish(&mut writer).unwrap()),
        false => drop(writer.finish().unwrap()),
    }
    file_at(&path, batch.num_rows())
}

fn file_at(path: &Path, rows: usize) -> LakeFile {
    let size_bytes = fs::metadata(path).unwrap().len();
    let (min_timestamp_us, max_timestamp_us) = (Some(START_US), Some(START_US + HOUR_US - 1));
    LakeFile {
        day: DAY,
        hour: 0,
        filing: Filing::ByHour,
        place: store::open(path.parent().unwrap()).unwrap().join("file.parquet"),
        size_bytes,
        rows: rows as u64,
        min_timestamp_us,
        max_timestamp_us,
        cuts: None,
    }
}

/// The plays of a file, with their times if it is `in_window`.
fn read(file: &LakeFile, late: bool, in_window: bool) -> anyhow::Result<Vec<PlayBatch>> {
    read_by(&Definitions::builtin(), file, late, in_window)
}

/// The plays of a file with the columns that `definitions` need, like [`read`].
fn read_by(definitions: &Definitions, file: &LakeFile, late: bool, in_window: bool) -> anyhow::Result<Vec<PlayBatch>> {
    let plan = Plan::new(definitions);
    let late_titles = late.then_some((|error| panic!("{error:#}")) as fn(anyhow::Error));
    let window_us = in_window.then_some(START_US..START_US + 1);
    let selection = Selection {
        times_us: i64::MIN..i64::MAX,
        window_us: window_us.clone(),
        // The columns that a replay reads, or a run.
        is_window_fixed: late,
        times: None,
        counted: None,
        late_titles,
    };
    let mut reader = Reader::new(vec![file.clone()], plan, selection);
    let mut batches = Vec::new();
    while let Some(piece) = reader.next_piece()? {
        assert_eq!(piece.rows, piece.plays.iter().map(|plays| plays.rows() as u64).sum::<u64>());
        batches.extend(piece.plays);
    }
    let window_us = window_us.filter(|_| late);
    assert!(batches.iter().all(|plays| plays.fixed_window_us() == window_us.as_ref()));
    Ok(batches)
}

/// Some columns of all batches, with texts decoded.
fn columns(batches: &[PlayBatch], names: &[&str]) -> Vec<ArrayRef> {
    let of_batch = |batch: &PlayBatch| {
        let columns = names.iter().map(|name| {
            let column = batch.columns().column_by_name(name).unwrap();
            let is_text = matches!(column.data_type(), DataType::Dictionary(..));
            // Nullable, because a later batch may have nulls where the first has none.
            (*name, if is_text { cast(column, &DataType::Utf8).unwrap() } else { column.clone() }, true)
        });
        RecordBatch::try_from_iter_with_nullable(columns).unwrap()
    };
    let batches: Vec<_> = batches.iter().map(of_batch).collect();
    let schema = batches.first().map_or_else(|| Arc::new(Schema::empty()), RecordBatch::schema);
    concat_batches(&schema, &batches).unwrap().columns().to_vec()
}

fn titles_of(batches: &[PlayBatch], wanted: &dyn Fn(&str) -> bool) -> BTreeSet<(String, String, String)> {
    let mut titles = BTreeSet::new();
    for batch in batches {
        let mut hear = |id: &str, title: &str, artist: &str| {
            titles.insert((id.to_owned(), title.to_owned(), artist.to_owned()));
        };
        match batch.late_titles() {
            Some(late) => late.each(wanted, &mut hear),
            None => {
                let texts = ["song_id", "title", "artist"].map(|name| batch.texts(name).unwrap());
                let rows = (0..batch.rows()).filter(|row| wanted(texts[0].get(*row)));
                rows.for_each(|row| hear(texts[0].get(row), texts[1].get(row), texts[2].get(row)));
            }
        }
    }
    titles
}

/// A file of ours in a foreign table: its folder does not name the day of its plays.
#[test]
fn only_the_folders_of_our_lakes_say_the_day() {
    let folder = tempfile::tempdir().unwrap();
    let text = String::from;
    let batch = batch_of(&[(text("a"), text("A"), text("B"), true, text("DE"), START_US)]);
    let layout =
        Layout { group_rows: 100, page_rows: 100, dictionary_bytes: 1 << 20, second_version: false, sealed: true };
    let ours = write(&folder, &batch, &layout);
    for (filing, day) in [(Filing::ByHour, DAY), (Filing::Claimed, 0), (Filing::Unknown, 0)] {
        let file = LakeFile { filing, day, ..ours.clone() };
        let days: Vec<_> = read(&file, true, true).unwrap().iter().map(PlayBatch::day).collect();
        assert!(days == [Some(DAY)] || days == [None], "{filing:?}: {days:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn written_plays_are_read(of in prop::collection::vec(play(), 1..400), layout in layout(), even: bool, in_window: bool) {
        let folder = tempfile::tempdir().unwrap();
        let batch = batch_of(&of);
        let file = write(&folder, &batch, &layout);
        let (at_once, late) = (read(&file, false, in_window).unwrap(), read(&file, true, in_window).unwrap());

        let timestamp = if in_window { &["timestamp"][..] } else { &[] };
        let names = [&["song_id", "title", "artist", "country", "completed"], timestamp].concat();
        for (name, column) in names.iter().zip(columns(&at_once, &names)) {
            prop_assert_eq!(&column, batch.column_by_name(name).unwrap(), "{}", name);
        }
        let names = [&["song_id", "country", "completed"], timestamp].concat();
        for (name, column) in names.iter().zip(columns(&late, &names)) {
            prop_assert_eq!(&column, batch.column_by_name(name).unwrap(), "{}", name);
        }

        // Only files in our layout have titles that are read later.
        let as_ours = layout.sealed && layout.dictionary_bytes > 100 && !layout.second_version;
        prop_assert!(!as_ours || late.iter().all(|batch| batch.late_titles().is_some()));
        prop_assert!(layout.sealed || late.iter().all(|batch| batch.late_titles().is_none()));

        let wanted = |id: &str| id.len().is_multiple_of(2) == even;
        let expected = of.iter().filter(|play| wanted(&play.0)).map(|play| (play.0.clone(), play.1.clone(), play.2.clone()));
        let expected: BTreeSet<_> = expected.collect();
        prop_assert_eq!(titles_of(&at_once, &wanted), expected.clone());
        prop_assert_eq!(titles_of(&late, &wanted), expected);
    }

    /// Columns that may be null, integers and plain texts are read on the fast path too.
    #[test]
    fn optional_columns_are_read(
        of in prop::collection::vec(sparse(), 1..400),
        nulls in prop_oneof![Just(Some(true)), Just(Some(false)), Just(None)],
        layout in layout(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let batch = sparse_batch(&of, nulls);
        let file = write(&folder, &batch, &layout);
        let mut definitions = Definitions::parse(
            "[[chart]]\nname = 'a'\nperiod = 'day'\nitem = 'album'\nscopes = ['city', 'device']\neligible = '30s'",
        )
        .unwrap();
        definitions.charts[0].measure = Measure::Listeners;
        let batches = read_by(&definitions, &file, true, false).unwrap();
        let names = ["song_id", "album", "city", "device", "user_id", "completed", "duration_ms", "listened_ms"];
        for (name, column) in names.iter().zip(columns(&batches, &names)) {
            prop_assert_eq!(&column, batch.column_by_name(name).unwrap(), "{}", name);
        }
        let as_ours = layout.sealed && layout.dictionary_bytes > 100 && !layout.second_version;
        prop_assert!(!as_ours || batches.iter().all(|batch| batch.late_titles().is_some()));
    }

    /// Each file belongs to one worker, and no worker has much more than its share.
    #[test]
    fn shares_are_all_of_the_files(sizes in prop::collection::vec((0u64..1000, 0i32..3, 0u8..24), 0..60), workers in 1usize..5) {
        let of = |(index, (size_bytes, day, hour)): (usize, &(u64, i32, u8))| {
            let place = store::open(Path::new("/lake")).unwrap().join(&index.to_string());
            LakeFile { day: *day, hour: *hour, filing: Filing::ByHour, place, size_bytes: *size_bytes, rows: 1, min_timestamp_us: None, max_timestamp_us: None, cuts: None }
        };
        let files: Vec<LakeFile> = sizes.iter().enumerate().map(of).collect();
        let (bytes, largest) = (sizes.iter().map(|file| file.0).sum::<u64>(), sizes.iter().map(|file| file.0).max().unwrap_or(0));
        let mut all = Vec::new();
        for worker in 0..workers {
            let mine = share(files.iter(), worker, workers);
            let read: u64 = mine.iter().map(|file| file.size_bytes).sum();
            prop_assert!(read <= bytes / workers as u64 + largest + 1);
            prop_assert!(mine.is_sorted_by_key(|file| std::cmp::Reverse((file.day, file.hour))));
            all.extend(mine);
        }
        all.sort();
        let mut expected = files;
        expected.sort();
        prop_assert_eq!(all, expected);
    }

    /// A flipped bit is an error, or lies in bytes that were not read.
    #[test]
    fn damage_is_never_another_play(of in prop::collection::vec(play(), 1..100), layout in layout(), at: prop::sample::Index, bit in 0u8..8) {
        let folder = tempfile::tempdir().unwrap();
        let batch = batch_of(&of);
        let file = write(&folder, &batch, &Layout { sealed: true, ..layout });
        let mut bytes = fs::read(file.place.path()).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        fs::write(file.place.path(), bytes).unwrap();
        let batches = read(&file, true, true);
        if let Ok(batches) = &batches {
            let titles = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| titles_of(batches, &|_| true)));
            let expected = of.iter().map(|play| (play.0.clone(), play.1.clone(), play.2.clone())).collect();
            prop_assert!(titles.is_err() || titles.is_ok_and(|titles| titles == expected));
        }
        if let Ok(batches) = batches {
            let names = ["song_id", "country", "completed", "timestamp"];
            for (name, column) in names.iter().zip(columns(&batches, &names)) {
                prop_assert_eq!(&column, batch.column_by_name(name).unwrap(), "{}", name);
            }
        }
    }
}
