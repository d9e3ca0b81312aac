//! The bytes of answers that wait in our memory until their clients take them.
//!
//! One client that asks and does not read holds its answer. Many of them together would hold more than the machine has, so
//! all answers share one budget. An answer that does not fit is refused with 503, and its client asks again later. Bytes are
//! counted until the last reference to them is gone: that is when the socket has taken them, or the connection has ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::Bytes;

/// Why an answer is refused.
pub const FULL: &str =
    "answers that other clients have asked for and do not read fill the memory for answers: ask again later";

/// What answers may hold together, where nothing less is asked for.
const BYTES_MAX: u64 = 64 << 20;
/// The share of what the process may hold that answers get at most.
const MEMORY_SHARE: u64 = 8;
/// A small answer is let in while large ones fill their part, which is three quarters.
const SMALL_BYTES: u64 = 64 << 10;

/// How much all answers hold, and may hold. Clones share the count.
#[derive(Clone)]
pub struct Budget(Arc<Counts>);

struct Counts {
    held: AtomicU64,
    max: AtomicU64,
}

impl Default for Budget {
    fn default() -> Self {
        Self(Arc::new(Counts { held: AtomicU64::new(0), max: AtomicU64::new(BYTES_MAX) }))
    }
}

/// Bytes with their place in the budget.
struct Held {
    bytes: Bytes,
    budget: Budget,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.0.held.fetch_sub(self.bytes.len() as u64, Ordering::Relaxed);
    }
}

impl Budget {
    /// Leaves the rest of a process that may hold `memory_max_bytes` to what it counts.
    pub fn limit(&self, memory_max_bytes: u64) {
        self.0.max.store((memory_max_bytes / MEMORY_SHARE).min(BYTES_MAX), Ordering::Relaxed);
    }

    /// The bytes that wait now.
    pub fn held_bytes(&self) -> u64 {
        self.0.held.load(Ordering::Relaxed)
    }

    /// Whether answers hold as much as they may.
    pub fn is_full(&self) -> bool {
        self.held_bytes() >= self.0.max.load(Ordering::Relaxed)
    }

    /// The same bytes, counted until nobody refers to them; none if they do not fit. What is larger than the whole budget fits
    /// when nothing else waits.
    pub fn hold(&self, bytes: Bytes) -> Option<Bytes> {
        let (held, size, max) = (self.held_bytes(), bytes.len() as u64, self.0.max.load(Ordering::Relaxed));
        let max = if size <= SMALL_BYTES { max } else { max / 4 * 3 };
        (held == 0 || held.saturating_add(size) <= max).then(|| self.count(bytes))
    }

    /// The same bytes, counted whether they fit or not: for what many clients share.
    pub fn count(&self, bytes: Bytes) -> Bytes {
        self.0.held.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Bytes::from_owner(Held { bytes, budget: self.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_count_until_the_last_of_them_is_gone() {
        let budget = Budget::default();
        let mut bytes = budget.hold(Bytes::from(vec![7; 1000])).unwrap();
        let (first, shared) = (bytes.split_to(10), bytes.clone());
        drop(bytes);
        assert_eq!((budget.held_bytes(), first.len(), shared.len()), (1000, 10, 990));
        drop(shared);
        assert_eq!(budget.held_bytes(), 1000);
        drop(first);
        assert_eq!(budget.held_bytes(), 0);
    }

    #[test]
    fn what_does_not_fit_is_refused_and_small_answers_go_on_longer() {
        let budget = Budget::default();
        budget.limit(8 << 20);
        let large = || Bytes::from(vec![7; 400 << 10]);
        let first = budget.hold(large()).unwrap();
        assert!(budget.hold(large()).is_none());
        let small: Vec<Bytes> = std::iter::from_fn(|| budget.hold(Bytes::from(vec![7; 60 << 10]))).collect();
        assert_eq!(small.len(), (1024 - 400) / 60);
        let shared = budget.count(large());
        assert!(budget.is_full());
        drop((first, small, shared));
        // Larger than the whole budget, but alone.
        assert!(budget.hold(Bytes::from(vec![7; 2 << 20])).is_some());
    }
}
