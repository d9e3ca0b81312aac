//! Runs a dataflow over given input on several workers; generates plays, and counts them by brute
//! force.
#![allow(dead_code, reason = "each test binary uses a part of it")]

pub mod graph;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use arrow::array::{ArrayRef, BooleanArray, Int32Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema};
use differential_dataflow::VecCollection;
use differential_dataflow::consolidation::consolidate_updates;
use proptest::prelude::*;
use reprise_dataflows::keys::dimension::NONE;
use reprise_dataflows::keys::label::Label;
use reprise_dataflows::names::catalogue::TrackInfo;
use reprise_dataflows::play::{DAY_US, LateTitles, PlayBatch};
use reprise_dataflows::rules::definition::{Cell, Definitions, Eligible, ItemKind, Measure, Scope, ScopeKind};
use timely::dataflow::ProbeHandle;
use timely::dataflow::operators::{Inspect, Probe};
use timely::{CommunicationConfig, Config, WorkerConfig};

/// The number of workers, and whether they exchange bytes, as between processes.
#[derive(Clone, Copy, Debug)]
pub struct Workers {
    pub count: usize,
    pub as_bytes: bool,
}

impl Workers {
    pub const ONE: Self = Self { count: 1, as_bytes: false };

    pub fn config(self) -> Config {
        let communication = match self.as_bytes {
            true => CommunicationConfig::ProcessBinary(self.count),
            false => CommunicationConfig::Process(self.count),
        };
        Config { communication, worker: WorkerConfig::default() }
    }
}

/// Up to three workers. A single worker never exchanges bytes: timely would deliver its input
/// twice, and no cluster is that small.
pub fn workers() -> impl Strategy<Value = Workers> {
    (1usize..=3, any::<bool>()).prop_map(|(count, as_bytes)| Workers { count, as_bytes: as_bytes && count > 1 })
}

/// Updates that workers have emitted.
pub type Captured<D> = Arc<Mutex<Vec<(D, u64, i64)>>>;

/// Writes the updates of `collection` to `into`, and reports its progress to `probe`.
pub fn capture<D: Clone + Send + 'static>(
    collection: VecCollection<'_, u64, D, i64>,
    into: &Captured<D>,
    probe: &ProbeHandle<u64>,
) {
    let into = into.clone();
    collection.inner.inspect(move |update| into.lock().unwrap().push(update.clone())).probe_with(probe);
}

/// The content of a collection at the end of `epoch`.
pub fn at<D: Ord + Clone>(captured: &Captured<D>, epoch: u64) -> BTreeMap<D, i64> {
    let mut updates = captured.lock().unwrap().clone();
    updates.retain(|(_, time, _)| *time <= epoch);
    updates.iter_mut().for_each(|update| update.1 = 0);
    consolidate_updates(&mut updates);
    updates.into_iter().map(|(data, _, diff)| (data, diff)).collect()
}

/// A play, as a struct.
#[derive(Clone, Debug)]
pub struct Play {
    /// 0 is no user.
    pub user: u8,
    pub song: u8,
    pub title: u8,
    pub artist: u8,
    pub timestamp_us: i64,
    pub duration_ms: i32,
    pub completed: bool,
    pub listened_ms: Option<i32>,
    pub country: String,
    pub device: String,
    pub city: Option<String>,
    pub album: Option<String>,
}

impl Play {
    pub fn id(&self) -> String {
        format!("S{:02}", self.song)
    }

    pub fn title(&self) -> String {
        format!("Title {}", self.title)
    }

    pub fn artist(&self) -> String {
        format!("Artist {}", self.artist)
    }

    /// Its value in a column of texts.
    fn text(&self, column: &str) -> Option<String> {
        match column {
            "song_id" => Some(self.id()),
            "user_id" => Some(if self.user == 0 { String::new() } else { format!("U{}", self.user) }),
            "title" => Some(self.title()),
            "artist" => Some(self.artist()),
            "country" => Some(self.country.clone()),
            "device" => Some(self.device.clone()),
            "city" => self.city.clone(),
            "album" => self.album.clone(),
            _ => panic!("the plays of the tests have no column {column}"),
        }
    }
}

/// Midnight of Monday, 2026-11-16.
pub const MONDAY_US: i64 = 20_773 * DAY_US;

/// Plays of few songs, for many ties; some are minutes apart, some weeks.
pub fn play() -> impl Strategy<Value = Play> {
    let minute = (0..30i64).prop_map(|minute| 60_000_000 * minute);
    let offset_us = prop_oneof![3 => 0..1_800_000_000i64, 1 => minute, 1 => -30 * DAY_US..3 * DAY_US];
    let country = prop_oneof![Just("US"), Just("JP"), Just(""), Just("global"), Just("a country of many letters")];
    let device = prop_oneof![Just("mobile"), Just("desktop"), Just("US")];
    let city = prop::option::of(prop_oneof![Just("Lisbon"), Just(""), Just("a city of many letters")]);
    let album = prop::option::of(0u8..4);
    let heard = (1i32..90_000, any::<bool>(), prop::option::of(0i32..90_000));
    ((0u8..5, 0u8..12), 0u8..3, 0u8..4, offset_us, heard, country, device, city, album).prop_map(
        |(
            (user, song),
            title,
            artist,
            offset_us,
            (duration_ms, completed, listened_ms),
            country,
            device,
            city,
            album,
        )| Play {
            user,
            song,
            title,
            artist,
            timestamp_us: MONDAY_US + offset_us,
            duration_ms,
            completed,
            listened_ms,
            country: country.to_owned(),
            device: device.to_owned(),
            city: city.map(str::to_owned),
            album: album.map(|album| format!("Album {album}")),
        },
    )
}

/// Plays as one batch from Kafka, or as batches from the lake: a day each, texts as dictionaries.
pub fn batches(plays: &[Play], from_lake: bool) -> Vec<PlayBatch> {
    if !from_lake {
        return vec![PlayBatch::new(columns(plays, false), None)];
    }
    let mut days = BTreeMap::<i64, Vec<Play>>::new();
    for play in plays {
        days.entry(play.timestamp_us.div_euclid(DAY_US)).or_default().push(play.clone());
    }
    days.into_iter().map(|(day, plays)| PlayBatch::new(columns(&plays, true), Some(day as i32))).collect()
}

/// Batches from the lake, a day each, whose titles are read on demand.
pub fn late_batches(plays: &[Play]) -> Vec<PlayBatch> {
    let late = |batch: PlayBatch| {
        let mut columns = batch.columns().clone();
        for name in ["title", "artist"] {
            columns.remove_column(columns.schema().index_of(name).unwrap());
        }
        let day = batch.day();
        let of_day = plays.iter().filter(|play| day == Some(play.timestamp_us.div_euclid(DAY_US) as i32));
        PlayBatch::new(columns, day).with_late_titles(Arc::new(Late(of_day.cloned().collect())))
    };
    batches(plays, true).into_iter().map(late).collect()
}

#[derive(Debug)]
struct Late(Vec<Play>);

impl LateTitles for Late {
    fn each(&self, wanted: &dyn Fn(&str) -> bool, visit: &mut dyn FnMut(&str, &str, &str)) {
        for play in self.0.iter().filter(|play| wanted(&play.id())) {
            visit(&play.id(), &play.title(), &play.artist());
        }
    }
}

fn columns(plays: &[Play], dictionaries: bool) -> RecordBatch {
    let texts = |column: &str| -> ArrayRef {
        let plain: ArrayRef = Arc::new(StringArray::from_iter(plays.iter().map(|play| play.text(column))));
        let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        if dictionaries { cast(&plain, &dictionary).unwrap() } else { plain }
    };
    let timestamps = plays.iter().map(|play| play.timestamp_us);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("song_id", texts("song_id")),
        ("title", texts("title")),
        ("artist", texts("artist")),
        ("timestamp", Arc::new(TimestampMicrosecondArray::from_iter_values(timestamps).with_timezone("UTC"))),
        ("duration_ms", Arc::new(Int32Array::from_iter_values(plays.iter().map(|play| play.duration_ms)))),
        ("completed", Arc::new(BooleanArray::from_iter(plays.iter().map(|play| Some(play.completed))))),
        ("listened_ms", Arc::new(Int32Array::from_iter(plays.iter().map(|play| play.listened_ms)))),
        ("country", texts("country")),
        ("device", texts("device")),
        ("city", texts("city")),
        ("album", texts("album")),
        ("user_id", texts("user_id")),
    ];
    let fields: Vec<Field> =
        columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.into_iter().map(|(_, array)| array).collect()).unwrap()
}

/// The list of each cell, as (item, count), by (chart, period, scope).
pub type Tops = BTreeMap<(String, String, String), Vec<(String, i64)>>;

/// The charts of `plays` at the clock `clock_us`: their definition, by brute force.
pub fn brute_force(definitions: &Definitions, plays: &[Play], clock_us: Option<i64>) -> Tops {
    let mut tops = Tops::new();
    for chart in &definitions.charts {
        let mut cells = BTreeMap::new();
        for play in plays.iter().filter(|play| counts(chart.eligible, play)) {
            let moment = jiff::Timestamp::from_microsecond(play.timestamp_us).unwrap();
            let zone = chart.calendar.zone.clone().unwrap_or(jiff::tz::TimeZone::UTC);
            let date = moment.to_zoned(zone).date();
            let day = (date - jiff::civil::date(1970, 1, 1)).get_days();
            let weeks = chart.calendar.week_starts;
            let period = chart.period.name(chart.period.start(day, weeks), weeks);
            count(&mut cells, &chart.name, &period, &chart.scopes, chart.item, play);
        }
        tops.extend(cells.into_iter().map(|(cell, counts)| (cell, top(measured(chart.measure, counts), chart.top))));
    }
    if let Some(clock_us) = clock_us {
        let trending = &definitions.trending;
        let end_us = (clock_us.div_euclid(trending.slide_us) + 1) * trending.slide_us;
        let window = end_us - trending.window_us..end_us;
        let mut cells = BTreeMap::new();
        for play in plays.iter().filter(|play| counts(trending.eligible, play) && window.contains(&play.timestamp_us)) {
            count(&mut cells, "trending", "", &trending.scopes, trending.item, play);
        }
        tops.extend(cells.into_iter().map(|(cell, users)| (cell, top(measured(Measure::Plays, users), trending.top))));
    }
    // A cell of which nobody is known has no list.
    tops.retain(|_, top| !top.is_empty());
    tops
}

/// For each cell and item, the user of each play.
type Cells = BTreeMap<(String, String, String), BTreeMap<String, Vec<u8>>>;

/// What a chart ranks each item by, given the users of its plays.
fn measured(measure: Measure, users: BTreeMap<String, Vec<u8>>) -> BTreeMap<String, i64> {
    let count = |users: Vec<u8>| match measure {
        Measure::Plays => users.len(),
        Measure::Listeners => users.into_iter().filter(|user| *user != 0).collect::<BTreeSet<u8>>().len(),
    };
    users.into_iter().map(|(item, users)| (item, count(users) as i64)).collect()
}

fn count(cells: &mut Cells, chart: &str, period: &str, scopes: &[ScopeKind], item: ItemKind, play: &Play) {
    for scope in scopes {
        let scope = match scope {
            ScopeKind::Global => Scope::Global,
            ScopeKind::By(dimension) => {
                let text = play.text(dimension.column()).unwrap_or_else(|| NONE.to_owned());
                Scope::Of(*dimension, Label::new(&text))
            }
        };
        let Some(item) = play.text(item.column()) else { continue };
        let cell = (chart.to_owned(), period.to_owned(), scope.name());
        cells.entry(cell).or_default().entry(item).or_default().push(play.user);
    }
}

fn counts(eligible: Eligible, play: &Play) -> bool {
    match eligible {
        Eligible::All => true,
        Eligible::Completed => play.completed,
        Eligible::ListenedMs(ms) => match play.listened_ms {
            Some(listened_ms) => listened_ms >= ms,
            None => play.completed && i64::from(play.duration_ms) * 7 >= i64::from(ms) * 10,
        },
    }
}

/// The lists of `ranked`, by the names of their cells.
pub fn named(definitions: &Definitions, ranked: BTreeMap<(Cell, String), i64>) -> Tops {
    let mut cells = BTreeMap::<_, BTreeMap<String, i64>>::new();
    for ((cell, item), count) in ranked {
        let chart = definitions.chart(cell.chart);
        let period = chart.map_or(String::new(), |chart| chart.period.name(cell.start_day, chart.calendar.week_starts));
        let cell = (definitions.name(cell.chart).to_owned(), period, cell.scope.name());
        cells.entry(cell).or_default().insert(item, count);
    }
    cells.into_iter().map(|(cell, counts)| (cell, top(counts, usize::MAX))).collect()
}

/// The `k` greatest counts; ties go to the lesser item.
pub fn top<I: Ord>(counts: BTreeMap<I, i64>, k: usize) -> Vec<(I, i64)> {
    let mut top: Vec<(I, i64)> = counts.into_iter().filter(|(_, count)| *count > 0).collect();
    top.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    top.truncate(k);
    top
}

/// The title and artist of each track: those of the latest UTC day, of that day the greatest.
pub fn brute_force_titles(plays: &[Play]) -> BTreeMap<String, TrackInfo> {
    let mut titles = BTreeMap::<String, (i64, String, String)>::new();
    for play in plays {
        let info = (play.timestamp_us.div_euclid(86_400_000_000), play.title(), play.artist());
        let known = titles.entry(play.id()).or_insert_with(|| info.clone());
        *known = info.max(known.clone());
    }
    titles.into_iter().map(|(id, (_, title, artist))| (id, TrackInfo { title, artist })).collect()
}
