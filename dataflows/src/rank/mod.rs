//! The top of every cell, from any differential collection.
//!
//! [`rank`] takes a weighted collection of (key, item) and gives, for every cell that a key counts in, the items with the
//! greatest sums, again as a weighted collection: the multiplicity of (cell, item) is its count, as long as it is in the
//! top. What goes in is what comes out, so the tops of several workers are merged by ranking them once more.
//!
//! A sum belongs in the difference, and nothing is read twice:
//! - an addition that stays below the last count of the top costs one add;
//! - one that reaches it makes its item a candidate, and the cell is settled once, when the epoch closes;
//! - a retraction that may have hit the top makes the cell scan its counts again, once, when the epoch closes.

mod counts;
pub mod digest;
mod top;

use std::cmp::Ordering;
use std::collections::HashMap;
use std::hash::Hash;

use differential_dataflow::lattice::Lattice;
use differential_dataflow::{AsCollection, VecCollection};
use foldhash::fast::RandomState;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::ParallelizationContract;
use timely::order::TotalOrder;
use timely::progress::Timestamp;

use crate::keys::interner::Interner;
use crate::operators::{Closing, EpochFold, Outputs, by_epoch};
use top::{CellTop, differences};

/// What [`rank`] gives.
pub struct Ranked<'scope, T: Timestamp, D: 'static, A: 'static> {
    /// The multiplicity of (cell, item) is its count, as long as it is in the top of the cell.
    pub tops: VecCollection<'scope, T, D, i64>,
    /// What was made of the queries.
    pub answers: StreamVec<'scope, T, A>,
}

/// What a worker's [`rank`] has counted.
pub trait Counted<I, C> {
    /// Whether `item` was ever counted on this worker.
    fn knows(&self, item: &I) -> bool;

    /// The count of `item` in `cell`.
    fn count(&self, cell: &C, item: &I) -> i64;

    /// Calls `visit` with each cell, the sum of all its counts, and the count of `item` in it.
    fn each_cell(&self, item: Option<&I>, visit: &mut dyn FnMut(&C, i64, i64));
}

/// How items are ranked.
pub trait RankRules: 'static {
    /// What a sum is kept by.
    type Key: Clone + Eq + Hash + 'static;
    type Item: Clone + Eq + Hash + 'static;
    type Cell: Clone + Eq + Hash + 'static;
    type Query: Clone + 'static;
    type Answer: Clone + 'static;

    /// The cells that a key counts in. Asked once for each key.
    fn cells(&self, key: &Self::Key) -> Vec<Self::Cell>;

    /// How many items a cell lists.
    fn top(&self, cell: &Self::Cell) -> usize;

    /// Breaks ties: of two items with the same sum the lesser comes first.
    fn order(&self, a: &Self::Item, b: &Self::Item) -> Ordering;

    /// What is made of a query, from the sums at the end of its time.
    fn answer(&self, query: Self::Query, counted: &dyn Counted<Self::Item, Self::Cell>) -> Vec<Self::Answer>;
}

/// Ranks the items of `collection` in each of the cells that its keys count in, and answers `queries`, which come to every worker.
///
/// `pact` brings all updates of an item in a cell to one worker; the tops are those of that worker's items. Only items whose sum
/// is positive are listed.
pub fn rank<'scope, T, R, P>(
    name: &str,
    collection: VecCollection<'scope, T, (R::Key, R::Item), i64>,
    pact: P,
    queries: StreamVec<'scope, T, R::Query>,
    rules: R,
) -> Ranked<'scope, T, (R::Cell, R::Item), R::Answer>
where
    T: Timestamp + Lattice + TotalOrder,
    R: RankRules,
    P: ParallelizationContract<T, Vec<Update<T, R>>>,
{
    let (tops, answers) = by_epoch(name, collection.inner, pact, queries, Tops::new(rules));
    Ranked { tops: tops.as_collection(), answers }
}

impl<T: Timestamp, R: RankRules> EpochFold<T> for Tops<R> {
    type Update = Update<T, R>;
    type Query = R::Query;
    type Outputs = (((R::Cell, R::Item), T, i64), R::Answer);

    fn time_of((_, time, _): &Self::Update) -> Option<&T> {
        Some(time)
    }

    fn update(&mut self, updates: Vec<Self::Update>) {
        self.add(&updates);
    }

    fn query(&mut self, mut queries: Vec<R::Query>) {
        self.queries.append(&mut queries);
    }

    fn close(&mut self, time: &T, (tops, answers): <Self::Outputs as Outputs<T>>::Emit<'_>) -> Closing {
        self.settle(|update, diff| tops((update, time.clone(), diff)));
        for query in std::mem::take(&mut self.queries) {
            self.rules.answer(query, self).into_iter().for_each(&mut *answers);
        }
        Closing::Done
    }
}

/// How the count of an item by a key changes at a time.
type Update<T, R> = ((<R as RankRules>::Key, <R as RankRules>::Item), T, i64);

/// The state of one worker's [`rank`]: what it has counted, and what it last said.
struct Tops<R: RankRules> {
    rules: R,
    items: Interner<R::Item>,
    keys: Interner<R::Key>,
    cells_of_key: Vec<Box<[u32]>>,
    cell_numbers: HashMap<R::Cell, u32, RandomState>,
    cells: Vec<CellTop<R::Cell>>,
    touched: Vec<u32>,
    /// Interner of items; empty between calls.
    found: Vec<u32>,
    /// Those of the open epoch.
    queries: Vec<R::Query>,
}

impl<R: RankRules> Tops<R> {
    fn new(rules: R) -> Self {
        let (items, keys, cells_of_key, cell_numbers) =
            (Interner::default(), Interner::default(), Vec::new(), HashMap::default());
        let (cells, touched, found, queries) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { rules, items, keys, cells_of_key, cell_numbers, cells, touched, found, queries }
    }

    fn add<T>(&mut self, updates: &[Update<T, R>]) {
        let mut items = std::mem::take(&mut self.found);
        self.items.number_all(updates.iter().map(|((_, item), ..)| item), &mut items, |_| ());
        let mut left = &items[..];
        for run in updates.chunk_by(|((a, _), ..), ((b, _), ..)| a == b) {
            let (of_run, behind) = left.split_at(run.len());
            left = behind;
            let number = self.keys.number(&run[0].0.0) as usize;
            if number == self.cells_of_key.len() {
                self.new_key(&run[0].0.0);
            }
            for cell in &self.cells_of_key[number] {
                let diffs = of_run.iter().copied().zip(run.iter().map(|(_, _, diff)| *diff));
                if self.cells[*cell as usize].add(diffs, self.items.all().len()) {
                    self.touched.push(*cell);
                }
            }
        }
        items.clear();
        self.found = items;
    }

    fn new_key(&mut self, key: &R::Key) {
        let cells = self.rules.cells(key).into_iter().map(|cell| {
            *self.cell_numbers.entry(cell).or_insert_with_key(|cell| {
                self.cells.push(CellTop::new(cell.clone(), self.rules.top(cell)));
                self.cells.len() as u32 - 1
            })
        });
        let cells = cells.collect();
        self.cells_of_key.push(cells);
    }

    /// Brings the tops of all cells that may have changed up to date and says what changed in them.
    fn settle(&mut self, mut change: impl FnMut((R::Cell, R::Item), i64)) {
        let mut found = Vec::new();
        for cell in self.touched.drain(..) {
            let cell = &mut self.cells[cell as usize];
            let (items, rules) = (&self.items, &self.rules);
            let before = cell.settle(&mut found, |a, b| rules.order(items.get(a), items.get(b)));
            for (item, diff) in differences(before, &cell.top) {
                change((cell.cell.clone(), items.get(item).clone()), diff);
            }
        }
    }
}

impl<R: RankRules> Counted<R::Item, R::Cell> for Tops<R> {
    fn knows(&self, item: &R::Item) -> bool {
        self.items.find(item).is_some()
    }

    fn count(&self, cell: &R::Cell, item: &R::Item) -> i64 {
        match (self.cell_numbers.get(cell), self.items.find(item)) {
            (Some(cell), Some(item)) => self.cells[*cell as usize].counts.get(item),
            _ => 0,
        }
    }

    fn each_cell(&self, item: Option<&R::Item>, visit: &mut dyn FnMut(&R::Cell, i64, i64)) {
        let item = item.and_then(|item| self.items.find(item));
        for cell in &self.cells {
            visit(&cell.cell, cell.sum, item.map_or(0, |item| cell.counts.get(item)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Key `k` counts in the cells `k` and 9, which list as many items as this says.
    struct Pairs(usize);

    impl RankRules for Pairs {
        type Key = u8;
        type Item = u32;
        type Cell = u8;
        type Query = ();
        type Answer = ();

        fn cells(&self, key: &u8) -> Vec<u8> {
            vec![*key, 9]
        }

        fn top(&self, _cell: &u8) -> usize {
            self.0
        }

        fn order(&self, a: &u32, b: &u32) -> Ordering {
            a.cmp(b)
        }

        fn answer(&self, (): (), _counted: &dyn Counted<u32, u8>) -> Vec<()> {
            Vec::new()
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// The top is what sorting gives, also where so many items are candidates that a cell looks at all of them.
        #[test]
        fn tops_of_many_items_are_sorted(
            epochs in prop::collection::vec((any::<bool>(), prop::collection::vec((0u32..3000, -2i64..6), 0..4000)), 1..5),
            k in 0usize..20,
        ) {
            let mut tops = Tops::new(Pairs(k));
            let (mut counts, mut said) = (BTreeMap::<(u8, u32), i64>::new(), BTreeMap::<(u8, u32), i64>::new());
            for (odd, updates) in epochs {
                let updates: Vec<_> = updates.iter().map(|(item, diff)| ((u8::from(odd), *item), (), *diff)).collect();
                tops.add(&updates);
                for ((key, item), (), diff) in updates {
                    [key, 9].into_iter().for_each(|cell| *counts.entry((cell, item)).or_default() += diff);
                }
                tops.settle(|top, diff| *said.entry(top).or_default() += diff);
                said.retain(|_, count| *count != 0);
                let mut expected = BTreeMap::new();
                for cell in [0, 1, 9] {
                    let of_cell = counts.iter().filter(|((of, _), count)| *of == cell && **count > 0);
                    let mut of_cell: Vec<_> = of_cell.map(|((_, item), count)| (Reverse(*count), *item)).collect();
                    of_cell.sort_unstable();
                    expected.extend(of_cell.into_iter().take(k).map(|(Reverse(count), item)| ((cell, item), count)));
                }
                prop_assert_eq!(&said, &expected);
            }
        }
    }
}
