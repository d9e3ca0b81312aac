//! The cost of sending an epoch's tallies to another process with four encodings: bytes and
//! nanoseconds per update.
//!
//! `scripts/bench exchange` runs it. `bincode` is timely's encoding of a vector. `columnar` is a
//! container of columns, which the receiver reads in place; our operators take vectors, so a second
//! row includes the conversion. `abomonation` copies memory and trusts its input: it is here only
//! for comparison. `packed` is the encoding that ships.

use std::hint::black_box;
use std::time::Instant;

use abomonation::Abomonation;
use columnar::bytes::stash::Stash;
use columnar::{Columnar, Index};
use reprise_dataflows::Tally;
use reprise_dataflows::keys::item::ItemKey;
use reprise_dataflows::keys::item::ItemKind;
use reprise_dataflows::keys::label::Label;
use reprise_dataflows::operators::exchange::Pack;
use reprise_dataflows::rules::plan::Key;
use timely::dataflow::channels::ContainerBytes;
use timely_bytes::arc::BytesMut;

type Update = (Tally, u64, i64);

const ROUNDS: usize = 30;
const COUNTRIES: [&str; 10] = ["US", "UK", "CA", "AU", "FR", "DE", "ES", "BR", "MX", "JP"];

/// An update for `columnar` and `abomonation`, whose traits cannot be implemented for our types
/// here.
#[derive(Clone, Columnar)]
struct Flat {
    grouping: u32,
    bucket: i64,
    country: String,
    device: String,
    item: (u64, u64),
    epoch: u64,
    diff: i64,
}

impl Abomonation for Flat {
    unsafe fn entomb<W: std::io::Write>(&self, write: &mut W) -> std::io::Result<()> {
        unsafe { self.country.entomb(write)? };
        unsafe { self.device.entomb(write) }
    }

    unsafe fn exhume<'a, 'b>(&'a mut self, bytes: &'b mut [u8]) -> Option<&'b mut [u8]> {
        let bytes = unsafe { self.country.exhume(bytes)? };
        unsafe { self.device.exhume(bytes) }
    }

    fn extent(&self) -> usize {
        self.country.extent() + self.device.extent()
    }
}

impl Flat {
    fn of(((key, item), epoch, diff): &Update) -> Self {
        let [a, b] = item.to_bits();
        let [country, device] = [0, 1].map(|place| key.labels.get(place).as_str().to_owned());
        Self { grouping: key.grouping, bucket: key.bucket, country, device, item: (a, b), epoch: *epoch, diff: *diff }
    }
}

fn update(grouping: u32, bucket: i64, country: &str, device: &str, item: [u64; 2], epoch: u64, diff: i64) -> Update {
    let labels = [country, device].map(Label::new).into_iter().collect();
    let key = Key { grouping, bucket, labels };
    ((key, ItemKey::from_bits(item)), epoch, diff)
}

/// The tallies of an epoch of `plays` plays, in the order in which `summarise` sends them: by
/// country, then by item.
fn epoch(plays: usize, songs: u64) -> Vec<Update> {
    let mut state = 1u64;
    let mut random = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    let mut counts = std::collections::BTreeMap::<(usize, u64), i64>::new();
    for _ in 0..plays {
        // A few songs have most of the plays.
        let song = (songs as f64).powf(random()) as u64;
        *counts.entry(((random() * 10.0) as usize, song)).or_default() += 1;
    }
    let item = |song: u64| ItemKey::new(ItemKind::TRACK, &song.to_string()).to_bits();
    let counts = counts.into_iter();
    counts
        .map(|((country, song), count)| update(1, 20_400, COUNTRIES[country], "", item(song), 1_795_635_000_000, count))
        .collect()
}

/// Runs `work` over pieces of `piece` updates. Returns nanoseconds per update.
fn time(updates: &[Update], piece: usize, mut work: impl FnMut(&[Update])) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let began = Instant::now();
        updates.chunks(piece).for_each(&mut work);
        best = best.min(began.elapsed().as_secs_f64());
    }
    best * 1e9 / updates.len() as f64
}

struct Row {
    name: &'static str,
    bytes: f64,
    write_ns: f64,
    read_ns: f64,
    note: &'static str,
}

/// Measures an encoding: `write` encodes a piece, and `read` decodes it into the operators' input.
fn measure<W>(
    name: &'static str,
    note: &'static str,
    pieces: &[W],
    updates: usize,
    write: impl Fn(&W, &mut Vec<u8>),
    read: impl Fn(Vec<u8>) -> usize,
) -> Row {
    let (mut write_s, mut read_s, mut bytes) = (f64::MAX, f64::MAX, 0);
    for _ in 0..ROUNDS {
        let began = Instant::now();
        let mut written = Vec::new();
        for piece in pieces {
            let mut bytes = Vec::new();
            write(piece, &mut bytes);
            written.push(bytes);
        }
        write_s = write_s.min(began.elapsed().as_secs_f64());
        bytes = written.iter().map(Vec::len).sum();
        let began = Instant::now();
        let found: usize = written.into_iter().map(|bytes| black_box(read(bytes))).sum();
        read_s = read_s.min(began.elapsed().as_secs_f64());
        assert_eq!(found, updates, "{name} loses updates");
    }
    let each = |seconds: f64| seconds * 1e9 / updates as f64;
    Row { name, bytes: bytes as f64 / updates as f64, write_ns: each(write_s), read_ns: each(read_s), note }
}

fn rows(updates: &[Update]) -> Vec<Row> {
    // Each with the size of its messages: timely's default, and ours.
    let small: Vec<Vec<Update>> = updates.chunks(8192 / size_of::<Update>()).map(<[_]>::to_vec).collect();
    let large: Vec<Vec<Update>> = updates.chunks(4096).map(<[_]>::to_vec).collect();
    let flat: Vec<Vec<Flat>> = updates.chunks(4096).map(|piece| piece.iter().map(Flat::of).collect()).collect();
    let count = updates.len();
    let bincode = |piece: &Vec<Update>, bytes: &mut Vec<u8>| {
        bytes.reserve(piece.length_in_bytes());
        piece.into_bytes(bytes);
    };
    let unbincode = |bytes: Vec<u8>| <Vec<Update>>::from_bytes(BytesMut::from(bytes).freeze()).len();
    type Columns = <Flat as Columnar>::Container;
    let columnar = |piece: &Vec<Update>, bytes: &mut Vec<u8>| {
        let mut columns = Columns::default();
        for ((key, item), epoch, diff) in piece {
            let [a, b] = item.to_bits();
            let [country, device] = [0, 1].map(|place| key.labels.as_slice().get(place).map_or("", Label::as_str));
            let (grouping, bucket) = (key.grouping, key.bucket);
            columnar::Push::push(
                &mut columns,
                FlatReference { grouping, bucket, country, device, item: (a, b), epoch: *epoch, diff: *diff },
            );
        }
        let stash: Stash<Columns, timely_bytes::arc::Bytes> = Stash::Typed(columns);
        bytes.reserve(stash.length_in_bytes());
        stash.write_bytes(bytes).expect("memory can be written");
    };
    let columns = |bytes: Vec<u8>| {
        Stash::<Columns, timely_bytes::arc::Bytes>::try_from_bytes(BytesMut::from(bytes).freeze()).expect("columns")
    };
    let uncolumnar = |bytes: Vec<u8>| {
        let stash = columns(bytes);
        let sum =
            stash.borrow().into_index_iter().map(|row| row.diff + *row.item.0 as i64).fold(0i64, i64::wrapping_add);
        black_box(sum);
        columnar::Len::len(&stash.borrow())
    };
    let vectored = |bytes: Vec<u8>| {
        let stash = columns(bytes);
        let text = |bytes| std::str::from_utf8(bytes).expect("text");
        let rows = stash.borrow().into_index_iter().map(|row| {
            update(
                *row.grouping,
                *row.bucket,
                text(row.country),
                text(row.device),
                [*row.item.0, *row.item.1],
                *row.epoch,
                *row.diff,
            )
        });
        rows.collect::<Vec<Update>>().len()
    };
    let abomonate = |piece: &Vec<Flat>, bytes: &mut Vec<u8>| {
        bytes.reserve(abomonation::measure(piece));
        unsafe { abomonation::encode(piece, bytes) }.expect("memory can be written");
    };
    let unabomonate = |mut bytes: Vec<u8>| {
        let (piece, _) = unsafe { abomonation::decode::<Vec<Flat>>(&mut bytes) }.expect("memory");
        let rows = piece.iter().map(|row| {
            update(row.grouping, row.bucket, &row.country, &row.device, [row.item.0, row.item.1], row.epoch, row.diff)
        });
        rows.collect::<Vec<Update>>().len()
    };
    let pack = |piece: &Vec<Update>, bytes: &mut Vec<u8>| Pack::pack(piece, bytes);
    let unpack = |bytes: Vec<u8>| <Update as Pack>::unpack(&bytes).expect("packed updates").len();
    vec![
        measure("bincode", "timely's default, 8 KiB at once", &small, count, bincode, unbincode),
        measure("bincode", "4096 updates at once", &large, count, bincode, unbincode),
        measure("columnar", "read in place", &large, count, columnar, uncolumnar),
        measure("columnar", "read into vectors", &large, count, columnar, vectored),
        measure("abomonation", "strings beside the memory of a struct", &flat, count, abomonate, unabomonate),
        measure("packed", "as shipped", &large, count, pack, unpack),
    ]
}

fn main() {
    println!("| epoch | updates | encoding | bytes/update | write ns | read ns | |\n|---|---|---|---|---|---|---|");
    for (name, plays, songs) in
        [("wide, behind", 75_000, 100_000), ("wide, 5 ms", 1_000, 100_000), ("narrow, behind", 75_000, 50)]
    {
        let updates = epoch(plays, songs);
        let copy_ns = time(&updates, 4096, |piece| drop(black_box(piece.to_vec())));
        for Row { name: encoding, bytes, write_ns, read_ns, note } in rows(&updates) {
            println!(
                "| {name} | {} | {encoding} | {bytes:.1} | {write_ns:.1} | {read_ns:.1} | {note} |",
                updates.len()
            );
        }
        println!("| {name} | {} | none | {} | | {copy_ns:.1} | a copy in memory |", updates.len(), size_of::<Update>());
    }
}
