//! Long answers that are made while clients read them.
//!
//! Such an answer is never in memory as a whole. Its cost is the charts that it reads from, which
//! stay in memory as they were when it began. So only a few are read at the same time: each reader
//! has a slot. When all slots are taken, a client that is some seconds behind the least rate loses
//! its slot to the next client, and the charts that it held are released. One client address may
//! hold a quarter of the slots (see `connections.rs`).

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::{Bytes, HttpBody};
use hyper::body::Frame;

use super::connections::{ADDRESS_SHARE, ClientAddress};
use super::write_timeout::{LEAST_RATE, Pace};

/// How fast a client must read to keep its slot when others want it.
const SLOT_PACE: Pace = Pace { patience: Duration::from_secs(5), least_rate: LEAST_RATE };

/// Marks a response whose body is made while it is read, so that the middleware does not collect
/// the body in memory.
#[derive(Clone, Copy)]
pub struct Streamed;

/// Makes an answer, piece by piece.
pub type Pieces = Box<dyn Iterator<Item = Bytes> + Send>;

/// The slots of the clients that read at the same time.
pub struct Readers {
    max: usize,
    pace: Pace,
    slots: Mutex<Vec<TakenSlot>>,
}

/// A slot that is taken, and the address of the client that has it.
struct TakenSlot {
    client: ClientAddress,
    slot: Arc<Mutex<Slot>>,
}

struct Slot {
    /// None before the answer is ready to be read, and after another reader has got the slot.
    pieces: Option<Pieces>,
    pace: Pace,
    /// From this instant on the client is behind its pace, and another client may get the slot.
    due: Instant,
}

/// The body of a long answer. Its slot is free once this is dropped.
pub struct Reading(Arc<Mutex<Slot>>);

impl Readers {
    /// `max` free slots.
    pub fn new(max: usize) -> Self {
        Self { max, pace: SLOT_PACE, slots: Mutex::default() }
    }

    /// Begins an answer, if there is a slot for the `client`; none if clients that read fast enough
    /// have all slots that it could get. `make` runs only once there is a slot, so that a client
    /// without one causes no work; and no lock is held meanwhile.
    ///
    /// # Errors
    /// The error of `make`.
    pub fn open<E>(
        &self,
        client: ClientAddress,
        make: impl FnOnce() -> Result<Pieces, E>,
    ) -> Result<Option<Reading>, E> {
        let Some(slot) = self.take(client, Instant::now()) else { return Ok(None) };
        let pieces = make()?;
        lock(&slot).pieces = Some(pieces);
        Ok(Some(Reading(slot)))
    }

    fn take(&self, client: ClientAddress, now: Instant) -> Option<Arc<Mutex<Slot>>> {
        let mut slots = lock(&self.slots);
        slots.retain(|taken| Arc::strong_count(&taken.slot) > 1);
        let of_client = slots.iter().filter(|taken| client.0.is_some() && taken.client == client).count();
        let has_its_share = of_client >= (self.max / ADDRESS_SHARE).max(1);
        if has_its_share || slots.len() >= self.max {
            let candidates = slots.iter().enumerate().filter(|(_, taken)| !has_its_share || taken.client == client);
            let (index, due) =
                candidates.map(|(index, taken)| (index, lock(&taken.slot).due)).min_by_key(|(_, due)| *due)?;
            if due > now {
                return None;
            }
            lock(&slots.swap_remove(index).slot).pieces = None;
        }
        let slot = Arc::new(Mutex::new(Slot { pieces: None, pace: self.pace, due: now + self.pace.patience }));
        slots.push(TakenSlot { client, slot: slot.clone() });
        Some(slot)
    }
}

impl HttpBody for Reading {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let mut slot = lock(&self.0);
        let Some(pieces) = &mut slot.pieces else {
            let lost = "the client read too slowly, and another has its place";
            return Poll::Ready(Some(Err(io::Error::other(lost))));
        };
        let piece = pieces.next();
        let pace = slot.pace;
        let time = pace.time_for(piece.as_ref().map_or(0, Bytes::len));
        slot.due = slot.due.min(Instant::now() + pace.patience) + time;
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::net::IpAddr;

    use super::*;

    const ANYBODY: ClientAddress = ClientAddress(None);

    /// An endless answer in pieces of `size` bytes.
    fn open(readers: &Readers, client: ClientAddress, size: usize, held: &Arc<()>) -> Option<Reading> {
        let held = held.clone();
        let pieces = std::iter::repeat_with(move || Bytes::from(vec![0; size * Arc::strong_count(&held).min(1)]));
        readers.open(client, || Ok::<_, Infallible>(Box::new(pieces) as Pieces)).unwrap()
    }

    fn takes(reading: &mut Reading) -> bool {
        let mut context = Context::from_waker(std::task::Waker::noop());
        match Pin::new(reading).poll_frame(&mut context) {
            Poll::Ready(piece) => piece.unwrap().is_ok(),
            Poll::Pending => panic!("a piece is always there"),
        }
    }

    #[test]
    fn clients_that_read_keep_their_slots() {
        let (readers, held) = (Readers::new(2), Arc::new(()));
        let open = || open(&readers, ANYBODY, 1, &held);
        let (first, second) = (open(), open());
        assert!(first.is_some() && second.is_some() && open().is_none());
        drop(first);
        assert!(takes(&mut open().unwrap()));
    }

    /// Reading a piece now and then does not keep a slot: the average rate counts.
    #[test]
    fn the_slowest_loses_its_slot_and_its_memory() {
        let pace = Pace { patience: Duration::from_millis(50), least_rate: 1000 };
        let (readers, held) = (Readers { pace, ..Readers::new(2) }, Arc::new(()));
        let mut slow = open(&readers, ANYBODY, 1, &held).unwrap();
        let mut fast = open(&readers, ANYBODY, 10_000, &held).unwrap();
        for _ in 0..20 {
            assert!(takes(&mut slow) && takes(&mut fast));
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(takes(&mut slow) && takes(&mut fast));
        let third = open(&readers, ANYBODY, 1, &held);
        assert!(third.is_some() && Arc::strong_count(&held) == 3);
        assert!(!takes(&mut slow) && takes(&mut fast));
    }

    #[test]
    fn no_address_has_more_than_a_quarter_of_the_slots() {
        let (readers, held) = (Readers::new(8), Arc::new(()));
        let [one, other] = [1, 2].map(|last| ClientAddress(Some(IpAddr::from([192, 0, 2, last]))));
        let of = |client| std::iter::from_fn(|| open(&readers, client, 1, &held)).collect::<Vec<Reading>>();
        let (ones, others) = (of(one), of(other));
        assert_eq!((ones.len(), others.len(), of(ANYBODY).len()), (2, 2, 4));
        drop(ones);
        assert_eq!(of(one).len(), 2);
    }

    #[test]
    fn a_client_without_a_slot_causes_no_work() {
        let (readers, held) = (Readers::new(1), Arc::new(()));
        let _first = open(&readers, ANYBODY, 1, &held).unwrap();
        let refused = readers.open(ANYBODY, || -> Result<Pieces, Infallible> { panic!("nothing is to be made") });
        assert!(refused.unwrap().is_none());
    }
}
