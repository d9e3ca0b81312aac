//! The body of one client's stream: first the events that the client lacks, then the events in its
//! queue.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use axum::body::{Bytes, HttpBody};
use hyper::body::Frame;
use tokio::sync::mpsc;

/// The last event that a slow client gets.
const RELOAD: &[u8] =
    b"event: reload\ndata: {\"detail\":\"you read more slowly than the charts change: connect again, without \
                        Last-Event-ID\"}\n\n";

/// The body of a stream. It counts as a client until it is dropped.
pub struct Body {
    before: VecDeque<Bytes>,
    queue: mpsc::Receiver<Bytes>,
    is_slow: Arc<AtomicBool>,
    clients: Arc<AtomicU64>,
}

impl Body {
    /// A body of the events `before`, then those in `queue`. It counts in `clients`.
    pub(super) fn new(
        before: Vec<Bytes>,
        queue: mpsc::Receiver<Bytes>,
        is_slow: Arc<AtomicBool>,
        clients: &Arc<AtomicU64>,
    ) -> Self {
        clients.fetch_add(1, Ordering::Relaxed);
        Self { before: before.into(), queue, is_slow, clients: clients.clone() }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let body = self.get_mut();
        if let Some(event) = body.before.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(event))));
        }
        body.queue.poll_recv(context).map(|event| {
            let last = || body.is_slow.swap(false, Ordering::Relaxed).then(|| Bytes::from_static(RELOAD));
            event.or_else(last).map(|event| Ok(Frame::data(event)))
        })
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.clients.fetch_sub(1, Ordering::Relaxed);
    }
}
