//! The memory budget for answers that wait until their clients take them.
//!
//! A client that sends a request and does not read keeps the answer in our memory. Many such
//! clients together would hold more than the machine has, so all answers share one budget. An
//! answer that does not fit is refused with 503, and its client can ask again later. Bytes count
//! until the last reference to them is dropped: when the socket has taken them, or the connection
//! has ended.
//!
//! The budget has three [shares](Share), so that answers, `/metrics` and the events that
//! `/v1/stream` keeps never take each other's memory. One client address may hold a quarter of a
//! share (see `connections.rs`), or one answer of any size.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Bytes;

use super::connections::{ADDRESS_SHARE, ClientAddress};
use crate::state::State;

/// Says why an answer is refused: its share of the budget is full.
pub const FULL: &str = "other clients' unread answers fill the memory for answers: try again later";
/// Says why an answer is refused to one client address: the quarter of that address is full.
pub const FULL_OF_ADDRESS: &str = "answers that your address has asked for and does not read fill its quarter of the \
                                   memory for answers: read them, or try again later. If there is a proxy in front, name \
                                   the host that clients use with --allowed-host";

/// The largest budget, in bytes.
const BYTES_MAX: u64 = 64 << 20;
/// The part of the process's memory limit that the budget may be, as a divisor: an eighth, if that
/// is less than [`BYTES_MAX`].
const MEMORY_SHARE: u64 = 8;
/// An answer with more bytes may fill its share only to three quarters, so that small answers still
/// fit when large ones no longer do.
const SMALL_BYTES: u64 = 64 << 10;

/// What the bytes are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// Answers that wait for their clients, and events on their way to clients of `/v1/stream`.
    Answers,
    /// Answers of `/metrics`, which operators need most when clients fill the rest.
    Metrics,
    /// Events of `/v1/stream` that are kept for clients that reconnect.
    Events,
}

impl Share {
    const COUNT: usize = 3;

    /// The size of the share, in sixteenths of the budget.
    fn sixteenths(self) -> u64 {
        match self {
            Self::Answers => 13,
            Self::Metrics => 1,
            Self::Events => 2,
        }
    }
}

/// Counts the bytes that all answers hold, and bounds them. Clones share the counts.
#[derive(Clone)]
pub struct Budget(Arc<Counts>);

struct Counts {
    state: Arc<State>,
    /// The bytes that are held, by [`Share`].
    used: [Mutex<Used>; Share::COUNT],
}

#[derive(Default)]
struct Used {
    bytes: u64,
    by_address: HashMap<IpAddr, u64>,
}

/// Bytes that count in the budget until they are dropped.
struct Held {
    bytes: Bytes,
    share: Share,
    client: ClientAddress,
    budget: Budget,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let bytes = self.bytes.len() as u64;
        self.budget.used(self.share).give_back(self.client, bytes);
        self.budget.held().fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Used {
    fn take(&mut self, ClientAddress(address): ClientAddress, bytes: u64) {
        self.bytes += bytes;
        if let Some(address) = address {
            *self.by_address.entry(address).or_default() += bytes;
        }
    }

    fn give_back(&mut self, ClientAddress(address): ClientAddress, bytes: u64) {
        self.bytes -= bytes;
        let Some(address) = address else { return };
        if let Some(of_address) = self.by_address.get_mut(&address) {
            *of_address -= bytes;
            if *of_address == 0 {
                self.by_address.remove(&address);
            }
        }
    }
}

impl Budget {
    /// A budget that is a part of the memory limit in `state`.
    pub fn new(state: Arc<State>) -> Self {
        Self(Arc::new(Counts { state, used: Default::default() }))
    }

    /// The bytes that are held now, in all shares.
    #[cfg(test)]
    pub fn held_bytes(&self) -> u64 {
        self.held().load(Ordering::Relaxed)
    }

    fn held(&self) -> &AtomicU64 {
        &self.0.state.metrics.http.held_bytes
    }

    fn max_bytes(&self) -> u64 {
        match self.0.state.memory_max_bytes() {
            0 => BYTES_MAX,
            memory_max_bytes => (memory_max_bytes / MEMORY_SHARE).min(BYTES_MAX),
        }
    }

    /// The bytes of one share that are held now.
    pub fn held_bytes_of(&self, share: Share) -> u64 {
        self.used(share).bytes
    }

    /// The bytes that a share may hold.
    pub fn max_bytes_of(&self, share: Share) -> u64 {
        self.max_bytes() * share.sixteenths() / 16
    }

    /// Whether the share for answers is full.
    pub fn is_full(&self) -> bool {
        self.held_bytes_of(Share::Answers) >= self.max_bytes_of(Share::Answers)
    }

    /// Returns the same bytes, which count in `share` until the last reference to them is dropped.
    /// Bytes that are larger than the whole share fit if it holds nothing else.
    ///
    /// # Errors
    /// [`FULL`] or [`FULL_OF_ADDRESS`], if they do not fit.
    pub fn hold(&self, share: Share, client: ClientAddress, bytes: Bytes) -> Result<Bytes, &'static str> {
        let (size, share_max) = (bytes.len() as u64, self.max_bytes_of(share));
        let max = if size <= SMALL_BYTES { share_max } else { share_max / 4 * 3 };
        let of_address_max = share_max / ADDRESS_SHARE as u64;
        let fits = |held: u64, max: u64| held == 0 || held.saturating_add(size) <= max;
        // This lock must be released before `bytes` is dropped: `bytes` may itself be counted, and
        // then takes the lock when it is dropped. Locals are dropped before parameters.
        let mut used = self.used(share);
        let of_address = client.0.map_or(0, |address| used.by_address.get(&address).copied().unwrap_or(0));
        if !fits(of_address, of_address_max) {
            return Err(FULL_OF_ADDRESS);
        }
        if !fits(used.bytes, max) {
            return Err(FULL);
        }
        used.take(client, size);
        drop(used);
        self.held().fetch_add(size, Ordering::Relaxed);
        Ok(Bytes::from_owner(Held { bytes, share, client, budget: self.clone() }))
    }

    /// Returns the same bytes, which count in `share` whether they fit or not: for bytes that many
    /// clients share.
    pub fn count(&self, share: Share, bytes: Bytes) -> Bytes {
        let client = ClientAddress::default();
        self.used(share).take(client, bytes.len() as u64);
        self.held().fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Bytes::from_owner(Held { bytes, share, client, budget: self.clone() })
    }

    fn used(&self, share: Share) -> MutexGuard<'_, Used> {
        lock(&self.0.used[share as usize])
    }
}

fn lock(used: &Mutex<Used>) -> MutexGuard<'_, Used> {
    used.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANYBODY: ClientAddress = ClientAddress(None);

    /// The budget of a process with this memory limit; 0 is no limit.
    fn budget(memory_max_bytes: u64) -> Budget {
        let state = State::new(crate::state::charts::tests::charts());
        state.limit_memory(memory_max_bytes);
        Budget::new(Arc::new(state))
    }

    fn bytes(size: usize) -> Bytes {
        Bytes::from(vec![7; size])
    }

    #[test]
    fn bytes_count_until_the_last_of_them_is_gone() {
        let budget = budget(0);
        let mut bytes = budget.hold(Share::Answers, ANYBODY, bytes(1000)).unwrap();
        let (first, shared) = (bytes.split_to(10), bytes.clone());
        drop(bytes);
        assert_eq!((budget.held_bytes(), first.len(), shared.len()), (1000, 10, 990));
        drop(shared);
        assert_eq!(budget.held_bytes(), 1000);
        drop(first);
        assert_eq!(budget.held_bytes(), 0);
    }

    #[test]
    fn answers_over_the_budget_are_refused_small_ones_last() {
        let budget = budget(8 << 20);
        let hold = |size| budget.hold(Share::Answers, ANYBODY, bytes(size)).ok();
        let first = hold(400 << 10).unwrap();
        assert!(hold(400 << 10).is_none());
        let small: Vec<Bytes> = std::iter::from_fn(|| hold(60 << 10)).collect();
        assert_eq!(small.len(), (1024 / 16 * 13 - 400) / 60);
        let shared = budget.count(Share::Answers, bytes(400 << 10));
        assert!(budget.is_full());
        drop((first, small, shared));
        // Larger than the whole budget, which holds nothing else.
        assert!(hold(2 << 20).is_some());
    }

    #[test]
    fn no_share_takes_the_room_of_another() {
        let budget = budget(8 << 20);
        let _answers = budget.count(Share::Answers, bytes(1 << 20));
        let _events = budget.count(Share::Events, bytes(1 << 20));
        assert_eq!(budget.hold(Share::Answers, ANYBODY, bytes(10)), Err(FULL));
        let metrics: Vec<Bytes> =
            std::iter::from_fn(|| budget.hold(Share::Metrics, ANYBODY, bytes(20 << 10)).ok()).collect();
        assert_eq!(metrics.len(), 64 / 20);
    }

    #[test]
    fn no_address_holds_more_than_a_quarter_but_for_one_answer() {
        let budget = budget(8 << 20);
        let [one, other] = [1, 2].map(|last| ClientAddress(Some(IpAddr::from([192, 0, 2, last]))));
        let hold = |client, kib: usize| budget.hold(Share::Answers, client, bytes(kib << 10));
        let first = hold(one, 150).unwrap();
        assert_eq!(hold(one, 100), Err(FULL_OF_ADDRESS));
        let others = (hold(other, 100).unwrap(), hold(ANYBODY, 100).unwrap(), hold(one, 20).unwrap());
        drop(first);
        let again = hold(one, 100).unwrap();
        drop((others, again));
        assert!(budget.used(Share::Answers).by_address.is_empty() && hold(one, 2000).is_ok());
    }
}
