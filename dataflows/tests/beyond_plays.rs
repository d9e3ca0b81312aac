//! What `build` makes of more than the plays themselves: their users, and reference data. It equals
//! a brute force, for any order, epochs, encoding and number of workers.

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use reprise_dataflows::names::catalogue::TrackInfo;
use reprise_dataflows::rules::definition::{Definitions, Measure};
use support::graph::{CHARTS, TitleChanges, Way, run, with_clocks};
use support::{at, brute_force, brute_force_titles, named, play, workers};

/// The charts of the tests, some of which rank by listeners.
fn with_listeners() -> Arc<Definitions> {
    let mut definitions = Definitions::parse(CHARTS).unwrap();
    for name in ["weekly", "cities", "albums", "tokyo-days", "ever"] {
        let chart = definitions.index_of(name).unwrap();
        definitions.charts[chart as usize].measure = Measure::Listeners;
    }
    Arc::new(definitions)
}

/// What the reference data says of tracks at the end of each epoch, as changes.
fn changes(versions: &[BTreeMap<u8, Vec<u8>>]) -> Vec<TitleChanges> {
    let titles = |version: &BTreeMap<u8, Vec<u8>>| {
        let all = version.iter().flat_map(|(song, titles)| titles.iter().map(move |title| (*song, *title)));
        all.map(|(song, title)| (format!("S{song:02}"), info(title))).collect::<Vec<_>>()
    };
    let mut before = Vec::new();
    let mut changes = Vec::new();
    for version in versions {
        let after = titles(version);
        let retracted = before.into_iter().map(|title| (title, -1));
        changes.push(retracted.chain(after.iter().cloned().map(|title| (title, 1))).collect());
        before = after;
    }
    changes
}

fn info(title: u8) -> TrackInfo {
    TrackInfo { title: format!("Known {title}"), artist: "Known".to_owned() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn listeners_equal_a_brute_force(
        epochs in prop::collection::vec(prop::collection::vec(play(), 0..80), 1..6),
        workers in workers(),
        from_lake in any::<bool>(),
        in_turn in any::<bool>(),
    ) {
        let definitions = with_listeners();
        let way = Way { workers, from_lake, in_turn, ..Way::PLAIN };
        let epochs = with_clocks(&epochs, &[60_000_000]);
        let output = run(&definitions, &epochs, &way, &[]);
        let mut plays = Vec::new();
        for (epoch, (clock_us, of_epoch)) in (0..).zip(&epochs) {
            plays.extend(of_epoch.iter().cloned());
            let ranked = named(&definitions, at(&output.ranked, epoch));
            prop_assert_eq!(ranked, brute_force(&definitions, &plays, *clock_us), "epoch {}, {:?}", epoch, way);
        }
    }

    /// The title of a listed track is the one of the reference data as it stands, or else the one
    /// that plays report.
    #[test]
    fn reference_data_corrects_titles(
        epochs in prop::collection::vec(prop::collection::vec(play(), 0..30), 1..6),
        versions in prop::collection::vec(prop::collection::btree_map(0u8..12, prop::collection::vec(0u8..5, 1..3), 0..6), 6),
        workers in workers(),
        from_lake in any::<bool>(),
    ) {
        let definitions = Arc::new(Definitions::parse(CHARTS).unwrap());
        let versions = &versions[..epochs.len()];
        let way = Way { workers, from_lake, reference: Some(changes(versions)), ..Way::PLAIN };
        let epochs = with_clocks(&epochs, &[60_000_000]);
        let output = run(&definitions, &epochs, &way, &[]);
        let mut plays = Vec::new();
        for ((epoch, (_, of_epoch)), version) in (0..).zip(&epochs).zip(versions) {
            plays.extend(of_epoch.iter().cloned());
            let mut expected = brute_force_titles(&plays);
            for (song, titles) in version {
                if let Some(title) = expected.get_mut(&format!("S{song:02}")) {
                    *title = titles.iter().map(|title| info(*title)).max().unwrap();
                }
            }
            let emitted = at(&output.titles, epoch);
            prop_assert!(emitted.values().all(|times| *times == 1), "{:?}", emitted);
            let titles: BTreeMap<String, TrackInfo> = emitted.into_keys().collect();
            for (_, item) in at(&output.ranked, epoch).into_keys().filter(|(_, item)| item.starts_with('S')) {
                prop_assert_eq!(titles.get(&item), expected.get(&item), "{} in epoch {}, {:?}", item, epoch, way);
            }
        }
    }
}
