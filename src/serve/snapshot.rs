//! All cells of one epoch as lines of JSON: a header, then one cell per line, in the order in which
//! `replay` prints them.
//!
//! ```text
//! {"as_of":…,"topic":"…","lake":"…","charts":[{"chart":"…","rules":"…","plays":9,"digest":"…"},…]}
//! {"chart":"all-time","period":"all",…}
//! ```
//!
//! The answer reads from a copy of the charts that shares memory with the live ones, so no lock is
//! held while a client reads, however slowly. Lines are made as they are read, so the answer is
//! never in memory as a whole. A slow client costs the memory of what has changed in the charts
//! since the copy was made (see `readers.rs`).
//!
//! Long lists of cells are made in the same way.

use std::sync::Arc;

use axum::body::Bytes;

use super::readers::Pieces;
use crate::state::charts::{CellKey, Charts, Filter, SnapshotHeader};
use crate::text::json;

/// The media type of a snapshot.
pub const MEDIA_TYPE: &str = "application/x-ndjson";
/// The most snapshots that are read at the same time.
pub const READERS_MAX: usize = 4;
/// The most long lists of cells that are read at the same time.
pub const LIST_READERS_MAX: usize = 16;
/// A piece of a long answer is sent once it has at least this many bytes; a cell is never divided,
/// so a piece may be larger. Also the most bytes of any answer that a connection takes at once.
pub const PIECE_BYTES: usize = 64 << 10;

/// A header, then every cell of `charts`, one per line. The header names the `topic` and the folder
/// of the `lake`.
///
/// # Errors
/// None in practice: a header always serialises to JSON.
pub fn snapshot(charts: Arc<Charts>, topic: String, lake: String) -> serde_json::Result<Pieces> {
    let header = SnapshotHeader { as_of: charts.as_of(), topic, lake, charts: charts.inputs() };
    let keys = charts.sorted_keys(&Filter::default()).into_iter();
    let piece = json::to_vec(&header)?;
    Ok(Box::new(Cells { charts, keys, limit: None, piece, before: b"\n", between: b"\n", end: Some(b"\n") }))
}

/// The cells with these `keys` as a JSON array, with at most `limit` entries each.
pub fn array(charts: Arc<Charts>, keys: Vec<CellKey>, limit: Option<usize>) -> Pieces {
    let (keys, piece) = (keys.into_iter(), b"[".to_vec());
    Box::new(Cells { charts, keys, limit, piece, before: b"", between: b",", end: Some(b"]") })
}

/// Serialises cells to JSON as they are read.
struct Cells {
    charts: Arc<Charts>,
    keys: std::vec::IntoIter<CellKey>,
    limit: Option<usize>,
    /// Bytes that are made and not sent yet.
    piece: Vec<u8>,
    /// The separators before the next cell, between later cells, and after the last one.
    before: &'static [u8],
    between: &'static [u8],
    end: Option<&'static [u8]>,
}

impl Iterator for Cells {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let mut piece = std::mem::take(&mut self.piece);
        while piece.len() < PIECE_BYTES {
            let Some((chart, scope, start_day)) = self.keys.next() else {
                piece.extend_from_slice(self.end.take().unwrap_or_default());
                break;
            };
            piece.extend_from_slice(std::mem::replace(&mut self.before, self.between));
            // A cell always serialises to JSON. If one did not, the answer would end here and be
            // invalid JSON.
            json::to_writer(&mut piece, &self.charts.cell(chart, &scope, Some(start_day), self.limit)).ok()?;
        }
        (!piece.is_empty()).then(|| piece.into())
    }
}
