//! Counts the open connections, and decides which one ends when there is no slot for a new one.
//!
//! - A connection is *idle* while it waits for a request, and *busy* from the end of the request's
//!   header to the end of its answer. When all slots are taken, the connection that has been idle
//!   longest is closed, and the new one gets its slot. So clients that keep connections open, or
//!   open them and send nothing, do not lock others out.
//! - If every connection is busy, a new one is still accepted, as *crowded*: the probe paths
//!   (`probes.rs`) are answered, and every other path with 503. It is closed after one answer, so
//!   crowded connections do not pile up.
//! - One client address may hold a quarter of the slots; beyond that, its own idle connections are
//!   closed first. The bytes of answers (`budget.rs`) and the seats of long answers (`readers.rs`)
//!   have the same limit for the same address. An IPv6 client counts by its /64 network, since it
//!   usually owns all of it. Two kinds of address are exempt, because they stand for many clients:
//!   loopback, from which a proxy or a tunnel on the same machine connects, and every address if
//!   `--allowed-host` says that a proxy stands in front. There the proxy has to limit its clients.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

/// The most connections of a listener at the same time, if the process may open enough files.
pub const OPEN_MAX: usize = 4096;
/// The part of slots, bytes and seats that one client address may hold, as a divisor: a quarter.
pub const ADDRESS_SHARE: usize = 4;

/// The address by which a client is limited; none if the address stands for many clients. Each
/// request carries it as an extension.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientAddress(pub Option<IpAddr>);

/// All connections of a listener.
pub struct Connections {
    max: usize,
    /// The most connections of one client address; none (no limit) where a proxy stands in front.
    of_address_max: Option<usize>,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    last_id: u64,
    count: usize,
    /// The idle connections, by the instant since when they are idle.
    idle: BTreeMap<(Instant, u64), Idle>,
    by_address: HashMap<IpAddr, usize>,
}

struct Idle {
    address: Option<IpAddr>,
    ending: Arc<Notify>,
}

/// The slot of one connection. It is given back when this is dropped, or earlier, when
/// [`Connections::admit`] gives it to another connection.
pub struct ConnectionSlot {
    connections: Arc<Connections>,
    id: u64,
    /// The client address that the connection counts for, if addresses are limited.
    address: Option<IpAddr>,
    /// Notified when the connection has to end.
    pub ending: Arc<Notify>,
    /// No slot was free: only the probe paths are answered.
    pub is_crowded: bool,
    state: Mutex<State>,
}

#[derive(Clone, Copy)]
enum State {
    Busy,
    Idle(Instant),
    /// Another connection has the slot.
    Gone,
}

impl Connections {
    /// Slots for `max` connections. `limits_addresses` is false where a proxy stands in front.
    pub fn new(max: usize, limits_addresses: bool) -> Self {
        Self { max, of_address_max: limits_addresses.then_some(max / ADDRESS_SHARE), open: Mutex::default() }
    }

    /// Gives a slot to a new connection of `client`, which is idle at first. If no slot is free,
    /// the connection that has been idle longest is told to end, and loses its slot.
    pub fn admit(self: &Arc<Self>, client: IpAddr) -> ConnectionSlot {
        self.admit_at(client, Instant::now())
    }

    fn admit_at(self: &Arc<Self>, client: IpAddr, now: Instant) -> ConnectionSlot {
        let address = network(client).filter(|_| self.of_address_max.is_some());
        let mut open = self.open();
        let has_too_many = |open: &Open| {
            let count = address.and_then(|address| open.by_address.get(&address)).copied().unwrap_or(0);
            address.is_some() && self.of_address_max.is_some_and(|max| count >= max)
        };
        if has_too_many(&open) {
            open.end_idle(|idle| idle.address == address);
        } else if open.count >= self.max {
            open.end_idle(|_| true);
        }
        let is_crowded = has_too_many(&open) || open.count >= self.max;
        open.last_id += 1;
        open.count += 1;
        if let Some(address) = address {
            *open.by_address.entry(address).or_default() += 1;
        }
        let (id, ending) = (open.last_id, Arc::<Notify>::default());
        open.idle.insert((now, id), Idle { address, ending: ending.clone() });
        let state = Mutex::new(State::Idle(now));
        ConnectionSlot { connections: self.clone(), id, address, ending, is_crowded, state }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// Tells the connection that has been idle longest, among those that `fits` accepts, to end, if
    /// there is one.
    fn end_idle(&mut self, fits: impl Fn(&Idle) -> bool) {
        let Some(key) = self.idle.iter().find(|(_, idle)| fits(idle)).map(|(key, _)| *key) else { return };
        let Some(Idle { address, ending }) = self.idle.remove(&key) else { return };
        self.leave(address);
        ending.notify_one();
    }

    fn leave(&mut self, address: Option<IpAddr>) {
        self.count -= 1;
        let Some(address) = address else { return };
        if let Some(count) = self.by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&address);
            }
        }
    }
}

impl ConnectionSlot {
    /// The address by which the client of this connection is limited.
    pub fn client(&self) -> ClientAddress {
        ClientAddress(self.address)
    }

    /// Marks the connection busy with a request until the result is dropped.
    pub fn busy(self: &Arc<Self>) -> Busy {
        let mut open = self.connections.open();
        let mut state = self.state();
        if let State::Idle(since) = *state
            && open.idle.remove(&(since, self.id)).is_some()
        {
            *state = State::Busy;
        } else {
            *state = State::Gone;
        }
        Busy(self.clone())
    }

    fn idle_at(&self, now: Instant) {
        let mut open = self.connections.open();
        let mut state = self.state();
        if matches!(*state, State::Busy) {
            *state = State::Idle(now);
            open.idle.insert((now, self.id), Idle { address: self.address, ending: self.ending.clone() });
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let mut open = self.connections.open();
        let is_there = match *self.state() {
            State::Busy => true,
            State::Idle(since) => open.idle.remove(&(since, self.id)).is_some(),
            State::Gone => false,
        };
        if is_there {
            open.leave(self.address);
        }
    }
}

/// Keeps its connection busy while a request is answered.
pub struct Busy(Arc<ConnectionSlot>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.idle_at(Instant::now());
    }
}

/// The address that a client counts by: an IPv4 address, or the /64 network of an IPv6 address;
/// none for loopback.
fn network(address: IpAddr) -> Option<IpAddr> {
    let address = address.to_canonical();
    if address.is_loopback() {
        return None;
    }
    Some(match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SLOTS: usize = 400;
    const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn is_told_to_end(slot: &ConnectionSlot) -> bool {
        let mut ending = std::pin::pin!(slot.ending.notified());
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        ending.as_mut().poll(&mut context).is_ready()
    }

    /// `count` connections of `client`, one after the other.
    fn fill(connections: &Arc<Connections>, client: IpAddr, count: usize) -> Vec<Arc<ConnectionSlot>> {
        let start = Instant::now();
        let at = |index: usize| start + Duration::from_micros(index as u64);
        (0..count).map(|index| Arc::new(connections.admit_at(client, at(index)))).collect()
    }

    #[test]
    fn the_one_that_has_been_idle_longest_makes_room() {
        let connections = Arc::new(Connections::new(SLOTS, true));
        let slots = fill(&connections, LOOPBACK, SLOTS);
        // The first is busy. The second has been busy, and so became idle after all others.
        let busy = slots[0].busy();
        drop(slots[1].busy());
        let new = connections.admit(LOOPBACK);
        assert!(!new.is_crowded);
        let ended: Vec<bool> = slots.iter().take(4).map(|slot| is_told_to_end(slot)).collect();
        assert_eq!(ended, [false, false, true, false]);
        // The connection that lost its slot answers nothing more, and its end does not give the
        // slot back twice.
        drop(slots[2].busy());
        assert_eq!(connections.open().count, SLOTS);
        drop((busy, slots, new));
        let open = connections.open();
        assert_eq!((open.count, open.idle.len()), (0, 0));
    }

    #[test]
    fn probes_are_answered_while_all_connections_are_busy() {
        let connections = Arc::new(Connections::new(SLOTS, true));
        let slots = fill(&connections, LOOPBACK, SLOTS);
        let busy: Vec<Busy> = slots.iter().map(|slot| slot.busy()).collect();
        let crowded = connections.admit(LOOPBACK);
        assert!(crowded.is_crowded);
        // The next connection takes the slot of that one, and is crowded too.
        assert!(connections.admit(LOOPBACK).is_crowded && is_told_to_end(&crowded));
        assert_eq!(connections.open().count, SLOTS);
        drop((crowded, busy));
        assert!(!connections.admit(LOOPBACK).is_crowded);
    }

    #[test]
    fn no_address_has_more_than_a_quarter() {
        let connections = Arc::new(Connections::new(SLOTS, true));
        let one = fill(&connections, address("2001:db8::1"), SLOTS / 4);
        let other = connections.admit(address("2001:db8:0:1::1"));
        assert!(!is_told_to_end(&one[0]) && !other.is_crowded);
        let more = connections.admit(address("2001:db8::2"));
        assert!(is_told_to_end(&one[0]) && !is_told_to_end(&one[1]) && !more.is_crowded);
        let busy: Vec<Busy> = one.iter().map(|slot| slot.busy()).collect();
        drop(more);
        let last = connections.admit(address("2001:db8::3"));
        assert!(!last.is_crowded);
        assert!(connections.admit(address("2001:db8::4")).is_crowded || is_told_to_end(&last));
        drop((busy, one, last, other));
        assert!(connections.open().by_address.is_empty());
    }

    /// One address of a proxy or of loopback brings the requests of many clients.
    #[test]
    fn an_address_of_many_clients_is_not_limited() {
        let count = SLOTS / 4 + 1;
        let proxied = Arc::new(Connections::new(SLOTS, false));
        let direct = Arc::new(Connections::new(SLOTS, true));
        let slots = [
            fill(&proxied, address("192.0.2.7"), count),
            fill(&direct, address("::ffff:127.0.0.1"), count),
            fill(&direct, address("::1"), count),
        ];
        assert!(slots.iter().flatten().all(|slot| !is_told_to_end(slot) && !slot.is_crowded));
    }
}
