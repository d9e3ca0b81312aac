//! A chart cell in its public form: HTTP returns it, `--format json` prints it, one per line, and
//! the client commands parse it.
//!
//! All of them use one type, so the output of `replay` and the answer of a running instance can be
//! compared byte for byte.

use std::hash::{Hash, Hasher};

use reprise_dataflows::names::catalogue::TrackInfo;
use reprise_dataflows::rules::definition::ItemKind;
use serde::{Deserialize, Serialize};

use super::available::Available;
use crate::text::instant;

/// The state that a cell's numbers hold for: how much had been counted, and how much of it is in
/// the lake.
///
/// Durable numbers count exactly the plays of version `lake_version`; `epoch` and `clock` are those
/// of the commit that added the last of them, and every replay of that version gives the same
/// bytes. For numbers that are not durable, `epoch` and `clock` are those of the newest complete
/// epoch, and `lake_version` may lack some of its plays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AsOf {
    /// The newest epoch that is counted; 0 if no run has committed to the lake.
    pub epoch: u64,
    /// The clock at that epoch, in µs since 1970; `None` before the first play. Written as RFC
    /// 3339.
    #[serde(rename = "clock", with = "instant")]
    pub clock_us: Option<i64>,
    /// The newest version of the lake; `None` if there is no lake yet.
    pub lake_version: Option<u64>,
    /// Whether the numbers are exactly those of `lake_version`.
    pub durable: bool,
}

/// Hashes only a durable value. Other values change with every epoch, and equal charts must have
/// equal hashes, so that a polling client learns that nothing has changed.
impl Hash for AsOf {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self { epoch, clock_us, lake_version, durable } = self;
        let stands_for = durable.then_some((epoch, clock_us, lake_version));
        stands_for.hash(state);
    }
}

/// One list of a chart: one period and one scope.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ChartCell {
    /// The chart's name.
    pub chart: String,
    /// `2026-11-20`, `2026-W47`, `2026-11`, `2026` or `all`; `START/END` for the trending window.
    pub period: String,
    /// The first moment of the period, in µs since 1970; `None` for all time. Written as RFC 3339.
    #[serde(rename = "start", with = "instant")]
    pub start_us: Option<i64>,
    /// The first moment after the period, in µs since 1970; `None` for all time. Written as RFC
    /// 3339.
    #[serde(rename = "end", with = "instant")]
    pub end_us: Option<i64>,
    /// The scope's name: `global`, or a value such as `DE`.
    pub scope: String,
    /// The state that the counts hold for.
    pub as_of: AsOf,
    /// The entries, from rank 1 down.
    pub entries: Vec<Entry>,
    /// In a response of HTTP without entries: periods and scopes that have some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub available: Option<Available>,
}

/// An entry of a chart. A track has an id, a title and an artist; an artist only a name, in
/// `artist`; any other item only a title.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Entry {
    /// Position from 1: by plays, most first; ties break by track id (or the item's text),
    /// bytewise.
    pub rank: usize,
    /// The track's id; `None` for other items.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub track_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    /// The track's title, or the text of an item that is neither track nor artist.
    pub title: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    /// The track's artist, or the artist's name.
    pub artist: Option<String>,
    /// The number of plays that count.
    pub plays: i64,
}

impl Entry {
    /// The entry of an item. A track is identified by its id, other items by their text.
    pub fn new(kind: ItemKind, rank: usize, item: &str, info: Option<&TrackInfo>, plays: i64) -> Self {
        let text = Some(item.to_owned());
        match kind {
            ItemKind::TRACK => {
                let (title, artist) = info.map(|info| (info.title.clone(), info.artist.clone())).unwrap_or_default();
                Self { rank, track_id: text, title: Some(title), artist: Some(artist), plays }
            }
            ItemKind::ARTIST => Self { rank, track_id: None, title: None, artist: text, plays },
            _ => Self { rank, track_id: None, title: text, artist: None, plays },
        }
    }
}

/// The response of `/v1/charts/{name}`: one cell, or several.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum CellAnswer {
    /// A single cell, as a JSON object.
    One(ChartCell),
    /// Any number of cells, as a JSON array.
    Many(Vec<ChartCell>),
}

impl CellAnswer {
    /// The cells, in the order of the response.
    pub fn into_cells(self) -> Vec<ChartCell> {
        match self {
            Self::One(cell) => vec![cell],
            Self::Many(cells) => cells,
        }
    }
}
