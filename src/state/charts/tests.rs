//! Tests of the public form of a cell, and of folding: differences in any order give the same
//! charts as setting the counts.

use reprise_dataflows::names::catalogue::TrackInfo;
use reprise_dataflows::rank::digest::Inputs;
use reprise_dataflows::rules::definition::Definitions;
use reprise_dataflows::rules::definition::Scope;
use reprise_dataflows::rules::definition::TRENDING;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use reprise_dataflows::rules::definition::Cell;
use reprise_dataflows::time::parse_instant;

use super::*;

const DEFINITIONS: &str = r#"
[trending]
scopes = ["global", "country"]
[[chart]]
name = "weekly"
period = "week"
[[chart]]
name = "artists"
period = "all"
scopes = ["global", "device"]
item = "artist"
"#;

/// Charts of [`DEFINITIONS`] without entries.
pub fn charts() -> Charts {
    Charts::new(Arc::new(Definitions::parse(DEFINITIONS).unwrap()))
}

/// The scope of a country.
pub fn country(name: &str) -> Scope {
    Scope::country(name)
}

/// A track's title and artist.
pub fn info(title: &str, artist: &str) -> TrackInfo {
    TrackInfo { title: title.to_owned(), artist: artist.to_owned() }
}

/// An instant as µs since 1970.
pub fn instant_us(text: &str) -> i64 {
    parse_instant(text).unwrap()
}

/// The first day of 2026-W47.
const WEEK: i32 = 20_773;

fn counted(chart: u32, scope: Scope, start_day: i32, item: &str, plays: i64) -> ((Cell, String), i64) {
    ((Cell { chart, start_day, scope }, item.to_owned()), plays)
}

/// Two weeks, two scopes, trending and an artist chart.
pub fn filled() -> Charts {
    let mut charts = charts();
    let ranked = [
        counted(0, Scope::Global, WEEK, "S1", 5),
        counted(0, Scope::Global, WEEK, "S2", 9),
        counted(0, Scope::Global, WEEK, "S10", 5),
        counted(0, country("US"), WEEK, "S2", 9),
        counted(0, Scope::Global, WEEK - 7, "S1", 1),
        counted(1, Scope::Global, 0, "Anna", 19),
        counted(TRENDING, Scope::Global, 0, "S1", 3),
    ];
    let titles = ["S1", "S2", "S10"].map(|track| ((track.to_owned(), info(&format!("Title {track}"), "Anna")), 1));
    let inputs = [(0, Inputs { plays: 20, digest: 7 })].into();
    charts.apply(Changes { ranked: ranked.into(), titles: titles.into(), inputs });
    let clock_us = Some(instant_us("2026-11-20T14:41:40Z"));
    charts.set_as_of(AsOf { epoch: 1_795_400_000_000, clock_us, lake_version: Some(41), durable: false });
    charts
}

/// The JSON object, field by field, and parsing it gives the same cell.
#[test]
fn a_cell_is_the_object_of_the_contract() {
    let cell = filled().cell(0, &Scope::Global, Some(WEEK), Some(2));
    let json = serde_json::to_string(&cell).unwrap();
    let expected = concat!(
        r#"{"chart":"weekly","period":"2026-W47","start":"2026-11-16T00:00:00Z","end":"2026-11-23T00:00:00Z","#,
        r#""scope":"global","as_of":{"epoch":1795400000000,"clock":"2026-11-20T14:41:40Z","lake_version":41,"#,
        r#""durable":false},"entries":[{"rank":1,"track_id":"S2","title":"Title S2","artist":"Anna","plays":9},"#,
        r#"{"rank":2,"track_id":"S1","title":"Title S1","artist":"Anna","plays":5}]}"#,
    );
    assert_eq!(json, expected);
    assert_eq!(serde_json::from_str::<ChartCell>(&json).unwrap(), cell);
}

/// A period of all time has neither start nor end, and an artist neither id nor title.
#[test]
fn an_artist_cell_has_no_tracks() {
    let cell = filled().cell(1, &Scope::Global, Some(0), None);
    let json = serde_json::to_value(&cell).unwrap();
    assert_eq!(json["period"], "all");
    assert_eq!((&json["start"], &json["end"]), (&serde_json::Value::Null, &serde_json::Value::Null));
    assert_eq!(json["entries"], serde_json::json!([{"rank": 1, "artist": "Anna", "plays": 19}]));
    assert_eq!(serde_json::from_value::<ChartCell>(json).unwrap(), cell);
}

#[test]
fn trending_is_where_the_clock_is() {
    let mut charts = filled();
    let cell = charts.cell(TRENDING, &Scope::Global, Some(0), None);
    assert_eq!(cell.period, "2026-11-20T14:32:00Z/2026-11-20T14:42:00Z");
    assert_eq!(cell.start_us, Some(instant_us("2026-11-20T14:32:00Z")));
    assert_eq!(cell.end_us, Some(instant_us("2026-11-20T14:42:00Z")));
    charts.set_as_of(AsOf::default());
    let cell = charts.cell(TRENDING, &Scope::Global, Some(0), None);
    assert_eq!((cell.period.as_str(), cell.start_us, cell.end_us), ("../..", None, None));
}

#[test]
fn cells_are_found_by_each_part_of_their_name() {
    let charts = filled();
    let names = |filter: Filter| {
        let cells = charts.cells(&filter).into_iter();
        cells.map(|cell| format!("{} {} {}", cell.chart, cell.period, cell.scope)).collect::<Vec<_>>()
    };
    let all = Filter::default();
    let trending = "trending 2026-11-20T14:32:00Z/2026-11-20T14:42:00Z global";
    let every =
        ["artists all global", trending, "weekly 2026-W46 global", "weekly 2026-W47 US", "weekly 2026-W47 global"];
    assert_eq!(names(all.clone()), every);
    assert_eq!(names(Filter { chart: Some("weekly".into()), ..all.clone() }), &every[2..]);
    assert_eq!(names(Filter { scope: Some(country("US")), ..all.clone() }), [every[3]]);
    assert_eq!(names(Filter { period: Some("2026-W47".into()), ..all.clone() }), &every[3..]);
    assert_eq!(names(Filter { period: Some("all".into()), ..all.clone() }), [every[0]]);
    let window = trending.split(' ').nth(1).map(str::to_owned);
    assert_eq!(names(Filter { period: window, ..all.clone() }), [trending]);
    let one =
        Filter { chart: Some("weekly".into()), scope: Some(Scope::Global), period: Some("2026-W46".into()), ..all };
    assert_eq!(names(one.clone()), [every[2]]);
    assert!(names(Filter { period: Some("2026-W45".into()), ..one.clone() }).is_empty());
    assert!(names(Filter { period: Some("nonsense".into()), ..one.clone() }).is_empty());
    assert!(names(Filter { chart: Some("nonsense".into()), ..one }).is_empty());
}

#[test]
fn the_newest_period_is_that_of_the_scope_and_has_begun() {
    let mut charts = filled();
    let ahead = [Scope::Global, country("FR")].map(|scope| counted(0, scope, WEEK + 7, "S1", 1));
    charts.apply(Changes { ranked: ahead.into(), ..Changes::default() });
    assert_eq!(charts.newest(0, Some(&Scope::Global)), Some(WEEK));
    assert_eq!(charts.newest(0, None), Some(WEEK));
    assert_eq!(charts.newest(0, Some(&country("FR"))), Some(WEEK + 7), "there is no other");
    assert_eq!(charts.current(0), Some(WEEK));
    charts.set_as_of(AsOf { clock_us: Some(i64::from(WEEK + 7) * 86_400_000_000), ..charts.as_of() });
    assert_eq!(charts.newest(0, Some(&Scope::Global)), Some(WEEK + 7));
    assert_eq!(charts.newest(0, Some(&country("US"))), Some(WEEK));
    assert_eq!(charts.newest(0, Some(&country("DE"))), None);
    assert_eq!(charts.newest(0, None), Some(WEEK + 7));
}

#[test]
fn the_overview_names_periods_and_scopes_with_entries() {
    let overview = serde_json::to_value(filled().overview(&Page::default()).0).unwrap();
    let window = "2026-11-20T14:32:00Z/2026-11-20T14:42:00Z";
    let expected = serde_json::json!([
        {"name": "trending", "window_ms": 600_000, "slide_ms": 60_000, "scopes": ["global", "country"], "item": "track",
         "measure": "plays", "eligible": "completed", "top": 50,
         "with_entries": {"periods": [window], "newest": window, "scopes": ["global"]}},
        {"name": "weekly", "period": "week", "scopes": ["global", "country"], "item": "track", "measure": "plays",
         "eligible": "completed", "top": 100,
         "with_entries": {"periods": ["2026-W46", "2026-W47"], "newest": "2026-W47", "scopes": ["global", "US"]}},
        {"name": "artists", "period": "all", "scopes": ["global", "device"], "item": "artist", "measure": "plays",
         "eligible": "completed", "top": 100, "with_entries": {"periods": ["all"], "newest": "all", "scopes": ["global"]}},
    ]);
    assert_eq!(overview, expected);
}

/// A simple model of the lists: counts and titles are set, epoch by epoch.
#[derive(Default)]
struct Oracle {
    counts: BTreeMap<(i32, &'static str), BTreeMap<String, i64>>,
    titles: BTreeMap<String, TrackInfo>,
}

impl Oracle {
    fn entries(&self, start_day: i32, scope: &'static str) -> Vec<(String, i64, String)> {
        let counts = self.counts.get(&(start_day, scope)).into_iter().flatten();
        let mut entries: Vec<_> = counts.filter(|(_, plays)| **plays > 0).collect();
        entries.sort_by_key(|(item, plays)| (Reverse(**plays), (*item).clone()));
        entries.into_iter().map(|(item, plays)| (item.clone(), *plays, self.titles[item].title.clone())).collect()
    }
}

/// What one epoch sets: (day, in the US, track, plays) and (track, title).
type Epoch = (Vec<(i32, bool, u8, i64)>, Vec<(u8, u8)>);

fn epochs() -> impl Strategy<Value = Vec<Epoch>> {
    let counts = prop::collection::vec((0..3, any::<bool>(), 0..12_u8, 0..4_i64), 0..12);
    let titles = prop::collection::vec((0..12_u8, 0..3_u8), 0..6);
    prop::collection::vec((counts, titles), 1..8)
}

fn scope_of(us: bool) -> (&'static str, Scope) {
    if us { ("US", country("US")) } else { ("global", Scope::Global) }
}

/// Sets `value`, and returns the change as differences.
fn replace<K: Clone + Ord, V: Clone + PartialEq>(map: &mut BTreeMap<K, V>, key: K, value: V) -> Vec<((K, V), i64)> {
    let old = map.insert(key.clone(), value.clone());
    let retracted = old.map(|old| ((key.clone(), old), -1));
    retracted.into_iter().chain([((key, value), 1)]).collect()
}

proptest! {
    /// Whatever the order of the differences within an epoch, the lists equal the oracle's after
    /// it.
    #[test]
    fn folding_differences_equals_setting(epochs in epochs(), seed in any::<u64>()) {
        let mut oracle = Oracle::default();
        let mut charts = charts();
        for (counts, titles) in epochs {
            let (mut ranked, mut renamed) = (Vec::new(), Vec::new());
            let first = (0..12).map(|track| (track, 9)).filter(|_| oracle.titles.is_empty());
            for (track, title) in first.chain(titles).collect::<Vec<_>>() {
                renamed.extend(replace(&mut oracle.titles, format!("S{track}"), info(&format!("T{title}"), "A")));
                // A title that is added and removed again must not count, first or last.
                let detour = (format!("S{track}"), info("detour", "B"));
                renamed.extend([(detour.clone(), 1), (detour, -1)]);
            }
            for (day, us, track, plays) in counts {
                let (name, scope) = scope_of(us);
                let count = oracle.counts.entry((day * 7, name)).or_default().entry(format!("S{track}")).or_default();
                ranked.push(counted(0, scope.clone(), day * 7, &format!("S{track}"), plays + 1));
                ranked.push(counted(0, scope, day * 7, &format!("S{track}"), -1 - *count));
                *count = plays;
            }
            ranked.sort_by_key(|update| shuffled(seed, update));
            renamed.sort_by_key(|update| shuffled(seed, update));
            charts.apply(Changes { ranked, titles: renamed, ..Changes::default() });

            for (day, us) in (0..3).flat_map(|day| [(day, false), (day, true)]) {
                let (name, scope) = scope_of(us);
                let cell = charts.cell(0, &scope, Some(day * 7), None);
                prop_assert!(cell.entries.iter().zip(1..).all(|(entry, rank)| entry.rank == rank));
                let entries = cell.entries.into_iter();
                let found: Vec<_> = entries.map(|e| (e.track_id.unwrap(), e.plays, e.title.unwrap())).collect();
                prop_assert_eq!(found, oracle.entries(day * 7, name));
            }
            prop_assert!(charts.tops.values().all(|top| top.values().all(|plays| *plays > 0)));
            prop_assert!(charts.cells(&Filter::default()).iter().all(|cell| !cell.entries.is_empty()));
        }
    }
}

fn shuffled(seed: u64, update: &impl std::hash::Hash) -> u64 {
    use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
    BuildHasherDefault::<DefaultHasher>::default().hash_one((seed, update))
}
