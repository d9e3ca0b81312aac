//! `build` equals a brute force over structs, for any order, epochs, encoding and number of
//! workers, and for any part of the plays in a checkpoint.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use reprise_dataflows::names::catalogue::TrackInfo;
use reprise_dataflows::query::{Query, QueryKind};
use reprise_dataflows::rank::digest::Inputs;
use reprise_dataflows::rules::definition::Definitions;
use support::graph::{CHARTS, EpochInput, Output, Way, run, with_clocks};
use support::{MONDAY_US, Play, Tops, at, brute_force, brute_force_titles, named, play, workers};

/// The inputs of each chart at the end of `epoch`.
fn inputs_at(output: &Output, epoch: u64) -> BTreeMap<u32, Inputs> {
    let mut inputs = BTreeMap::<u32, Inputs>::new();
    for (chart, _, change) in output.inputs.lock().unwrap().iter().filter(|(_, time, _)| *time <= epoch) {
        inputs.entry(*chart).or_default().add(*change);
    }
    inputs.retain(|_, inputs| *inputs != Inputs::default());
    inputs
}

/// The inputs of each chart if all of `plays` arrive in one epoch, on one worker, from Kafka.
fn inputs_at_once(definitions: &Arc<Definitions>, plays: &[Play], clock_us: Option<i64>) -> BTreeMap<u32, Inputs> {
    inputs_at(&run(definitions, &[(clock_us, plays.to_vec())], &Way::PLAIN, &[]), 0)
}

/// The number of `plays` that a chart counts: the greatest sum of any of its kinds of scopes,
/// without a limit on the lists.
fn counted_once(definitions: &Definitions, chart: u32, plays: &[Play], clock_us: Option<i64>) -> i64 {
    let mut unlimited = definitions.clone();
    unlimited.trending.top = usize::MAX;
    unlimited.charts.iter_mut().for_each(|chart| chart.top = usize::MAX);
    let name = definitions.name(chart);
    let tops = brute_force(&unlimited, plays, clock_us);
    let cells = tops.iter().filter(|((of, _, scope), _)| of == name && scope == "global");
    cells.flat_map(|(_, top)| top).map(|(_, count)| count).sum()
}

fn check(charts: &str, epochs: &[EpochInput], way: &Way) {
    let definitions = Arc::new(Definitions::parse(charts).unwrap());
    let output = run(&definitions, epochs, way, &[]);
    let mut plays = way.counted.clone();
    for (epoch, (clock_us, of_epoch)) in (0..).zip(epochs) {
        plays.extend(of_epoch.iter().cloned());
        let context = format!("epoch {epoch}, {way:?}");
        let expected = brute_force(&definitions, &plays, *clock_us);
        let ranked = at(&output.ranked, epoch);
        assert_eq!(named(&definitions, ranked.clone()), expected, "{context}");

        let inputs = inputs_at(&output, epoch);
        assert_eq!(inputs, inputs_at_once(&definitions, &plays, *clock_us), "{context}");
        for (chart, inputs) in inputs {
            assert_eq!(inputs.plays, counted_once(&definitions, chart, &plays, *clock_us), "{context}");
        }

        let emitted = at(&output.titles, epoch);
        assert!(emitted.values().all(|times| *times == 1), "{context}: emitted twice in {emitted:?}");
        let titles: BTreeMap<String, TrackInfo> = emitted.clone().into_keys().collect();
        assert_eq!(titles.len(), emitted.len(), "{context}: a track with two titles in {emitted:?}");
        let mut listed: BTreeSet<String> = ranked.into_keys().map(|(_, item)| item).collect();
        // With several workers, the tops of a worker have tracks that are not in the merged tops.
        if way.workers.count > 1 {
            listed.extend(titles.keys().cloned());
        }
        let mut expected = brute_force_titles(&plays);
        expected.retain(|id, _| listed.contains(id));
        assert_eq!(titles, expected, "{context}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Another play, or a play that counts in other cells, changes the digest of each chart that
    /// counts it.
    #[test]
    fn digests_tell_other_plays_apart(plays in prop::collection::vec(play(), 1..40), other in play(), at in any::<prop::sample::Index>()) {
        let definitions = Arc::new(Definitions::parse(CHARTS).unwrap());
        let at = at.index(plays.len());
        let mut replaced = plays.clone();
        replaced[at] = other;
        let fewer = [&plays[..at], &plays[at + 1..]].concat();
        let inputs = inputs_at_once(&definitions, &plays, None);
        for others in [replaced, fewer] {
            let mut unlimited = Definitions::clone(&definitions);
            unlimited.charts.iter_mut().for_each(|chart| chart.top = usize::MAX);
            let others_inputs = inputs_at_once(&definitions, &others, None);
            let (tops, others_tops) = (brute_force(&unlimited, &plays, None), brute_force(&unlimited, &others, None));
            for index in 0..definitions.charts.len() as u32 {
                let of = |tops: &Tops| {
                    let cells = tops.clone().into_iter();
                    cells.filter(|((name, _, _), _)| name == definitions.name(index)).collect::<Vec<_>>()
                };
                let same = of(&tops) == of(&others_tops);
                prop_assert_eq!(inputs.get(&index) == others_inputs.get(&index), same, "{}", definitions.name(index));
            }
        }
    }

    #[test]
    fn equal_a_brute_force(
        counted in prop_oneof![Just(Vec::new()), prop::collection::vec(play(), 1..60)],
        epochs in prop::collection::vec(prop::collection::vec(play(), 0..60), 1..6),
        clock_steps_us in prop::collection::vec(prop_oneof![4 => 0..400_000_000i64, 1 => 600_000_000..2_000_000_000i64], 1..6),
        workers in workers(),
        from_lake in any::<bool>(),
        in_turn in any::<bool>(),
    ) {
        let way = Way { workers, from_lake, in_turn, counted, ..Way::PLAIN };
        check(CHARTS, &with_clocks(&epochs, &clock_steps_us), &way);
    }

    /// A source whose clock never moves may have all plays of the window counted in one pane.
    #[test]
    fn a_fixed_window_equals_a_brute_force(
        counted in prop_oneof![Just(Vec::new()), prop::collection::vec(play(), 1..60)],
        epochs in prop::collection::vec(prop::collection::vec(play(), 0..60), 1..4),
        after_monday_us in -600_000_000..3_000_000_000i64,
        trending in prop_oneof![
            Just("scopes = ['global', 'country']"),
            Just("scopes = ['global', 'device']\neligible = 'all'"),
            Just("item = 'artist'\neligible = '30s'"),
        ],
        workers in workers(),
        from_lake in any::<bool>(),
    ) {
        let clock_us = Some(MONDAY_US + after_monday_us);
        let epochs: Vec<EpochInput> = epochs.into_iter().map(|plays| (clock_us, plays)).collect();
        let charts = CHARTS.replace("scopes = [\"global\", \"country\"]\n\n", &format!("{trending}\n\n"));
        assert!(charts.contains(trending));
        check(&charts, &epochs, &Way { workers, from_lake, fixed_window: true, counted, ..Way::PLAIN });
    }

    /// Titles that are read on demand equal those that come with the plays.
    #[test]
    fn late_titles_are_read_on_demand(
        epochs in prop::collection::vec(prop::collection::vec(play(), 0..60), 1..6),
        wanted in prop::collection::btree_set(0u8..14, 0..14),
        workers in workers(),
        in_turn in any::<bool>(),
        fixed_window in any::<bool>(),
    ) {
        let definitions = Arc::new(Definitions::builtin());
        let mut epochs = with_clocks(&epochs, &[100_000_000]);
        if fixed_window {
            epochs.iter_mut().for_each(|(clock_us, _)| *clock_us = Some(MONDAY_US + 900_000_000));
        }
        epochs.push(epochs.last().map(|(clock_us, _)| (*clock_us, Vec::new())).unwrap());
        let last = epochs.len() as u64 - 1;
        let track_ids: Vec<String> = wanted.into_iter().map(|song| format!("S{song:02}")).collect();
        let query = Query { id: 0, kind: QueryKind::Titles { track_ids: track_ids.clone() } };
        let way = Way { workers, from_lake: true, late: true, fixed_window, in_turn, ..Way::PLAIN };
        let late = run(&definitions, &epochs, &way, &[(last, query)]);
        let at_once = run(&definitions, &epochs, &Way { late: false, ..way }, &[]);
        prop_assert_eq!(at(&late.ranked, last), at(&at_once.ranked, last));
        let wanted = |mut titles: BTreeMap<(String, TrackInfo), i64>| {
            titles.retain(|(id, _), _| track_ids.contains(id));
            titles
        };
        prop_assert_eq!(wanted(at(&late.titles, last)), wanted(at(&at_once.titles, last)));
    }
}
