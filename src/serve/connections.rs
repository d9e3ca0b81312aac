//! Which connections are open, and which of them ends when there is no room for another.
//!
//! - A connection is *idle* while it waits for a request, and *busy* from the end of the request's header to the end of its
//!   answer. When all places are taken, the one that has been idle longest is closed, and the new one has its place. So
//!   clients that keep connections open, or open them and say nothing, lock nobody out.
//! - If every connection is busy, the new one is let in all the same, but only for the paths that say how the process is; all
//!   else is answered with 503. It is closed after one answer, so this room is never used up.
//! - One client address may hold a quarter of the places; beyond that its own connections are closed first. The bytes of answers
//!   (`budget.rs`) and the seats of long answers (`readers.rs`) have the same limit, by the same address. An IPv6 client
//!   counts by its /64 network, all of which it usually has. Two kinds of address are exempt, because they stand for many
//!   clients: loopback, where a proxy or a tunnel of the same machine comes from, and every address if `--allowed-host` says
//!   that a proxy stands in front. There the proxy has to limit.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

/// Connections of a listener at the same time, if the process may open as many files.
pub const OPEN_MAX: usize = 4096;
/// One client address may hold this part of what a listener has: a quarter.
pub const ADDRESS_SHARE: usize = 4;

/// The address by which a client is limited; none where an address stands for many clients. Each request has one as an extension.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientAddress(pub Option<IpAddr>);

/// All connections of a listener.
pub struct Connections {
    max: usize,
    /// Those of one client address; none where a proxy stands in front.
    of_address_max: Option<usize>,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    last_id: u64,
    count: usize,
    /// By the moment since when they are idle.
    idle: BTreeMap<(Instant, u64), Idle>,
    by_address: HashMap<IpAddr, usize>,
}

struct Idle {
    address: Option<IpAddr>,
    ending: Arc<Notify>,
}

/// The place of one connection. It is given back when this is dropped, or before by [`Connections::admit`].
pub struct ConnectionSlot {
    connections: Arc<Connections>,
    id: u64,
    /// The address that it counts for, if that is limited.
    address: Option<IpAddr>,
    /// Notified when the connection has to end.
    pub ending: Arc<Notify>,
    /// There was no room: only requests that ask how the process is are answered.
    pub is_crowded: bool,
    state: Mutex<State>,
}

#[derive(Clone, Copy)]
enum State {
    Busy,
    Idle(Instant),
    /// Another connection has its place.
    Gone,
}

impl Connections {
    /// Places for `max` connections. `limits_addresses` is false where a proxy stands in front.
    pub fn new(max: usize, limits_addresses: bool) -> Self {
        Self { max, of_address_max: limits_addresses.then_some(max / ADDRESS_SHARE), open: Mutex::default() }
    }

    /// A place for a new connection, which is idle; the connection that had it before is told to end.
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
    /// Ends the connection that has been idle longest of those that fit, if there is one.
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

    /// A request has come. The connection is busy until the result is dropped.
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

/// A request that is being answered.
pub struct Busy(Arc<ConnectionSlot>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.idle_at(Instant::now());
    }
}

/// What a client is counted by; none if it is this machine.
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

    const PLACES: usize = 400;
    const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn is_told_to_end(place: &ConnectionSlot) -> bool {
        let mut ending = std::pin::pin!(place.ending.notified());
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
        let connections = Arc::new(Connections::new(PLACES, true));
        let places = fill(&connections, LOOPBACK, PLACES);
        // The first is busy, and the second was, more recently than the others.
        let busy = places[0].busy();
        drop(places[1].busy());
        let new = connections.admit(LOOPBACK);
        assert!(!new.is_crowded);
        let ended: Vec<bool> = places.iter().take(4).map(|place| is_told_to_end(place)).collect();
        assert_eq!(ended, [false, false, true, false]);
        // It answers nothing more, and its end gives back no second place.
        drop(places[2].busy());
        assert_eq!(connections.open().count, PLACES);
        drop((busy, places, new));
        let open = connections.open();
        assert_eq!((open.count, open.idle.len()), (0, 0));
    }

    #[test]
    fn where_all_are_busy_there_is_room_for_those_who_ask_how_we_are() {
        let connections = Arc::new(Connections::new(PLACES, true));
        let places = fill(&connections, LOOPBACK, PLACES);
        let busy: Vec<Busy> = places.iter().map(|place| place.busy()).collect();
        let crowded = connections.admit(LOOPBACK);
        assert!(crowded.is_crowded);
        // The next has the place of that one, which still is none for other questions.
        assert!(connections.admit(LOOPBACK).is_crowded && is_told_to_end(&crowded));
        assert_eq!(connections.open().count, PLACES);
        drop((crowded, busy));
        assert!(!connections.admit(LOOPBACK).is_crowded);
    }

    #[test]
    fn no_address_has_more_than_a_quarter() {
        let connections = Arc::new(Connections::new(PLACES, true));
        let one = fill(&connections, address("2001:db8::1"), PLACES / 4);
        let other = connections.admit(address("2001:db8:0:1::1"));
        assert!(!is_told_to_end(&one[0]) && !other.is_crowded);
        let more = connections.admit(address("2001:db8::2"));
        assert!(is_told_to_end(&one[0]) && !is_told_to_end(&one[1]) && !more.is_crowded);
        let busy: Vec<Busy> = one.iter().map(|place| place.busy()).collect();
        drop(more);
        let last = connections.admit(address("2001:db8::3"));
        assert!(!last.is_crowded);
        assert!(connections.admit(address("2001:db8::4")).is_crowded || is_told_to_end(&last));
        drop((busy, one, last, other));
        assert!(connections.open().by_address.is_empty());
    }

    /// A proxy brings the requests of many.
    #[test]
    fn what_stands_for_many_clients_is_not_limited() {
        let count = PLACES / 4 + 1;
        let proxied = Arc::new(Connections::new(PLACES, false));
        let direct = Arc::new(Connections::new(PLACES, true));
        let places = [
            fill(&proxied, address("192.0.2.7"), count),
            fill(&direct, address("::ffff:127.0.0.1"), count),
            fill(&direct, address("::1"), count),
        ];
        assert!(places.iter().flatten().all(|place| !is_told_to_end(place) && !place.is_crowded));
    }
}
