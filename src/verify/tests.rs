//! Damage: flips bits of a lake, truncates and deletes its files. The damage is detected, or has no
//! effect: charts are never made of other plays.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use proptest::prelude::*;
use reprise_dataflows::Tally;
use reprise_dataflows::count::summarise::Summariser;
use reprise_dataflows::rules::definition::Definitions;
use reprise_dataflows::rules::plan::Plan;
use tempfile::TempDir;

use super::lake::check;
use crate::lake::store::{self, Place};
use crate::lake::tests::support::{Lake, cut_of_plays, dead_letter};
use crate::lake::{LakeProgress, Snapshot};
use crate::source::lake::{Reader, Selection};

const CHARTS: &str = "[[chart]]\nname = 'weekly'\nperiod = 'week'\nscopes = ['global', 'country', 'device']\n\
    [[chart]]\nname = 'artists'\nperiod = 'month'\nitem = 'artist'\neligible = '30s'";

/// A lake of several commits with plays and dead letters.
fn lake() -> &'static Lake {
    static LAKE: OnceLock<Lake> = OnceLock::new();
    LAKE.get_or_init(|| {
        let lake = Lake::new();
        let (mut committer, mut writer) = lake.open();
        for epoch in 1..=4 {
            let mut cut = cut_of_plays(&mut writer, epoch, 40 * (epoch as i64 - 1), 40 * epoch as i64);
            cut.dead_letters = writer.write_dead_letters(epoch, &[dead_letter(1, epoch as i64 - 1)]).unwrap();
            cut.offsets.insert(1, epoch as i64);
            committer.commit(cut).unwrap();
        }
        lake
    })
}

/// What a replay reads: all counts, and the recorded progress of the lake.
type Replayed = (BTreeMap<Tally, i64>, LakeProgress);

fn replayed(lake: &Place) -> anyhow::Result<Replayed> {
    let snapshot = Snapshot::open(lake, None)?;
    let plan = Plan::new(&Definitions::parse(CHARTS)?);
    let times_us = i64::MIN..i64::MAX;
    let selection = Selection {
        times_us: times_us.clone(),
        window_us: Some(times_us),
        is_window_fixed: false,
        times: None,
        counted: None,
        late_titles: None,
    };
    let mut reader = Reader::new(snapshot.files().to_vec(), plan.clone(), selection);
    let mut summariser = Summariser::new(&plan);
    while let Some(piece) = reader.next_piece()? {
        piece.plays.iter().for_each(|plays| summariser.count(plays));
    }
    let mut tallies = BTreeMap::new();
    summariser.drain(|_, tally, count| *tallies.entry(tally).or_default() += count);
    Ok((tallies, snapshot.progress().clone()))
}

#[derive(Clone, Debug)]
enum Damage {
    Flip(prop::sample::Index, u8),
    Truncate(prop::sample::Index),
    Append(u8),
    Delete,
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        8 => (any::<prop::sample::Index>(), 0..8u8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        1 => any::<prop::sample::Index>().prop_map(Damage::Truncate),
        1 => any::<u8>().prop_map(Damage::Append),
        1 => Just(Damage::Delete),
    ]
}

impl Damage {
    fn inflict(&self, path: &Path) {
        let mut bytes = fs::read(path).unwrap();
        match self {
            Self::Flip(at, bit) => {
                let at = at.index(bytes.len());
                bytes[at] ^= 1 << bit;
            }
            Self::Truncate(at) => bytes.truncate(at.index(bytes.len())),
            Self::Append(byte) => bytes.push(*byte),
            Self::Delete => return fs::remove_file(path).unwrap(),
        }
        fs::write(path, bytes).unwrap();
    }
}

/// All non-empty files below `folder`, relative to it, in order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false if fs::metadata(&path).unwrap().len() == 0 => {}
                false => found.push(path),
            }
        }
    }
    let mut found: Vec<_> = found.iter().map(|path| path.strip_prefix(folder).unwrap().to_owned()).collect();
    found.sort();
    found
}

fn copy() -> (TempDir, PathBuf) {
    let (from, to) = (lake().path(), tempfile::tempdir().unwrap());
    for file in files(&from) {
        let copied = to.path().join("lake").join(&file);
        fs::create_dir_all(copied.parent().unwrap()).unwrap();
        fs::copy(from.join(&file), copied).unwrap();
    }
    let path = to.path().join("lake");
    (to, path)
}

/// Whether `verify` finds nothing wrong.
fn is_whole(lake: &Place) -> bool {
    check(lake, 2).is_ok_and(|checked| checked.problems == 0)
}

#[test]
fn an_undamaged_lake_is_whole() {
    let (_folder, path) = copy();
    let checked = check(&store::open(&path).unwrap(), 2).unwrap();
    assert_eq!(checked.problems, 0, "{}", checked.report);
    assert!(checked.report.contains("song-plays/0: 0 … 160 complete\n"), "{}", checked.report);
    assert!(checked.report.contains("song-plays/1: 0 … 4 complete (4 dead letters)\n"), "{}", checked.report);
    assert_eq!(replayed(&store::open(&path).unwrap()).unwrap(), replayed(&lake().place()).unwrap());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// After damage to a file of plays, a replay either fails with an error that names the file or
    /// gives the original result; so does `verify`.
    #[test]
    fn damaged_plays_are_never_counted(file in any::<prop::sample::Index>(), damage in damage()) {
        let (_folder, path) = copy();
        let files: Vec<_> = files(&path).into_iter().filter(|file| file.starts_with("song_plays") && file.to_string_lossy().contains("hour=")).collect();
        let file = file.get(&files);
        damage.inflict(&path.join(file));
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        match replayed(&store::open(&path).unwrap()) {
            Ok(found) => prop_assert!(found == replayed(&lake().place()).unwrap(), "{name} after {damage:?}"),
            Err(error) => prop_assert!(format!("{error:#}").contains(&name), "{error:#}"),
        }
        let checked = check(&store::open(&path).unwrap(), 1).unwrap();
        prop_assert!(checked.problems > 0 || matches!(damage, Damage::Flip(..)), "{name} after {damage:?}");
        prop_assert!(checked.problems == 0 || checked.report.contains(&name), "{}", checked.report);
    }

    /// After damage to any file, the log included, a replay gives the original result or `verify`
    /// finds a problem.
    #[test]
    fn damage_that_changes_a_replay_is_found(file in any::<prop::sample::Index>(), damage in damage()) {
        let (_folder, path) = copy();
        let files = files(&path);
        let file = file.get(&files);
        damage.inflict(&path.join(file));
        if let Ok(found) = replayed(&store::open(&path).unwrap()) && found != replayed(&lake().place()).unwrap() {
            prop_assert!(!is_whole(&store::open(&path).unwrap()), "{} after {damage:?}", file.display());
        }
    }
}
