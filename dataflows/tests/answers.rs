//! Answers equal those of a brute force over structs, with the plays up to the epoch of the query,
//! for any order, encoding and number of workers.

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use reprise_dataflows::names::catalogue::TrackInfo;
use reprise_dataflows::query::{Answer, Finding, Query, QueryKind};
use reprise_dataflows::rules::definition::{Cell, Definitions, Scope, ScopeKind, TRENDING};
use reprise_dataflows::time::{Calendar, Period};
use support::graph::{CHARTS, Way, run, with_clocks};
use support::{MONDAY_US, Play, Tops, brute_force, brute_force_titles, play, workers};

const HISTORY_US: i64 = 20 * 60_000_000;
const SLIDE_US: i64 = 60_000_000;
const DAY_US: i64 = 86_400_000_000;

/// The charts with lists of unlimited length.
fn unlimited() -> Definitions {
    let mut definitions = Definitions::parse(CHARTS).unwrap();
    definitions.trending.top = usize::MAX;
    definitions.charts.iter_mut().for_each(|chart| chart.top = usize::MAX);
    definitions
}

fn ever() -> Cell {
    let definitions = unlimited();
    Cell { chart: definitions.index_of("ever").unwrap(), start_day: 0, scope: Scope::Global }
}

fn cells_of_artist() -> Vec<Cell> {
    let definitions = unlimited();
    let cell = |chart, scope| Cell { chart, start_day: 0, scope };
    let artists = definitions.index_of("artists").unwrap();
    let this_year = Period::Year.start((MONDAY_US / DAY_US) as i32, Calendar::default().week_starts);
    let us = Scope::country("US");
    vec![
        ever(),
        cell(TRENDING, Scope::Global),
        cell(TRENDING, us.clone()),
        cell(ever().chart, us),
        Cell { chart: artists, start_day: this_year, scope: Scope::Global },
    ]
}

fn queries(limit: usize) -> Vec<QueryKind> {
    vec![
        QueryKind::Track("S03".to_owned()),
        QueryKind::Track("nobody knows it".to_owned()),
        QueryKind::Search { text: "ARTIST 2".to_owned(), cell: ever(), limit },
        QueryKind::Search { text: "title 1".to_owned(), cell: ever(), limit: 1000 },
        QueryKind::Artist { name: "Artist 2".to_owned(), cells: cells_of_artist(), limit },
        QueryKind::Countries { chart: ever().chart, start_day: 0, track_id: Some("S01".to_owned()) },
        QueryKind::Countries { chart: TRENDING, start_day: 0, track_id: None },
    ]
}

/// The name of a cell in the result of `brute_force`.
fn name(definitions: &Definitions, cell: &Cell) -> (String, String, String) {
    let chart = definitions.chart(cell.chart);
    let period = chart.map_or(String::new(), |chart| chart.period.name(cell.start_day, chart.calendar.week_starts));
    (definitions.name(cell.chart).to_owned(), period, cell.scope.name())
}

fn plays_of(top: Option<&Vec<(String, i64)>>, item: &str) -> i64 {
    let found = top.into_iter().flatten().find(|(other, _)| other == item);
    found.map_or(0, |(_, plays)| *plays)
}

/// Checks that `found` is the complete answer.
fn check(kind: &QueryKind, found: &[Finding], tops: &Tops, titles: &BTreeMap<String, TrackInfo>) {
    match kind {
        QueryKind::Track(id) => check_track(id, found, tops, titles),
        QueryKind::Search { text, cell, limit } => {
            check_search(&text.to_lowercase(), tops.get(&name(&unlimited(), cell)), *limit, found, titles);
        }
        QueryKind::Countries { chart, start_day, track_id } => {
            check_countries((*chart, *start_day), track_id.as_deref(), found, tops);
        }
        QueryKind::Artist { name, cells, limit } => check_artist(name, cells, *limit, found, tops, titles),
        QueryKind::Window { .. } | QueryKind::Titles { .. } => unreachable!("it has a test of its own"),
    }
}

fn check_track(id: &str, found: &[Finding], tops: &Tops, titles: &BTreeMap<String, TrackInfo>) {
    let infos: Vec<&TrackInfo> =
        found.iter().filter_map(|found| if let Finding::TrackInfo(info) = found { Some(info) } else { None }).collect();
    assert_eq!(infos, Vec::from_iter(titles.get(id)));
    let plays = found.iter().filter_map(|found| match found {
        Finding::Plays { cell, plays } => Some((name(&unlimited(), cell), *plays)),
        _ => None,
    });
    let expected = tops.iter().map(|(cell, top)| (cell.clone(), plays_of(Some(top), id)));
    let expected = expected.filter(|((chart, _, _), plays)| *plays > 0 && chart != "artists");
    assert_eq!(BTreeMap::from_iter(plays), BTreeMap::from_iter(expected));
}

fn check_search(
    text: &str,
    top: Option<&Vec<(String, i64)>>,
    limit: usize,
    found: &[Finding],
    titles: &BTreeMap<String, TrackInfo>,
) {
    let holds = |name: &str| name.to_lowercase().contains(text);
    let matching = || titles.iter().filter(|(_, info)| holds(&info.title) || holds(&info.artist));
    let mut expected: Vec<_> = matching().map(|(id, info)| (-plays_of(top, id), id, Some(info))).collect();
    expected.sort();
    expected.truncate(limit);
    let mut best: Vec<_> = found
        .iter()
        .filter_map(|found| match found {
            Finding::Track { track_id, info, plays } => Some((-plays, track_id, info.as_ref())),
            _ => None,
        })
        .collect();
    best.sort();
    best.truncate(limit);
    assert_eq!(best, expected);

    let mut artists = BTreeMap::<&str, (i64, u64)>::new();
    for (id, info) in matching().filter(|(_, info)| holds(&info.artist)) {
        let artist = artists.entry(&info.artist).or_default();
        *artist = (artist.0 + plays_of(top, id), artist.1 + 1);
    }
    let mut sums = BTreeMap::<&str, (i64, u64)>::new();
    for found in found {
        if let Finding::Artist { artist, plays, tracks } = found {
            let sum = sums.entry(artist).or_default();
            *sum = (sum.0 + plays, sum.1 + tracks);
        }
    }
    assert_eq!(sums, artists);
}

/// Expects the sum of the artist's tracks, or the artist's own count in a chart of artists.
fn check_artist(
    artist: &str,
    cells: &[Cell],
    limit: usize,
    found: &[Finding],
    tops: &Tops,
    titles: &BTreeMap<String, TrackInfo>,
) {
    let theirs = || titles.iter().filter(|(_, info)| info.artist == artist).map(|(id, _)| id);
    let mut expected = BTreeMap::new();
    for cell in cells {
        let top = tops.get(&name(&unlimited(), cell));
        let plays = plays_of(top, artist) + theirs().map(|id| plays_of(top, id)).sum::<i64>();
        expected.insert(cell.clone(), plays);
    }
    expected.retain(|_, plays| *plays > 0);
    let (mut sums, mut tracks, mut count) = (BTreeMap::<Cell, i64>::new(), Vec::new(), 0);
    for found in found {
        match found {
            Finding::Plays { cell, plays } => *sums.entry(cell.clone()).or_default() += plays,
            Finding::Track { track_id, plays, .. } => tracks.push((-plays, track_id)),
            Finding::Artist { tracks, .. } => count += tracks,
            _ => {}
        }
    }
    assert_eq!(sums, expected);
    let first = tops.get(&name(&unlimited(), &cells[0]));
    let counted =
        |id: &&String| tops.iter().any(|((chart, _, _), top)| chart != "trending" && plays_of(Some(top), id) > 0);
    let mut best: Vec<_> = theirs().filter(counted).map(|id| (-plays_of(first, id), id)).collect();
    assert_eq!(count, best.len() as u64);
    best.sort();
    best.truncate(limit);
    tracks.sort();
    tracks.truncate(limit);
    assert_eq!(tracks, best);
}

fn check_countries((chart, start_day): (u32, i32), track_id: Option<&str>, found: &[Finding], tops: &Tops) {
    let mut expected = BTreeMap::new();
    for (key, top) in tops {
        let Some(scope) = Scope::parse(&key.2).ok().filter(|scope| scope.kind() == ScopeKind::COUNTRY) else {
            continue;
        };
        let cell = Cell { chart, start_day, scope };
        if name(&unlimited(), &cell) == *key {
            let of_track = track_id.map_or(0, |id| plays_of(Some(top), id));
            expected.insert(cell, (top.iter().map(|(_, plays)| plays).sum::<i64>(), of_track));
        }
    }
    let mut sums = BTreeMap::<Cell, (i64, i64)>::new();
    for found in found {
        if let Finding::Country { cell, plays, of_track } = found {
            let sum = sums.entry(cell.clone()).or_default();
            *sum = (sum.0 + plays, sum.1 + of_track);
        }
    }
    assert_eq!(sums, expected);
}

/// The findings of each query, by its number.
fn by_query(answers: &[Answer]) -> BTreeMap<u64, Vec<Finding>> {
    let mut found = BTreeMap::<u64, Vec<Finding>>::new();
    answers.iter().for_each(|answer| found.entry(answer.id).or_default().push(answer.found.clone()));
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn are_those_of_a_brute_force(
        counted in prop_oneof![Just(Vec::new()), prop::collection::vec(play(), 1..40)],
        epochs in prop::collection::vec(prop::collection::vec(play(), 0..60), 1..6),
        steps_us in prop::collection::vec(0..400_000_000i64, 1..6),
        workers in workers(),
        from_lake in any::<bool>(),
        in_turn in any::<bool>(),
        limit in 1usize..6,
    ) {
        let definitions = Arc::new(Definitions::parse(CHARTS).unwrap());
        let epochs = with_clocks(&epochs, &steps_us);
        let kinds = queries(limit);
        let numbered = |epoch: u64| (0..).zip(kinds.clone()).map(move |(index, kind)| (epoch, Query { id: epoch * 100 + index, kind }));
        let queries: Vec<(u64, Query)> = (0..epochs.len() as u64).flat_map(numbered).collect();
        let way = Way { workers, from_lake, in_turn, counted, ..Way::PLAIN };
        let output = run(&definitions, &epochs, &way, &queries);
        let found = by_query(&output.answers.lock().unwrap());
        let mut plays = way.counted.clone();
        for (epoch, (clock_us, of_epoch)) in (0..).zip(&epochs) {
            plays.extend(of_epoch.iter().cloned());
            let tops = brute_force(&unlimited(), &plays, *clock_us);
            let titles = brute_force_titles(&plays);
            for (_, Query { id, kind }) in queries.iter().filter(|(at, _)| *at == epoch) {
                // If epochs overlap, a track may already have the title of a later epoch.
                let is_by_name = matches!(kind, QueryKind::Search { .. } | QueryKind::Artist { .. } | QueryKind::Track(_));
                if way.in_turn || !is_by_name {
                    check(kind, found.get(id).map_or(&[], Vec::as_slice), &tops, &titles);
                }
            }
        }
    }

    /// A window of the past equals the window at that time, with the late plays added.
    #[test]
    fn past_windows_are_known(
        epochs in prop::collection::vec(prop::collection::vec(play(), 0..60), 1..6),
        steps_us in prop::collection::vec(0..400_000_000i64, 1..6),
        workers in workers(),
        back in 0i64..20,
        country in any::<bool>(),
    ) {
        let mut definitions = Definitions::parse(CHARTS).unwrap();
        definitions.trending.history_us = HISTORY_US;
        let definitions = Arc::new(definitions);
        let mut epochs = with_clocks(&epochs, &steps_us);
        let last = epochs.len() as u64;
        let first_us = epochs.iter().find_map(|(clock_us, _)| *clock_us).unwrap_or(MONDAY_US);
        let now_us = epochs.last().and_then(|(clock_us, _)| *clock_us).unwrap_or(MONDAY_US);
        // The query arrives in an epoch that has plays and new names.
        let newest = epochs.last_mut().map(|(_, plays)| std::mem::take(plays)).unwrap_or_default();
        epochs.push((Some(now_us), newest));
        let end_us = definitions.trending.end_us(now_us) - back * SLIDE_US;
        let scope = if country { Scope::country("US") } else { Scope::Global };
        let kind = QueryKind::Window { end_us, scope: scope.clone(), limit: 1000 };
        let way = Way { workers, ..Way::PLAIN };
        let output = run(&definitions, &epochs, &way, &[(last, Query { id: 7, kind })]);
        let found = by_query(&output.answers.lock().unwrap()).remove(&7).unwrap();
        let known_from = found.iter().filter_map(|found| if let Finding::KnownFrom(us) = found { Some(*us) } else { None });
        let known_from_us = known_from.max().unwrap();
        let start_us = end_us - definitions.trending.window_us;
        let oldest_us = definitions.trending.window(first_us).0.max(definitions.trending.window(now_us).0 - HISTORY_US);
        prop_assert_eq!(known_from_us, oldest_us);
        if start_us < known_from_us {
            return Ok(());
        }
        let plays: Vec<Play> = epochs.iter().flat_map(|(_, plays)| plays.clone()).collect();
        let tops = brute_force(&unlimited(), &plays, Some(end_us - 1));
        let expected = tops.get(&("trending".to_owned(), String::new(), scope.name())).cloned().unwrap_or_default();
        let mut tracks: Vec<(String, i64)> = found.into_iter().filter_map(|found| match found {
            Finding::Track { track_id, plays, .. } => Some((track_id, plays)),
            _ => None,
        }).collect();
        tracks.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        prop_assert_eq!(tracks, expected);
    }
}
