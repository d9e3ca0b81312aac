//! A client's end of the queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::Bytes;
use tokio::sync::mpsc;

use crate::state::metrics::Total;

/// The free places that the queue of a client must have while memory is short.
const QUEUE_EVENTS_SHORT: usize = 48;

/// A client's end of the queue.
pub struct Client {
    pub queue: mpsc::Sender<Bytes>,
    pub is_slow: Arc<AtomicBool>,
}

impl Client {
    /// Whether it is still there, and fast enough. Where memory is short, nobody may be far behind.
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
