//! Every cell of one moment as lines of JSON: first what they are, then one cell per line, in the order of `replay`.
//!
//! ```text
//! {"as_of":{…},"topic":"song-plays","lake":"/data/lake","charts":[{"chart":"weekly","rules":"…","plays":9,"digest":"…"},…]}
//! {"chart":"all-time","period":"all",…}
//! ```
//!
//! The charts are a copy that shares with the living ones, so no lock is held while a client reads, however slowly; and
//! lines are made as they are read, so the answer is never in memory as a whole. What a slow client does cost is the
//! memory of what has changed since: so only a few may read at once.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Bytes, HttpBody};
use hyper::body::Frame;
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedSemaphorePermit;

use crate::charts::{AsOf, ChartInputs, Charts, Place};

pub const MEDIA_TYPE: &str = "application/x-ndjson";
/// Snapshots that are read at the same time.
pub const READERS_MAX: usize = 4;
/// A piece is sent when it has so many bytes; one cell is never divided.
const PIECE_BYTES: usize = 64 << 10;

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    pub as_of: AsOf,
    pub topic: String,
    /// The folder of the lake, as the run sees it.
    pub lake: String,
    /// By name.
    pub charts: Vec<ChartInputs>,
}

/// The body of an answer.
pub struct Snapshot {
    charts: Arc<Charts>,
    places: std::vec::IntoIter<Place>,
    piece: Vec<u8>,
    _permit: OwnedSemaphorePermit,
}

impl Snapshot {
    /// # Errors
    /// None that can happen: a header is always JSON.
    pub fn new(
        charts: Arc<Charts>,
        topic: String,
        lake: String,
        permit: OwnedSemaphorePermit,
    ) -> serde_json::Result<Self> {
        let header = Header { as_of: charts.as_of(), topic, lake, charts: charts.inputs() };
        let mut piece = serde_json::to_vec(&header)?;
        piece.push(b'\n');
        let places = charts.sorted_places().into_iter();
        Ok(Self { charts, places, piece, _permit: permit })
    }

    /// The next lines, at least one; nothing at the end.
    fn next(&mut self) -> serde_json::Result<Option<Bytes>> {
        let mut piece = std::mem::take(&mut self.piece);
        while piece.len() < PIECE_BYTES
            && let Some((chart, scope, start_day)) = self.places.next()
        {
            serde_json::to_writer(&mut piece, &self.charts.cell(chart, &scope, Some(start_day), None))?;
            piece.push(b'\n');
        }
        Ok((!piece.is_empty()).then(|| piece.into()))
    }
}

impl HttpBody for Snapshot {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        // A cell that is no JSON does not exist; if it did, its answer would end without it and not verify.
        let piece = self.get_mut().next().ok().flatten();
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }
}
