//! Questions that no top answers: about any track, a place on the map, or a window that has passed.
//!
//! A [`Query`] comes with an epoch, as plays do, and goes to every worker. Each answers for the items that it owns, from the
//! counts as they are at the end of that epoch, so all [`Answer`]s to it are true for the same plays, and whoever asked adds them
//! up. What is asked for costs something when it is asked for, and nothing before.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::keys::item::ItemKey;
use crate::names::catalogue::{About, Names};
use crate::rank::Counted;
use crate::rules::definition::{Cell, ItemKind, Scope, ScopeKind, TRENDING};

/// Artists that one worker finds at most.
pub const ARTISTS_MAX: usize = 1000;

/// Tracks whose plays one worker adds up for an artist at most. Those beyond it are the least played.
pub const ARTIST_TRACKS_MAX: usize = 20_000;

/// A question, under a number by which its answers are known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Query {
    pub id: u64,
    pub kind: QueryKind,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum QueryKind {
    /// What the track of this id is called, and how often it was played in each cell: [`Finding::Called`], [`Finding::Plays`].
    Track(String),
    /// The tracks and artists whose names hold `text`, whatever the case, with their plays in `cell`: [`Finding::Track`] and
    /// [`Finding::Artist`], of each those that were played most on each worker: `limit` tracks, and [`ARTISTS_MAX`] artists, so that the
    /// sums of artists with little to their name may lack a part.
    Search { text: String, cell: Cell, limit: usize },
    /// The tracks that bear this artist's name, and the artist's plays in each of `cells`: [`Finding::Artist`], [`Finding::Plays`], and
    /// [`Finding::Track`] for the `limit` tracks with the most plays in the first of the cells. Parts of different workers add up. A
    /// cell of a chart of artists gives the artist's own count, any other cell the sum of the tracks.
    Artist { name: String, cells: Vec<Cell>, limit: usize },
    /// What was played in each country in a period of a chart, and of it a track: [`Finding::Country`].
    Countries { chart: u32, start_day: i32, track_id: Option<String> },
    /// The trending window that ended at `end_us`, as one cell: [`Finding::Track`], or [`Finding::Artist`] if it ranks those, and
    /// [`Finding::KnownFrom`].
    Window { end_us: i64, scope: Scope, limit: usize },
    /// What the tracks of these ids are called, where a source has not said it yet: see [`crate::play::LateTitles`]. Nothing is
    /// found: the charts say it.
    Titles { track_ids: Vec<String> },
}

/// A part of the answer to the query of this number; there may be none, and several from each worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    pub id: u64,
    pub found: Finding,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Finding {
    Called(About),
    Plays {
        cell: Cell,
        plays: i64,
    },
    Track {
        track_id: String,
        about: Option<About>,
        plays: i64,
    },
    /// Parts of different workers add up.
    Artist {
        artist: String,
        plays: i64,
        tracks: u64,
    },
    /// An item that is not a track, of a list.
    Item {
        text: String,
        plays: i64,
    },
    /// Parts of different workers add up. The cell's scope is a country.
    Country {
        cell: Cell,
        plays: i64,
        of_track: i64,
    },
    /// Plays before this moment, in µs since 1970, are no longer told apart by their time.
    KnownFrom(i64),
}

impl QueryKind {
    /// What a worker's counts say to it. `is_window`: they are those of the trending window, which are counted apart.
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
    let mut found: Vec<Finding> = names.about(item).filter(|_| !is_window).map(Finding::Called).into_iter().collect();
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
    names.each_track(&mut |item, about| {
        let by_artist = holds(&about.artist, &text);
        if !by_artist && !holds(&about.title, &text) {
            return;
        }
        let plays = counted.count(cell, item);
        tracks.push((plays, *item));
        if by_artist {
            let artist = artists.entry(about.artist.clone()).or_default();
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
    names.each_track(&mut |item, about| {
        if about.artist == name && counted.knows(item) {
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

/// Whether `name` holds `text`, which is in lower case.
fn holds(name: &str, text: &str) -> bool {
    if name.is_ascii() {
        let (name, text) = (name.as_bytes(), text.as_bytes());
        return text.is_empty() || name.windows(text.len()).any(|part| part.eq_ignore_ascii_case(text));
    }
    name.to_lowercase().contains(text)
}

/// An item with its plays, by its name.
pub(crate) fn named(kind: ItemKind, item: &ItemKey, plays: i64, names: &Names) -> Finding {
    let text = names.text(item).to_string();
    match kind {
        ItemKind::TRACK => Finding::Track { track_id: text, about: names.about(item), plays },
        _ => Finding::Item { text, plays },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_is_of_no_account() {
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
