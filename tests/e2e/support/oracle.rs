//! The charts by brute force: every play is counted individually, in nested maps, with `jiff` for
//! the dates.
//!
//! It shares no code with the program, and follows the documentation of the rules rather than the
//! source.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ToSpan};
use serde_json::{Value, json};

use super::plays::Play;

/// The definition of a chart; the fields are those of `charts.toml`.
#[derive(Clone)]
pub struct Chart {
    pub name: &'static str,
    pub period: Period,
    pub zone: &'static str,
    pub week_starts: Weekday,
    pub scopes: &'static [Scope],
    pub item: Item,
    /// Whether a play counts.
    pub eligible: fn(&Play) -> bool,
    pub top: usize,
}

/// What a list of a chart covers.
#[derive(Clone, Copy, PartialEq)]
pub enum Period {
    /// The trending window; lengths in seconds.
    Window {
        length_s: i64,
        slide_s: i64,
    },
    Day,
    Week,
    Month,
    Year,
    All,
}

/// Which plays a list counts.
#[derive(Clone, Copy, PartialEq)]
pub enum Scope {
    Global,
    Country,
    Device,
}

/// What a list ranks.
#[derive(Clone, Copy, PartialEq)]
pub enum Item {
    Track,
    Artist,
}

/// `eligible = "completed"`, the default.
pub fn completed(play: &Play) -> bool {
    play.completed
}

/// `eligible = "all"`.
pub fn all(_: &Play) -> bool {
    true
}

/// `eligible = "30s"`: by the play's `listened_ms`, or without it by `completed`, which means that
/// seven tenths of the duration were played.
pub fn listened_30s(play: &Play) -> bool {
    match play.listened_ms {
        Some(listened_ms) => listened_ms >= 30_000,
        None => play.completed && play.duration_ms * 7 >= 300_000,
    }
}

/// The key of a cell: chart, period with its bounds, and scope.
type CellKey = (&'static str, Interval, String);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Interval {
    name: String,
    start: Option<Timestamp>,
    end: Option<Timestamp>,
}

/// All cells of `charts` over `plays`, in the order and with the fields of `--format json`, without
/// `as_of`. Without a clock there is no trending window.
pub fn cells(plays: &[Play], charts: &[Chart], clock: Option<Timestamp>) -> Vec<Value> {
    let mut counts: HashMap<CellKey, HashMap<&str, u64>> = HashMap::new();
    for chart in charts {
        let mut intervals = Intervals::new(chart, clock);
        for play in plays.iter().filter(|play| (chart.eligible)(play)) {
            let Some(interval) = intervals.of(play.time) else { continue };
            let item = if chart.item == Item::Track { &play.song_id } else { &play.artist };
            for scope in chart.scopes {
                let key = (chart.name, interval.clone(), scope_name(*scope, play));
                *counts.entry(key).or_default().entry(item).or_default() += 1;
            }
        }
    }
    let titles = titles(plays);
    let chart = |name| charts.iter().find(|chart| chart.name == name).expect("a chart that was counted");
    let mut cells: Vec<(CellKey, HashMap<&str, u64>)> = counts.into_iter().collect();
    cells.sort_by(|((a, at, of), _), ((b, bt, bf), _)| (a, &at.name, of).cmp(&(b, &bt.name, bf)));
    cells.into_iter().map(|(key, counts)| cell(chart(key.0), key, counts, &titles)).collect()
}

/// The title and artist of each song: those with the latest UTC date, and among these the greatest.
fn titles(plays: &[Play]) -> HashMap<&str, (&str, &str)> {
    let mut titles: HashMap<&str, (Date, &str, &str)> = HashMap::new();
    for play in plays {
        let date = play.time.to_zoned(TimeZone::UTC).date();
        let known = titles.entry(&play.song_id).or_insert((date, &play.title, &play.artist));
        *known = (*known).max((date, &play.title, &play.artist));
    }
    titles.into_iter().map(|(song, (_, title, artist))| (song, (title, artist))).collect()
}

fn cell(
    chart: &Chart,
    (name, interval, scope): CellKey,
    counts: HashMap<&str, u64>,
    titles: &HashMap<&str, (&str, &str)>,
) -> Value {
    let mut counts: Vec<(&str, u64)> = counts.into_iter().collect();
    counts.sort_by_key(|(item, plays)| (Reverse(*plays), *item));
    let entry = |(rank, (item, plays)): (usize, (&str, u64))| match chart.item {
        Item::Artist => json!({"rank": rank, "artist": item, "plays": plays}),
        Item::Track => {
            let (title, artist) = titles[item];
            json!({"rank": rank, "track_id": item, "title": title, "artist": artist, "plays": plays})
        }
    };
    let entries: Vec<Value> = (1..).zip(counts.into_iter().take(chart.top)).map(entry).collect();
    let instant = |instant: Option<Timestamp>| instant.map(|instant| instant.to_string());
    json!({"chart": name, "period": interval.name, "start": instant(interval.start), "end": instant(interval.end),
        "scope": scope, "entries": entries})
}

fn scope_name(scope: Scope, play: &Play) -> String {
    match scope {
        Scope::Global => "global".to_owned(),
        // A country that could be mistaken for another scope gets a prefix.
        Scope::Country if play.country.is_empty() || play.country == "global" || play.country.contains(':') => {
            format!("country:{}", play.country)
        }
        Scope::Country => play.country.clone(),
        Scope::Device => format!("device:{}", play.device),
    }
}

/// Maps a time to its period in a chart.
struct Intervals<'a> {
    chart: &'a Chart,
    zone: TimeZone,
    window: Option<Interval>,
    /// Cache of the periods by date.
    known: BTreeMap<Date, Interval>,
}

impl<'a> Intervals<'a> {
    fn new(chart: &'a Chart, clock: Option<Timestamp>) -> Self {
        let zone = TimeZone::get(chart.zone).expect("a time zone of the database");
        let window = match (chart.period, clock) {
            (Period::Window { length_s, slide_s }, Some(clock)) => Some(window(clock, length_s, slide_s)),
            _ => None,
        };
        Self { chart, zone, window, known: BTreeMap::new() }
    }

    fn of(&mut self, time: Timestamp) -> Option<Interval> {
        if let Period::Window { .. } = self.chart.period {
            let within = |window: &&Interval| window.start <= Some(time) && Some(time) < window.end;
            return self.window.as_ref().filter(within).cloned();
        }
        let date = time.to_zoned(self.zone.clone()).date();
        let interval = self.known.entry(date).or_insert_with(|| calendar(self.chart, date, &self.zone));
        Some(interval.clone())
    }
}

/// The window that ends at the first slide boundary after the clock.
fn window(clock: Timestamp, length_s: i64, slide_s: i64) -> Interval {
    let end_s = (clock.as_second().div_euclid(slide_s) + 1) * slide_s;
    let at = |second| Timestamp::from_second(second).expect("a time in range");
    let (start, end) = (at(end_s - length_s), at(end_s));
    Interval { name: format!("{start}/{end}"), start: Some(start), end: Some(end) }
}

fn calendar(chart: &Chart, date: Date, zone: &TimeZone) -> Interval {
    let (name, first, length): (String, Date, Span) = match chart.period {
        Period::Day => (date.to_string(), date, 1.day()),
        Period::Week => {
            let first = date - i32::from(date.weekday().since(chart.week_starts)).days();
            let fourth = (first + 3.days()).iso_week_date();
            (format!("{}-W{:02}", fourth.year(), fourth.week()), first, 7.days())
        }
        Period::Month => (date.strftime("%Y-%m").to_string(), date.first_of_month(), 1.month()),
        Period::Year => (date.year().to_string(), date.first_of_year(), 1.year()),
        Period::All | Period::Window { .. } => return Interval { name: "all".to_owned(), start: None, end: None },
    };
    let midnight = |date: Date| date.to_zoned(zone.clone()).expect("a day has a beginning").timestamp();
    Interval { name, start: Some(midnight(first)), end: Some(midnight(first + length)) }
}

/// The program's output: the cells without `as_of`, and the `as_of` that all of them share.
pub struct Printed {
    /// The lines as printed, without `as_of`.
    pub lines: Vec<String>,
    /// Null if nothing was printed.
    pub as_of: Value,
}

impl Printed {
    /// Parses the output of `--format json`. Fails unless all lines have the same `as_of`.
    #[track_caller]
    pub fn parse(text: &str) -> Self {
        let split = |line: &str| {
            let (before, rest) = line.split_once("\"as_of\":").unwrap_or_else(|| panic!("no as_of: {line}"));
            let end = rest.find('}').unwrap_or_else(|| panic!("no end of as_of: {line}")) + 1;
            let as_of: Value = serde_json::from_str(&rest[..end]).expect("as_of is an object");
            (format!("{before}{}", &rest[end + 1..]), as_of)
        };
        let (lines, mut as_of): (Vec<String>, Vec<Value>) = text.lines().map(split).unzip();
        as_of.dedup();
        assert!(as_of.len() <= 1, "one answer has several as_of: {as_of:?}");
        Self { lines, as_of: as_of.pop().unwrap_or_default() }
    }

    /// The time of the trending window.
    pub fn clock(&self) -> Option<Timestamp> {
        Some(self.as_of["clock"].as_str()?.parse().expect("the clock is an instant"))
    }

    /// Fails unless the cells equal the brute force at the printed clock.
    #[track_caller]
    pub fn assert_equals(&self, plays: &[Play], charts: &[Chart]) {
        let found = self.lines.iter().map(|line| serde_json::from_str(line).expect("a line is an object"));
        assert_same(&cells(plays, charts, self.clock()), &found.collect::<Vec<Value>>());
    }
}

/// Fails unless the cells are equal, and shows the first that differs.
#[track_caller]
pub fn assert_same(expected: &[Value], found: &[Value]) {
    let key = |cell: &Value| format!("{} {} {}", cell["chart"], cell["period"], cell["scope"]);
    for (expected, found) in expected.iter().zip(found) {
        assert_eq!(key(found), key(expected), "the next cell");
        for (expected, found) in entries(expected).iter().zip(entries(found)) {
            assert_eq!(found, expected, "{}", key(expected));
        }
        assert_eq!(found, expected);
    }
    let more = |cells: &[Value], than: &[Value]| cells.iter().skip(than.len()).map(key).collect::<Vec<_>>();
    assert_eq!((more(found, expected), more(expected, found)), (vec![], vec![]), "cells too many, and too few");
}

fn entries(cell: &Value) -> &[Value] {
    cell["entries"].as_array().map_or(&[], Vec::as_slice)
}
