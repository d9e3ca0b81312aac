//! Every cell of one moment as lines of JSON: first what they are, then one cell per line, in the order of `replay`.
//!
//! ```text
//! {"as_of":{…},"topic":"song-plays","lake":"/data/lake","charts":[{"chart":"weekly","rules":"…","plays":9,"digest":"…"},…]}
//! {"chart":"all-time","period":"all",…}
//! ```
//!
//! The charts are a copy that shares with the living ones, so no lock is held while a client reads, however slowly; and
//! lines are made as they are read, so the answer is never in memory as a whole. What a slow client does cost is the
//! memory of what has changed since (see `readers.rs`).
//!
//! Lists of many cells are made in the same way.

use std::sync::Arc;

use axum::body::Bytes;

use super::readers::Pieces;
use crate::state::charts::{CellKey, Charts, Filter, SnapshotHeader};
use crate::text::json;

pub const MEDIA_TYPE: &str = "application/x-ndjson";
/// Snapshots that are read at the same time.
pub const READERS_MAX: usize = 4;
/// Long lists of cells that are read at the same time.
pub const LIST_READERS_MAX: usize = 16;
/// Bytes after which a piece of a long answer is sent (a cell is never divided, so it may be larger), and bytes of any
/// answer that a connection takes at once.
pub const PIECE_BYTES: usize = 64 << 10;

/// Every cell of `charts`, one a line, after a header.
///
/// # Errors
/// None that can happen: a header is always JSON.
pub fn snapshot(charts: Arc<Charts>, topic: String, lake: String) -> serde_json::Result<Pieces> {
    let header = SnapshotHeader { as_of: charts.as_of(), topic, lake, charts: charts.inputs() };
    let places = charts.sorted_places(&Filter::default()).into_iter();
    let piece = json::to_vec(&header)?;
    Ok(Box::new(Cells { charts, places, limit: None, piece, before: b"\n", between: b"\n", end: Some(b"\n") }))
}

/// The cells at `places` as a JSON array, with at most `limit` entries each.
pub fn array(charts: Arc<Charts>, places: Vec<CellKey>, limit: Option<usize>) -> Pieces {
    let (places, piece) = (places.into_iter(), b"[".to_vec());
    Box::new(Cells { charts, places, limit, piece, before: b"", between: b",", end: Some(b"]") })
}

/// Cells that become JSON as they are read.
struct Cells {
    charts: Arc<Charts>,
    places: std::vec::IntoIter<CellKey>,
    limit: Option<usize>,
    /// What is not sent yet.
    piece: Vec<u8>,
    /// What stands before the next cell, between later ones, and after the last.
    before: &'static [u8],
    between: &'static [u8],
    end: Option<&'static [u8]>,
}

impl Iterator for Cells {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let mut piece = std::mem::take(&mut self.piece);
        while piece.len() < PIECE_BYTES {
            let Some((chart, scope, start_day)) = self.places.next() else {
                piece.extend_from_slice(self.end.take().unwrap_or_default());
                break;
            };
            piece.extend_from_slice(std::mem::replace(&mut self.before, self.between));
            // A cell that is no JSON does not exist; if it did, its answer would end without it and not be valid.
            json::to_writer(&mut piece, &self.charts.cell(chart, &scope, Some(start_day), self.limit)).ok()?;
        }
        (!piece.is_empty()).then(|| piece.into())
    }
}
