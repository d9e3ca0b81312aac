//! A checkpoint plus the later files equal the lake, however both were made, and a damaged
//! checkpoint is never used.

use crate::checkpoint::opened::FOLDER;
use crate::checkpoint::opened::PREFIX;
use crate::lake::Snapshot;
use reprise_dataflows::Tally;
use reprise_dataflows::names::catalogue::Naming;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use proptest::prelude::*;
use reprise_dataflows::count::summarise::Summariser;
use reprise_dataflows::keys::item::ItemKey;
use reprise_dataflows::names::catalogue::TrackInfo;
use reprise_dataflows::play::HOUR_US;
use reprise_dataflows::rules::definition::{Cell, Definitions};
use reprise_dataflows::rules::plan::Plan;

use super::opened::list;
use super::*;
use crate::lake::tests::support::{AFTERNOON_US, Lake, empty_cut, plays};
use crate::lake::{Committer, Cut, Writer};
use crate::source::lake::{Reader, Selection};

const CHARTS: &str = "[[chart]]\nname = 'weekly'\nperiod = 'week'\nscopes = ['global', 'country']\n\
    [[chart]]\nname = 'artists'\nperiod = 'month'\nitem = 'artist'\neligible = 'all'\n\
    [[chart]]\nname = 'tokyo'\nperiod = 'day'\nzone = 'Asia/Tokyo'\nscopes = ['device']";

fn plan(charts: &str) -> Plan {
    Plan::new(&Definitions::parse(charts).unwrap())
}

/// Counts by cell, plays of the trending window's minutes, and titles.
type Counts = (
    BTreeMap<(Cell, ItemKey), i64>,
    BTreeMap<(i64, ItemKey), i64>,
    BTreeMap<ItemKey, (String, Option<(i32, TrackInfo)>)>,
);

/// The content of the lake: from `checkpoint` and the files that it has not counted, or from all
/// files without one.
fn counts(lake: &Lake, plan: &Plan, checkpoint: Option<Arc<Checkpoint>>) -> Counts {
    let (mut cells, mut panes, mut titles) = Counts::default();
    let snapshot = Snapshot::open(&lake.place(), None).unwrap();
    let counted = checkpoint.as_ref().map(|checkpoint| checkpoint.counted(&snapshot));
    let mut name = |naming: Naming| {
        let known = titles.entry(naming.item).or_insert_with(|| (naming.text.to_string(), None));
        assert_eq!(known.0, *naming.text);
        known.1 = known.1.take().max(naming.info);
    };
    let mut count = |(key, item): Tally, plays| {
        plan.cells(&key).into_iter().for_each(|cell| *cells.entry((cell, item)).or_default() += plays);
    };
    for bucket in 0..BUCKETS {
        let Some(checkpoint) = &checkpoint else { break };
        checkpoint.namings(bucket).unwrap().flat_map(Result::unwrap).for_each(&mut name);
        checkpoint.tallies(bucket).unwrap().flat_map(Result::unwrap).for_each(|(tally, plays)| count(tally, plays));
    }
    let window_us = Some(AFTERNOON_US..i64::MAX);
    let selection = Selection {
        times_us: i64::MIN..i64::MAX,
        window_us,
        is_window_fixed: false,
        times: None,
        counted,
        late_titles: None,
    };
    let mut reader = Reader::new(snapshot.files().to_vec(), plan.clone(), selection);
    let mut summariser = Summariser::new(plan);
    while let Some(piece) = reader.next_piece().unwrap() {
        piece.plays.iter().for_each(|plays| summariser.count(plays));
    }
    summariser.drain(|is_pane, (key, item), plays| match is_pane {
        true => *panes.entry((key.bucket, item)).or_default() += plays,
        false => count((key, item), plays),
    });
    // The reader may omit minutes before the window.
    panes.retain(|(pane, _), _| *pane >= AFTERNOON_US / 60_000_000);
    summariser.drain_namings().for_each(name);
    (cells, panes, titles)
}

fn make_now(lake: &Lake, plan: &Plan) -> Made {
    make(&lake.place(), plan, &AtomicBool::new(false), |_, _| ()).unwrap()
}

fn newest_now(lake: &Lake, plan: &Plan) -> Option<Arc<Checkpoint>> {
    let snapshot = Snapshot::open(&lake.place(), None).unwrap();
    newest(&lake.place(), &snapshot, plan).map(Arc::new)
}

/// Commits `rows` plays of partition 0 or 1, around the hour `hour`.
fn commit(committer: &mut Committer, writer: &mut Writer, rows: i64, partition: i32, hour: i64) {
    let progress = committer.progress().clone();
    let (epoch, from) = (progress.epoch.unwrap_or(0) + 1, progress.offsets[&partition]);
    let time_us = |n| AFTERNOON_US + hour * HOUR_US + n % 3 * HOUR_US + n * 1_000_003 % HOUR_US;
    let times_us: Vec<i64> = (from..from + rows).map(time_us).collect();
    let files = writer.write_plays(epoch, vec![plays(partition, from, &times_us)]).unwrap();
    let mut offsets = progress.offsets;
    offsets.insert(partition, from + rows);
    committer.commit(Cut { plays: files, offsets, ..empty_cut(epoch, 0, 0) }).unwrap();
}

fn files(lake: &Lake) -> Vec<PathBuf> {
    let folders = fs::read_dir(lake.path().join(FOLDER)).unwrap().map(|entry| entry.unwrap().path());
    let folders = folders.filter(|path| path.is_dir());
    folders.flat_map(|folder| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn a_checkpoint_and_what_came_later_are_the_lake(
        steps in prop::collection::vec((0i64..200, 0i32..2, -100i64..3, any::<bool>()), 1..8)
    ) {
        let (lake, plan) = (Lake::new(), plan(CHARTS));
        let (mut committer, mut writer) = lake.open();
        let mut checkpoints = 0;
        for (rows, partition, hour, checkpointed) in steps {
            commit(&mut committer, &mut writer, rows, partition, hour);
            if checkpointed {
                let made = make_now(&lake, &plan);
                checkpoints += i32::from(made != Made::Nothing);
            }
            let checkpoint = newest_now(&lake, &plan);
            prop_assert_eq!(checkpoint.is_some(), checkpoints > 0);
            prop_assert_eq!(counts(&lake, &plan, checkpoint), counts(&lake, &plan, None));
        }
        prop_assert!(list(&lake.place()).unwrap().len() <= 2);
    }

    /// One byte of one file differs, or the file is truncated or deleted.
    #[test]
    fn what_is_damaged_is_not_used(
        file in any::<prop::sample::Index>(),
        place in any::<prop::sample::Index>(),
        damage in prop_oneof![3 => (1u8..=255).prop_map(Some), 1 => Just(None)],
    ) {
        let (lake, plan) = (Lake::new(), plan(CHARTS));
        let (mut committer, mut writer) = lake.open();
        commit(&mut committer, &mut writer, 50, 0, 0);
        make_now(&lake, &plan);
        commit(&mut committer, &mut writer, 30, 1, 0);
        make_now(&lake, &plan);
        let files = files(&lake);
        let path = &files[file.index(files.len())];
        let mut bytes = fs::read(path).unwrap();
        let place = place.index(bytes.len());
        match damage {
            Some(flip) => {
                bytes[place] ^= flip;
                fs::write(path, &bytes).unwrap();
            }
            None if place % 2 == 0 => fs::write(path, &bytes[..place]).unwrap(),
            None => fs::remove_file(path).unwrap(),
        }
        let checkpoint = newest_now(&lake, &plan).expect("the other one is whole");
        prop_assert!(!path.starts_with(checkpoint.folder.path()));
        prop_assert_eq!(counts(&lake, &plan, Some(checkpoint)), counts(&lake, &plan, None));
        // The damage does not prevent the next checkpoint.
        commit(&mut committer, &mut writer, 5, 1, 0);
        let made = make_now(&lake, &plan);
        prop_assert!(matches!(made, Made::New { plays: 85, .. }), "{:?}", made);
        let checkpoint = newest_now(&lake, &plan).unwrap();
        prop_assert_eq!(checkpoint.manifest.plays, 85);
        prop_assert_eq!(counts(&lake, &plan, Some(checkpoint)), counts(&lake, &plan, None));
    }
}

#[test]
fn other_charts_use_what_is_there_or_nothing() {
    let (lake, rich) = (Lake::new(), plan(CHARTS));
    let (mut committer, mut writer) = lake.open();
    commit(&mut committer, &mut writer, 100, 0, -30);
    assert!(matches!(make_now(&lake, &rich), Made::New { plays: 100, .. }));
    assert_eq!(make_now(&lake, &rich), Made::Nothing);

    let fewer = plan("[[chart]]\nname = 'weekly'\nperiod = 'week'\nscopes = ['global']");
    let checkpoint = newest_now(&lake, &fewer);
    assert!(checkpoint.is_some());
    let (cells, _, names) = counts(&lake, &fewer, checkpoint);
    let (expected_cells, _, expected_names) = counts(&lake, &fewer, None);
    assert_eq!(cells, expected_cells);
    // The checkpoint may know more: these charts list no artists.
    assert!(expected_names.iter().all(|(item, name)| names.get(item) == Some(name)));

    let more = plan("[[chart]]\nname = 'weekly'\nperiod = 'week'\nscopes = ['global', 'device']");
    assert!(newest_now(&lake, &more).is_none(), "the lake has to be read");
    // A checkpoint of the same version for other charts replaces it.
    assert!(matches!(make_now(&lake, &more), Made::New { plays: 100, .. }));
    let checkpoint = newest_now(&lake, &more);
    assert_eq!(counts(&lake, &more, checkpoint), counts(&lake, &more, None));
}

#[test]
fn one_makes_a_checkpoint_at_a_time_and_may_be_stopped() {
    let (lake, plan) = (Lake::new(), plan(CHARTS));
    let (mut committer, mut writer) = lake.open();
    commit(&mut committer, &mut writer, 100, 0, 0);
    let stopped = make(&lake.place(), &plan, &AtomicBool::new(true), |_, _| ()).unwrap();
    assert_eq!(stopped, Made::Stopped);
    fs::create_dir(lake.path().join(FOLDER).join("_making-left-by-somebody-who-died")).unwrap();
    let held = fs::File::create(lake.path().join(FOLDER).join("lock")).unwrap();
    held.lock().unwrap();
    assert_eq!(make_now(&lake, &plan), Made::Busy);
    drop(held);
    assert!(matches!(make_now(&lake, &plan), Made::New { .. }));
    let mut left: Vec<_> = lake.place().join(FOLDER).names().unwrap();
    left.retain(|name| !name.starts_with(PREFIX));
    assert_eq!(left, ["lock"]);
}

#[test]
fn a_partition_that_was_added_later_is_new_as_a_whole() {
    let (lake, plan) = (Lake::new(), plan(CHARTS));
    let (mut committer, mut writer) = lake.open();
    commit(&mut committer, &mut writer, 40, 0, 0);
    make_now(&lake, &plan);
    committer.begin(&BTreeMap::from([(2, 7)])).unwrap();
    commit(&mut committer, &mut writer, 30, 2, 0);
    let checkpoint = newest_now(&lake, &plan);
    assert!(checkpoint.is_some());
    assert_eq!(counts(&lake, &plan, checkpoint), counts(&lake, &plan, None));
    assert!(matches!(make_now(&lake, &plan), Made::New { plays: 70, .. }));
}

/// A checkpoint with offsets that the lake does not have, as after the lake was restored from a
/// backup, would count plays twice.
#[test]
fn a_checkpoint_of_another_history_is_not_used() {
    let plan = plan(CHARTS);
    let (lake, other) = (Lake::new(), Lake::new());
    for (lake, rows) in [(&lake, 10), (&other, 20)] {
        let (mut committer, mut writer) = lake.open();
        commit(&mut committer, &mut writer, rows, 0, 0);
    }
    make_now(&other, &plan);
    fs::rename(other.path().join(FOLDER), lake.path().join(FOLDER)).unwrap();
    assert!(newest_now(&lake, &plan).is_none());
}
