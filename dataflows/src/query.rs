//! Queries that no top answers: about any track or artist, the countries of a chart, or a window of
//! the past.
//!
//! A [`Query`] enters with an epoch, as plays do, and reaches every worker. Each worker answers for
//! the items that it owns, from its counts at the end of that epoch: all [`Answer`]s to a query
//! refer to the same plays, and the client adds them up. Queries need no index, and cost nothing
//! until they are made.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::keys::item::ItemKey;
use crate::names::catalogue::{Names, TrackInfo};
use crate::rank::Counted;
use crate::rules::definition::{Cell, ItemKind, Scope, ScopeKind, TRENDING};

/// The most artists that one worker returns for a search.
pub const ARTISTS_MAX: usize = 1000;

/// The most tracks of an artist whose plays one worker adds up: those that were played most.
pub const ARTIST_TRACKS_MAX: usize = 20_000;

/// A query and the number that its answers carry.
///
/// ```
/// # use std::sync::Arc;
/// # use arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringArray};
/// # use reprise_dataflows::play::PlayBatch;
/// use reprise_dataflows::query::{Finding, Query, QueryKind};
/// # use reprise_dataflows::rules::definition::Definitions;
/// # use reprise_dataflows::{Tallied, build};
/// # use timely::dataflow::operators::capture::{Capture, Extract};
/// # use timely::dataflow::operators::vec::{Map, ToStream};
/// # let texts = |texts: [&str; 3]| Arc::new(StringArray::from(texts.to_vec())) as ArrayRef;
/// # let columns = RecordBatch::try_from_iter([
/// #     ("song_id", texts(["S1", "S2", "S1"])),
/// #     ("title", texts(["Moon", "Rain", "Moon"])),
/// #     ("artist", texts(["Ana", "Bo", "Ana"])),
/// #     ("completed", Arc::new(BooleanArray::from(vec![true; 3])) as ArrayRef),
/// # ])?;
/// # let plays = PlayBatch::new(columns, Some(20_773));
/// // A chart that lists a single track: S1, which has two plays. S2 has one.
/// let chart = "[[chart]]\nname = 'ever'\nperiod = 'all'\nscopes = ['global']\ntop = 1";
/// let definitions = Arc::new(Definitions::parse(chart)?);
///
/// // The chart does not know S2, but the workers have counted it.
/// let found = timely::example(move |scope| {
///     let queries = [Query { id: 7, kind: QueryKind::Track("S2".to_owned()) }].to_stream(scope);
///     let (ticks, plays) = (None.to_stream(scope), [plays].to_stream(scope));
///     let charts = build(&definitions, ticks, plays, Tallied::none(scope), queries, None);
///     charts.answers.map(|answer| answer.found).capture()
/// });
/// let found: Vec<_> = found.extract().into_iter().flat_map(|(_epoch, found)| found).collect();
/// assert!(matches!(&found[0], Finding::TrackInfo(info) if info.title == "Rain"));
/// assert!(matches!(&found[1], Finding::Plays { plays: 1, .. }));
/// assert_eq!(found.len(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Query {
    /// The number that every [`Answer`] repeats. The client chooses it.
    pub id: u64,
    /// The question.
    pub kind: QueryKind,
}

/// A question, with the [`Finding`]s that answer it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum QueryKind {
    /// The title and artist of the track with this id, and its plays in each cell:
    /// [`Finding::TrackInfo`], [`Finding::Plays`].
    Track(String),
    /// The tracks and artists whose names contain `text`, in any case: [`Finding::Track`],
    /// [`Finding::Artist`].
    ///
    /// Each worker returns the `limit` tracks and the [`ARTISTS_MAX`] artists with the most plays.
    /// With more artists than that, the sum of an artist with few plays may lack the part of a
    /// worker.
    Search {
        /// Part of a title or of the name of an artist.
        text: String,
        /// The cell whose plays are returned.
        cell: Cell,
        /// The most tracks of each worker.
        limit: usize,
    },
    /// The tracks of an artist and the artist's plays: [`Finding::Plays`] for each cell,
    /// [`Finding::Artist`] for the number of tracks, and [`Finding::Track`]. Parts of different
    /// workers add up.
    ///
    /// In a cell of a chart of artists the plays are the count of the artist, in any other cell the
    /// sum of the tracks' counts.
    Artist {
        /// The name of the artist, exactly.
        name: String,
        /// The cells whose plays are returned.
        cells: Vec<Cell>,
        /// The most tracks of each worker: those with the most plays in the first of `cells`.
        limit: usize,
    },
    /// The plays in each country, and those of a track among them: [`Finding::Country`].
    Countries {
        /// The chart, as in [`Cell::chart`].
        chart: u32,
        /// The first day of the period, as in [`Cell::start_day`].
        start_day: i32,
        /// The id of the track, if any.
        track_id: Option<String>,
    },
    /// The list of a trending window of the past: [`Finding::Track`], or [`Finding::Item`] if the
    /// window ranks other items, and [`Finding::KnownFrom`].
    Window {
        /// The end of the window, in µs since 1970; a multiple of the slide.
        end_us: i64,
        /// The scope of the list.
        scope: Scope,
        /// The most items of each worker.
        limit: usize,
    },
    /// Reads the titles of tracks whose source has left them out: see [`crate::play::LateTitles`].
    /// There is no answer; the titles appear in [`Charts::titles`](crate::Charts::titles).
    Titles {
        /// The ids of the tracks.
        track_ids: Vec<String>,
    },
}

/// A part of the answer to a query. Each worker may send any number of parts, or none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The [`Query::id`].
    pub id: u64,
    /// The part.
    pub found: Finding,
}

/// A part of the answer to a query, from one worker.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Finding {
    /// The title and artist of a track.
    TrackInfo(TrackInfo),
    /// The plays in a cell.
    Plays {
        /// The cell.
        cell: Cell,
        /// The plays of the track or artist of the query.
        plays: i64,
    },
    /// A track. The worker owns it: no other worker returns a part of it.
    Track {
        /// The id.
        track_id: String,
        /// The title and artist, if they are known.
        info: Option<TrackInfo>,
        /// The plays in the cell of the query.
        plays: i64,
    },
    /// An artist, with the tracks that this worker owns. Parts of different workers add up.
    Artist {
        /// The name.
        artist: String,
        /// The plays of the tracks in the cell of a search; 0 for [`QueryKind::Artist`].
        plays: i64,
        /// The number of the tracks.
        tracks: u64,
    },
    /// An item that is not a track, in a window of the past.
    Item {
        /// The text of the item.
        text: String,
        /// The plays in the window.
        plays: i64,
    },
    /// A country, with the plays of the items that this worker owns. Parts of different workers add
    /// up.
    Country {
        /// The cell of the country.
        cell: Cell,
        /// The plays of all items.
        plays: i64,
        /// The plays of the track of the query; 0 if the query has none.
        of_track: i64,
    },
    /// The start of the first pane that is kept, in µs since 1970. A window that begins earlier may
    /// lack plays.
    KnownFrom(i64),
}

impl QueryKind {
    /// Answers the query from the counts of one worker. `is_window` tells whether these are the
    /// counts of the trending window or those by days.
    pub(crate) fn answer(&self, counted: &dyn Counted<ItemKey, Cell>, names: &Names, is_window: bool) -> Vec<Finding> {
        match self {
            Self::Track(id) => track(&ItemKey::new(ItemKind::TRACK, id), counted, names, is_window),
            Self::Search { text, cell, limit } if (cell.chart == TRENDING) == is_window => {
                search(text, cell, *limit, counted, names)
            }
            Self::Artist { name, cells, limit } => artist(name, cells, *limit, counted, names, is_window),
            Self::Countries { chart, start_day, track_id } if (*chart == TRENDING) == is_window => {
                let item = track_id.as_ref().map(|id| ItemKey::new(ItemKind::TRACK, id));
                countries((*chart, *start_day), item.as_ref(), counted)
            }
            Self::Search { .. } | Self::Countries { .. } | Self::Window { .. } | Self::Titles { .. } => Vec::new(),
        }
    }
}

fn track(item: &ItemKey, counted: &dyn Counted<ItemKey, Cell>, names: &Names, is_window: bool) -> Vec<Finding> {
    if !counted.knows(item) {
        return Vec::new();
    }
    let mut found: Vec<Finding> = names.info(item).filter(|_| !is_window).map(Finding::TrackInfo).into_iter().collect();
    counted.each_cell(Some(item), &mut |cell, _, plays| {
        if plays > 0 {
            found.push(Finding::Plays { cell: cell.clone(), plays });
        }
    });
    found
}

fn countries(
    (chart, start_day): (u32, i32),
    item: Option<&ItemKey>,
    counted: &dyn Counted<ItemKey, Cell>,
) -> Vec<Finding> {
    let mut found = Vec::new();
    counted.each_cell(item, &mut |cell, plays, of_track| {
        let is_asked_for =
            cell.chart == chart && cell.start_day == start_day && cell.scope.kind() == ScopeKind::COUNTRY;
        if is_asked_for && plays > 0 {
            found.push(Finding::Country { cell: cell.clone(), plays, of_track });
        }
    });
    found
}

fn search(text: &str, cell: &Cell, limit: usize, counted: &dyn Counted<ItemKey, Cell>, names: &Names) -> Vec<Finding> {
    let text = text.to_lowercase();
    let (mut tracks, mut artists) = (Vec::new(), BTreeMap::<String, (i64, u64)>::new());
    names.each_track(&mut |item, info| {
        let by_artist = holds(&info.artist, &text);
        if !by_artist && !holds(&info.title, &text) {
            return;
        }
        let plays = counted.count(cell, item);
        tracks.push((plays, *item));
        if by_artist {
            let artist = artists.entry(info.artist.clone()).or_default();
            *artist = (artist.0 + plays, artist.1 + 1);
        }
    });
    let by_id = |(plays, item): &(i64, ItemKey)| (Reverse(*plays), names.text(item));
    if tracks.len() > limit {
        tracks.select_nth_unstable_by_key(limit, by_id);
        tracks.truncate(limit);
    }
    let track = |(plays, item)| named(ItemKind::TRACK, &item, plays, names);
    let artist = |(artist, (plays, tracks))| Finding::Artist { artist, plays, tracks };
    let mut artists: Vec<(String, (i64, u64))> = artists.into_iter().collect();
    if artists.len() > ARTISTS_MAX {
        artists.select_nth_unstable_by_key(ARTISTS_MAX, |(_, (plays, _))| Reverse(*plays));
        artists.truncate(ARTISTS_MAX);
    }
    tracks.into_iter().map(track).chain(artists.into_iter().map(artist)).collect()
}

fn artist(
    name: &str,
    cells: &[Cell],
    limit: usize,
    counted: &dyn Counted<ItemKey, Cell>,
    names: &Names,
    is_window: bool,
) -> Vec<Finding> {
    let counted_here = |cell: &&Cell| (cell.chart == TRENDING) == is_window;
    let first = cells.first().filter(counted_here);
    let mut tracks = Vec::new();
    names.each_track(&mut |item, info| {
        if info.artist == name && counted.knows(item) {
            tracks.push((first.map_or(0, |cell| counted.count(cell, item)), *item));
        }
    });
    let all = tracks.len();
    tracks.sort_by_cached_key(|(plays, item)| (Reverse(*plays), names.text(item)));
    tracks.truncate(ARTIST_TRACKS_MAX);
    let key = ItemKey::new(ItemKind::ARTIST, name);
    let sum = |cell: &Cell| tracks.iter().map(|(_, item)| counted.count(cell, item)).sum::<i64>();
    let in_cell = |cell: &Cell| (cell.clone(), counted.count(cell, &key) + sum(cell));
    let plays = cells.iter().filter(counted_here).map(in_cell).filter(|(_, plays)| *plays > 0);
    let mut found: Vec<Finding> = plays.map(|(cell, plays)| Finding::Plays { cell, plays }).collect();
    if first.is_some() && all > 0 {
        found.push(Finding::Artist { artist: name.to_owned(), plays: 0, tracks: all as u64 });
        found.extend(tracks.iter().take(limit).map(|(plays, item)| named(ItemKind::TRACK, item, *plays, names)));
    }
    found
}

/// Whether `name` contains `text`, which is in lower case.
fn holds(name: &str, text: &str) -> bool {
    if name.is_ascii() {
        let (name, text) = (name.as_bytes(), text.as_bytes());
        return text.is_empty() || name.windows(text.len()).any(|part| part.eq_ignore_ascii_case(text));
    }
    name.to_lowercase().contains(text)
}

/// An item with its name and its plays.
pub(crate) fn named(kind: ItemKind, item: &ItemKey, plays: i64, names: &Names) -> Finding {
    let text = names.text(item).to_string();
    match kind {
        ItemKind::TRACK => Finding::Track { track_id: text, info: names.info(item), plays },
        _ => Finding::Item { text, plays },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_does_not_matter() {
        for (name, text) in
            [("Über Alles", "über"), ("ÜBER", "über"), ("The Moon", "MOON"), ("Moon", ""), ("楽団", "団")]
        {
            assert!(holds(name, &text.to_lowercase()), "{name} holds {text}");
        }
        for (name, text) in [("Moon", "moons"), ("", "a"), ("Über", "uber")] {
            assert!(!holds(name, text), "{name} does not hold {text}");
        }
    }
}
