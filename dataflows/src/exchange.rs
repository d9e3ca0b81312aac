//! How updates travel to the workers that own them.
//!
//! Timely's own `Exchange` sends pieces of 8 KiB, and writes them for other processes by `bincode`: each update whole, key and all.
//! But the updates of an epoch come in runs of one key, which differ in item and count alone. So [`Scatter`] sends larger pieces,
//! and what goes to another process is packed ([`Pack`]): the key once a run, the items as they are, the counts in as few bytes as
//! they need. Between the threads of a process nothing is packed: the vector itself changes hands.
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

use crate::item::ItemKey;
use crate::label::Label;
use crate::plan::Key;
use crate::{Epoch, Tally};

/// Updates in a piece, and in all pieces that wait to be full.
const PIECE_UPDATES: std::ops::Range<usize> = 128..4096;
const WAITING_UPDATES: usize = 64 << 10;
const ITEM_BYTES: usize = 16;

/// What can be packed for another process.
pub trait Pack: Sized + Send + 'static {
    /// Appends `updates` to `bytes`.
    fn pack(updates: &[Self], bytes: &mut Vec<u8>);

    /// Reads what [`Self::pack`] has written, which bytes of any value may follow. None if it is damaged.
    fn unpack(bytes: &[u8]) -> Option<Vec<Self>>;
}

/// A contract that brings each update to the worker whose number is what the function gives, modulo the number of workers.
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

/// The updates for each worker that wait until a piece is full, or the epoch's are all there.
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

fn send<T: Clone, U, P: Push<Message<T, Vec<U>>>>(piece: &mut Vec<U>, stamp: &Stamp<T>, pusher: &mut P) {
    Message::push_at(piece, stamp.clone(), pusher);
}

/// A piece that may travel to another process.
pub struct Packed<U> {
    updates: Vec<U>,
    /// Timely asks how long it is before it asks for it.
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
            // Timely keeps messages aligned.
            bytes.resize(bytes.len().next_multiple_of(8), 0);
            bytes
        })
    }
}

impl<U: Pack> ContainerBytes for Packed<U> {
    /// # Panics
    /// If the bytes are damaged: the process at the other end is not the same program, and no answer is better than a wrong one.
    #[expect(clippy::expect_used, reason = "timely has no other way to say so")]
    fn from_bytes(bytes: Bytes) -> Self {
        let updates = U::unpack(&bytes).expect("what another process sends can be unpacked");
        Self { updates, bytes: OnceCell::new() }
    }

    fn length_in_bytes(&self) -> usize {
        self.bytes().len()
    }

    #[expect(clippy::expect_used, reason = "timely has made room for so many bytes")]
    fn into_bytes<W: Write>(&self, writer: &mut W) {
        writer.write_all(self.bytes()).expect("room for a message");
    }
}

/// Gives pieces to a channel of timely's.
pub struct Packing<T, U>(Box<dyn Push<Message<T, Packed<U>>>>);

impl<T, U> Push<Message<T, Vec<U>>> for Packing<T, U> {
    fn push(&mut self, message: &mut Option<Message<T, Vec<U>>>) {
        let packed = |updates| Packed { updates, bytes: OnceCell::new() };
        let mut pushed = message.take().map(|message| map(message, packed));
        self.0.push(&mut pushed);
        // Those that were packed are handed back, to be used again.
        *message = pushed.map(|pushed| {
            map(pushed, |mut packed| {
                packed.updates.clear();
                packed.updates
            })
        });
    }
}

/// Takes pieces from a channel of timely's.
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

fn map<T, C, D>(message: Message<T, C>, change: impl FnOnce(C) -> D) -> Message<T, D> {
    let Message { stamp, data, from, seq } = message;
    Message { stamp, data: change(data), from, seq }
}

/// The updates of one key and time are a run: the key, how many they are, their items, and their counts.
impl Pack for (Tally, Epoch, i64) {
    fn pack(updates: &[Self], bytes: &mut Vec<u8>) {
        bytes.reserve(updates.len() * (ITEM_BYTES + 2));
        put(bytes, updates.len() as u64);
        for run in updates.chunk_by(|((a, _), at, _), ((b, _), bt, _)| at == bt && a == b) {
            let ((key, _), time, _) = &run[0];
            put(bytes, key.grouping.into());
            put(bytes, zigzag(key.bucket));
            for label in [&key.country, &key.device] {
                put(bytes, label.as_str().len() as u64);
                bytes.extend_from_slice(label.as_str().as_bytes());
            }
            put(bytes, *time);
            put(bytes, run.len() as u64);
            for ((_, item), _, _) in run {
                let [a, b] = item.to_bits();
                bytes.extend_from_slice(&a.to_le_bytes());
                bytes.extend_from_slice(&b.to_le_bytes());
            }
            run.iter().for_each(|(_, _, diff)| put(bytes, zigzag(*diff)));
        }
    }

    fn unpack(bytes: &[u8]) -> Option<Vec<Self>> {
        let mut rest = Rest(bytes);
        let count = usize::try_from(rest.number()?).ok()?;
        // What is claimed costs nothing until it is there.
        let mut updates = Vec::with_capacity(count.min(bytes.len() / ITEM_BYTES));
        while updates.len() < count {
            let grouping = u32::try_from(rest.number()?).ok()?;
            let bucket = unzigzag(rest.number()?);
            let (country, device) = (rest.label()?, rest.label()?);
            let key = Key { grouping, bucket, country, device };
            let time = rest.number()?;
            let run = usize::try_from(rest.number()?).ok().filter(|run| (1..=count - updates.len()).contains(run))?;
            let (items, _) = rest.take(run.checked_mul(ITEM_BYTES)?)?.as_chunks::<8>();
            for item in items.chunks_exact(2) {
                let item = ItemKey::from_bits([item[0], item[1]].map(u64::from_le_bytes));
                updates.push(((key.clone(), item), time, unzigzag(rest.number()?)));
            }
        }
        Some(updates)
    }
}

/// Writes a number, seven bits a byte, the lowest first.
fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// Small numbers of either sign as small numbers without.
fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

/// What is left to be read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for (index, byte) in self.0.iter().take(10).enumerate() {
            number |= u64::from(byte & 0x7f) << (7 * index);
            if *byte < 0x80 {
                self.0 = &self.0[index + 1..];
                return Some(number);
            }
        }
        None
    }

    fn label(&mut self) -> Option<Label> {
        let length = usize::try_from(self.number()?).ok()?;
        std::str::from_utf8(self.take(length)?).ok().map(Label::new)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::definition::ItemKind;

    fn update() -> impl Strategy<Value = (Tally, Epoch, i64)> {
        let numbers = (0u32..3, prop_oneof![0i64..3, any::<i64>()], 0u32..50, prop_oneof![1u64..3, any::<u64>()]);
        (
            numbers,
            prop_oneof![-3i64..300, any::<i64>()],
            prop::sample::select(vec!["", "US", "a device with a long name"]),
        )
            .prop_map(|((grouping, bucket, item, time), diff, text)| {
                let key = Key { grouping, bucket, country: Label::new(text), device: Label::new("") };
                ((key, ItemKey::new(ItemKind::Track, &item.to_string())), time, diff)
            })
    }

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(mut updates in prop::collection::vec(update(), 0..300), sorted: bool, padding in 0usize..8) {
            if sorted {
                updates.sort();
            }
            let mut bytes = Vec::new();
            Pack::pack(&updates, &mut bytes);
            bytes.resize(bytes.len() + padding, 0xff);
            prop_assert_eq!(<(Tally, Epoch, i64)>::unpack(&bytes), Some(updates));
        }

        /// Bytes that nobody has packed are refused, or give some updates: no more than there are bytes.
        #[test]
        fn damaged_bytes_end_nothing(
            updates in prop::collection::vec(update(), 1..20),
            changes in prop::collection::vec((any::<usize>(), any::<u8>()), 1..4),
            length in any::<usize>(),
        ) {
            let mut bytes = Vec::new();
            Pack::pack(&updates, &mut bytes);
            for (at, byte) in changes {
                let length = bytes.len();
                bytes[at % length] = byte;
            }
            bytes.truncate(length % (bytes.len() + 1));
            let unpacked = <(Tally, Epoch, i64)>::unpack(&bytes).unwrap_or_default();
            prop_assert!(unpacked.len() <= bytes.len());
        }
    }

    #[test]
    fn a_run_costs_seventeen_bytes_an_update() {
        let key = Key { grouping: 1, bucket: 20_000, country: Label::new("US"), device: Label::default() };
        let item = |number: u32| ItemKey::new(ItemKind::Track, &number.to_string());
        let updates: Vec<_> = (0..1000).map(|number| ((key.clone(), item(number)), 1_795_635_000_000, 3)).collect();
        let mut bytes = Vec::new();
        Pack::pack(&updates, &mut bytes);
        assert!(bytes.len() < 17_100, "{}", bytes.len());
    }
}
