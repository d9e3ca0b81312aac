//! `rank` equals sorting at every epoch, for any additions and retractions, in any order, on any
//! number of workers.

mod support;

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use differential_dataflow::input::InputSession;
use proptest::prelude::*;
use reprise_dataflows::rank::{Counted, RankRules, rank};
use support::{Captured, Workers, at, capture, top, workers};
use timely::dataflow::ProbeHandle;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::vec::ToStream;

type Update = ((u8, u16), i64);

fn hash(data: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    data.hash(&mut hasher);
    hasher.finish()
}

/// Key `k` counts in the cells `k % 3` and 10. The list of cell 10 is twice as long.
fn cells(key: &u8) -> Vec<u8> {
    vec![key % 3, 10]
}

fn size(k: usize, cell: u8) -> usize {
    if cell == 10 { 2 * k } else { k }
}

/// Ties go to the greater item.
struct Rules {
    cells: fn(&u8) -> Vec<u8>,
    k: usize,
}

impl RankRules for Rules {
    type Key = u8;
    type Item = u16;
    type Cell = u8;
    type Query = ();
    type Answer = ();

    fn cells(&self, key: &u8) -> Vec<u8> {
        (self.cells)(key)
    }

    fn top(&self, cell: &u8) -> usize {
        size(self.k, *cell)
    }

    fn order(&self, a: &u16, b: &u16) -> Ordering {
        b.cmp(a)
    }

    fn answer(&self, (): (), _counted: &dyn Counted<u16, u8>) -> Vec<()> {
        Vec::new()
    }
}

/// Ranks the updates of each epoch by item on each worker, and merges the tops. Ties go to the
/// greater item.
fn run(epochs: &[Vec<Update>], workers: Workers, k: usize, in_turn: bool) -> Captured<(u8, u16)> {
    let captured = Captured::default();
    let (epochs, output) = (epochs.to_vec(), captured.clone());
    timely::execute(workers.config(), move |worker| {
        let mut input = InputSession::<u64, (u8, u16), i64>::new();
        let probe = ProbeHandle::new();
        worker.dataflow(|scope| {
            let by_item = Exchange::new(|((_, item), _, _): &((u8, u16), u64, i64)| hash(item));
            let by_cell = Exchange::new(|((cell, _), _, _): &((u8, u16), u64, i64)| hash(cell));
            let no_queries = || None::<()>.to_stream(scope);
            let owned = rank("Own", input.to_collection(scope), by_item, no_queries(), Rules { cells, k }).tops;
            let itself = |cell: &u8| vec![*cell];
            let merged = rank("Merge", owned, by_cell, no_queries(), Rules { cells: itself, k }).tops;
            capture(merged, &output, &probe);
        });
        for (epoch, updates) in (0..).zip(&epochs) {
            let mine = updates.iter().skip(worker.index()).step_by(worker.peers());
            mine.for_each(|(data, diff)| input.update_at(*data, epoch, *diff));
            if in_turn {
                input.advance_to(epoch + 1);
                input.flush();
                worker.step_while(|| probe.less_than(&(epoch + 1)));
            }
        }
    })
    .unwrap();
    captured
}

fn check(epochs: &[Vec<Update>], workers: Workers, k: usize, in_turn: bool) {
    let captured = run(epochs, workers, k, in_turn);
    let mut counts = BTreeMap::<u8, BTreeMap<std::cmp::Reverse<u16>, i64>>::new();
    for (epoch, updates) in (0..).zip(epochs) {
        for ((key, item), diff) in updates {
            for cell in cells(key) {
                *counts.entry(cell).or_default().entry(std::cmp::Reverse(*item)).or_default() += diff;
            }
        }
        let expected: BTreeMap<(u8, u16), i64> = counts
            .iter()
            .flat_map(|(cell, counts)| {
                top(counts.clone(), size(k, *cell)).into_iter().map(|(item, count)| ((*cell, item.0), count))
            })
            .collect();
        assert_eq!(at(&captured, epoch), expected, "epoch {epoch}, {workers:?}, in turn: {in_turn}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Counts go up and down, even below zero, and the top follows.
    #[test]
    fn equals_sorting(
        epochs in prop::collection::vec(prop::collection::vec(((0u8..6, 0u16..40), -3i64..6), 0..60), 1..8),
        workers in workers(),
        k in 1usize..12,
        in_turn in any::<bool>(),
    ) {
        check(&epochs, workers, k, in_turn);
    }

    /// As with panes, a later epoch retracts everything that an epoch has added.
    #[test]
    fn follows_a_window(
        panes in prop::collection::vec(prop::collection::vec(((0u8..2, 0u16..300), 1i64..4), 0..200), 1..6),
        workers in workers(),
    ) {
        let mut epochs = panes.clone();
        epochs.extend(vec![Vec::new(); 2]);
        for (epoch, pane) in panes.iter().enumerate() {
            epochs[epoch + 2].extend(pane.iter().map(|(data, diff)| (*data, -diff)));
        }
        check(&epochs, workers, 10, true);
    }
}
