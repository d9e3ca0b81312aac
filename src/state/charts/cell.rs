//! A chart cell as the world sees it: the object that HTTP returns, that `--format json` prints one per line, and that
//! the client commands read back.
//!
//! One type serves all of them, so that what `replay` prints and what a running instance answers can be compared byte
//! for byte.

use std::hash::{Hash, Hasher};

use reprise_dataflows::names::catalogue::About;
use reprise_dataflows::rules::definition::ItemKind;
use serde::{Deserialize, Serialize};

use super::available::Available;
use crate::text::instant;

/// What a cell's numbers stand for: how much had been counted, and how much of that is safe in the lake.
///
/// If they are durable, they are all plays of version `lake_version` and no others, `epoch` and `clock` are those of the
/// commit that brought the last of them, and every replay of that version gives the same bytes. If they are not, `epoch`
/// and `clock` are those of the newest complete epoch, of which `lake_version` may lack plays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AsOf {
    /// The newest epoch that is counted; 0 for a lake that no run has committed to.
    pub epoch: u64,
    /// The clock at that epoch, in µs since 1970; `None` before the first play. Written as RFC 3339.
    #[serde(rename = "clock", with = "instant")]
    pub clock_us: Option<i64>,
    /// The newest version of the lake; `None` where there is no lake yet.
    pub lake_version: Option<u64>,
    /// Whether the numbers are exactly those of `lake_version`.
    pub durable: bool,
}

/// Hashes only a durable value. What is not durable changes with every epoch, and charts that are otherwise equal must have
/// equal hashes, so that a client that polls can be told that nothing has changed.
impl Hash for AsOf {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self { epoch, clock_us, lake_version, durable } = self;
        let stands_for = durable.then_some((epoch, clock_us, lake_version));
        stands_for.hash(state);
    }
}

/// One list of a chart: a period of it, for a scope.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ChartCell {
    pub chart: String,
    /// `2026-11-20`, `2026-W47`, `2026-11`, `2026`, `all`; of the trending window `START/END`.
    pub period: String,
    /// The first moment of the period, in µs since 1970; `None` for all time. Written as RFC 3339.
    #[serde(rename = "start", with = "instant")]
    pub start_us: Option<i64>,
    /// The first moment after the period, in µs since 1970; `None` for all time. Written as RFC 3339.
    #[serde(rename = "end", with = "instant")]
    pub end_us: Option<i64>,
    pub scope: String,
    pub as_of: AsOf,
    /// From rank 1 down.
    pub entries: Vec<Entry>,
    /// Which cells have entries, where HTTP answers with one that has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub available: Option<Available>,
}

/// A line of a chart. A track has an id, a title and an artist; an artist has a name only, and any other item a title only.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Entry {
    /// Position from 1: by plays, most first, and equal plays by track id (or artist), bytewise.
    pub rank: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub track_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artist: Option<String>,
    pub plays: i64,
}

impl Entry {
    /// The line of an item. A track is known by its id, all others by their text.
    pub fn new(kind: ItemKind, rank: usize, item: &str, about: Option<&About>, plays: i64) -> Self {
        let text = Some(item.to_owned());
        match kind {
            ItemKind::TRACK => {
                let (title, artist) =
                    about.map(|about| (about.title.clone(), about.artist.clone())).unwrap_or_default();
                Self { rank, track_id: text, title: Some(title), artist: Some(artist), plays }
            }
            ItemKind::ARTIST => Self { rank, track_id: None, title: None, artist: text, plays },
            _ => Self { rank, track_id: None, title: text, artist: None, plays },
        }
    }
}

/// One cell, or several: what `/v1/charts/{name}` answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum CellAnswer {
    One(ChartCell),
    Many(Vec<ChartCell>),
}

impl CellAnswer {
    pub fn into_cells(self) -> Vec<ChartCell> {
        match self {
            Self::One(cell) => vec![cell],
            Self::Many(cells) => cells,
        }
    }
}
