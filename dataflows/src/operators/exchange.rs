//! The exchange of updates between workers.
//!
//! Timely's own `Exchange` sends pieces of 8 KiB, and serializes them for other processes with
//! `bincode`: each update in full, with its key. The updates of an epoch, however, come in runs of
//! one key, and differ only in item and count. [`Scatter`] sends larger pieces, and packs those for
//! other processes ([`Pack`]): the key once for each run, items as they are, counts in as few bytes
//! as they need. Between threads of a process nothing is packed: the vector is moved.
//!
//! `scripts/bench exchange` compares this with `bincode`, `columnar` and `abomonation`.

use std::cell::OnceCell;
use std::io::Write;
use std::rc::Rc;

use timely::Accountable;
use timely::bytes::arc::Bytes;
use timely::communication::{Pull, Push};
use timely::dataflow::channels::pact::{LogPuller, LogPusher, ParallelizationContract};
use timely::dataflow::channels::pushers::Exchange;
use timely::dataflow::channels::pushers::exchange::Distributor;
use timely::dataflow::channels::{ContainerBytes, Message};
use timely::logging::TimelyLogger;
use timely::progress::{Stamp, Timestamp};
use timely::worker::Worker;

/// The limits of the size of a full piece, and the most updates in all pieces that are not full
/// (unless there are very many workers).
const PIECE_UPDATES: std::ops::Range<usize> = 128..4096;
const WAITING_UPDATES: usize = 64 << 10;

/// An update that can be packed for another process.
pub trait Pack: Sized + Send + 'static {
    /// Appends `updates` to `bytes`.
    fn pack(updates: &[Self], bytes: &mut Vec<u8>);

    /// The inverse of [`Self::pack`]; `bytes` may have any bytes after the packed ones. `None` if
    /// they are damaged.
    fn unpack(bytes: &[u8]) -> Option<Vec<Self>>;
}

/// An exchange by a function: an update goes to the worker whose index is the result modulo the
/// number of workers.
pub struct Scatter<F>(pub F);

impl<T, U, F> ParallelizationContract<T, Vec<U>> for Scatter<F>
where
    T: Timestamp,
    U: Pack,
    F: FnMut(&U) -> u64 + 'static,
{
    type Pusher = Exchange<T, LogPusher<Packing<T, U>>, Pieces<U, F>>;
    type Puller = LogPuller<Unpacking<T, U>>;

    fn connect(
        self,
        worker: &Worker,
        identifier: usize,
        address: Rc<[usize]>,
        logging: Option<TimelyLogger>,
    ) -> (Self::Pusher, Self::Puller) {
        let (pushers, puller) = worker.allocate::<Message<T, Packed<U>>>(identifier, address);
        let (own, peers) = (worker.index(), worker.peers());
        let pushers = pushers.into_iter().enumerate();
        let pushers = pushers.map(|(to, pusher)| LogPusher::new(Packing(pusher), own, to, identifier, logging.clone()));
        let updates_max = (WAITING_UPDATES / peers).clamp(PIECE_UPDATES.start, PIECE_UPDATES.end);
        let pieces = Pieces { waiting: (0..peers).map(|_| Vec::new()).collect(), updates_max, route: self.0 };
        let puller = LogPuller::new(Unpacking { puller, current: None }, own, identifier, logging.clone());
        (Exchange::new(pushers.collect(), pieces), puller)
    }
}

/// The updates for each worker that wait until a piece is full, or until timely flushes the epoch.
pub struct Pieces<U, F> {
    waiting: Vec<Vec<U>>,
    updates_max: usize,
    route: F,
}

impl<U, F: FnMut(&U) -> u64> Distributor<Vec<U>> for Pieces<U, F> {
    fn partition<T: Clone, P: Push<Message<T, Vec<U>>>>(
        &mut self,
        container: &mut Vec<U>,
        stamp: &Stamp<T>,
        pushers: &mut [P],
    ) {
        let peers = pushers.len() as u64;
        for update in container.drain(..) {
            let to = ((self.route)(&update) % peers) as usize;
            self.waiting[to].push(update);
            if self.waiting[to].len() >= self.updates_max {
                send(&mut self.waiting[to], stamp, &mut pushers[to]);
            }
        }
    }

    fn flush<T: Clone, P: Push<Message<T, Vec<U>>>>(&mut self, stamp: &Stamp<T>, pushers: &mut [P]) {
        for (waiting, pusher) in self.waiting.iter_mut().zip(pushers) {
            if !waiting.is_empty() {
                send(waiting, stamp, pusher);
            }
        }
    }
}

/// Sends a piece, and leaves it empty.
fn send<T: Clone, U, P: Push<Message<T, Vec<U>>>>(piece: &mut Vec<U>, stamp: &Stamp<T>, pusher: &mut P) {
    Message::push_at(piece, stamp.clone(), pusher);
}

/// A piece that may be sent to another process.
pub struct Packed<U> {
    updates: Vec<U>,
    /// The packed updates: timely asks for their length first, and then for the bytes.
    bytes: OnceCell<Vec<u8>>,
}

impl<U> Accountable for Packed<U> {
    fn record_count(&self) -> i64 {
        self.updates.record_count()
    }
}

impl<U: Pack> Packed<U> {
    fn bytes(&self) -> &[u8] {
        self.bytes.get_or_init(|| {
            let mut bytes = Vec::new();
            U::pack(&self.updates, &mut bytes);
            // Timely requires a multiple of 8 bytes.
            bytes.resize(bytes.len().next_multiple_of(8), 0);
            bytes
        })
    }
}

impl<U: Pack> ContainerBytes for Packed<U> {
    /// # Panics
    /// If the bytes are damaged: the other process is not the same program, and the charts would be
    /// wrong.
    #[expect(clippy::expect_used, reason = "timely expects no error")]
    fn from_bytes(bytes: Bytes) -> Self {
        let updates = U::unpack(&bytes).expect("another process sends updates that can be unpacked");
        Self { updates, bytes: OnceCell::new() }
    }

    fn length_in_bytes(&self) -> usize {
        self.bytes().len()
    }

    #[expect(clippy::expect_used, reason = "timely reserves `length_in_bytes`")]
    fn into_bytes<W: Write>(&self, writer: &mut W) {
        writer.write_all(self.bytes()).expect("room for a message");
    }
}

/// Puts pieces into a channel of timely.
pub struct Packing<T, U>(Box<dyn Push<Message<T, Packed<U>>>>);

impl<T, U> Push<Message<T, Vec<U>>> for Packing<T, U> {
    fn push(&mut self, message: &mut Option<Message<T, Vec<U>>>) {
        let packed = |updates| Packed { updates, bytes: OnceCell::new() };
        let mut pushed = message.take().map(|message| map(message, packed));
        self.0.push(&mut pushed);
        // A channel to another process returns the vector for reuse.
        *message = pushed.map(|pushed| {
            map(pushed, |mut packed| {
                packed.updates.clear();
                packed.updates
            })
        });
    }
}

/// Takes pieces from a channel of timely.
pub struct Unpacking<T, U> {
    puller: Box<dyn Pull<Message<T, Packed<U>>>>,
    current: Option<Message<T, Vec<U>>>,
}

impl<T, U> Pull<Message<T, Vec<U>>> for Unpacking<T, U> {
    fn pull(&mut self) -> &mut Option<Message<T, Vec<U>>> {
        self.current = self.puller.recv().map(|message| map(message, |packed| packed.updates));
        &mut self.current
    }
}

/// Changes the data of a message.
fn map<T, C, D>(message: Message<T, C>, change: impl FnOnce(C) -> D) -> Message<T, D> {
    let Message { stamp, data, from, seq } = message;
    Message { stamp, data: change(data), from, seq }
}
