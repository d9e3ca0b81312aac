//! The sending end of a client's queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::Bytes;
use tokio::sync::mpsc;

use crate::state::metrics::Total;

/// The free places that a client's queue must have while memory is short; with fewer, the client
/// counts as too slow.
const QUEUE_EVENTS_SHORT: usize = 48;

/// The sending end of a client's queue.
pub struct Client {
    /// Leads to the body of the client's stream.
    pub queue: mpsc::Sender<Bytes>,
    /// Set if the client is too slow: its body then ends with a `reload` event.
    pub is_slow: Arc<AtomicBool>,
}

impl Client {
    /// Puts `event` into the queue. Returns whether the client is still connected and fast enough;
    /// if it is too slow, `reloads` counts it. While memory is short (`is_short`), the client may
    /// be only a few events behind.
    pub fn send(&self, event: &Bytes, reloads: &Total, is_short: bool) -> bool {
        if is_short && self.queue.capacity() < QUEUE_EVENTS_SHORT {
            self.is_slow.store(true, Ordering::Relaxed);
            reloads.add(1);
            return false;
        }
        match self.queue.try_send(event.clone()) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Closed(_)) => false,
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.is_slow.store(true, Ordering::Relaxed);
                reloads.add(1);
                false
            }
        }
    }
}
