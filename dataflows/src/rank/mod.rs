//! The top of every cell, from any differential collection.
//!
//! [`rank`] takes a weighted collection of (key, item). For every cell in which a key counts it
//! emits the items with the greatest sums, again as a weighted collection: the multiplicity of
//! (cell, item) is its sum while the item is in the top. Input and output have the same form: the
//! tops of several workers are merged by ranking them once more.
//!
//! Sums are kept in differences, and no update is read twice:
//! - an addition that stays below the last count of the top costs one addition;
//! - an addition that reaches the last count makes its item a candidate, and the cell is settled
//!   once, when the epoch closes;
//! - a retraction that may have changed the top makes the cell scan its counts once, when the epoch
//!   closes.

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

/// The outputs of [`rank`].
pub struct Ranked<'scope, T: Timestamp, D: 'static, A: 'static> {
    /// The multiplicity of (cell, item) is its count while the item is in the top of the cell.
    pub tops: VecCollection<'scope, T, D, i64>,
    /// The answers to the queries, at the times of the queries.
    pub answers: StreamVec<'scope, T, A>,
}

/// The counts of one worker's [`rank`], for [`RankRules::answer`].
pub trait Counted<I, C> {
    /// Whether this worker has ever counted `item`.
    fn knows(&self, item: &I) -> bool;

    /// The count of `item` in `cell`; 0 if this worker has none.
    fn count(&self, cell: &C, item: &I) -> i64;

    /// Calls `visit` with each cell, the sum of all its counts, and the count of `item` in it.
    fn each_cell(&self, item: Option<&I>, visit: &mut dyn FnMut(&C, i64, i64));
}

/// The cells, the length of their tops, the order of items with equal counts, and the queries of a
/// [`rank`].
///
/// ```
/// use std::cmp::Ordering;
///
/// use differential_dataflow::AsCollection;
/// use reprise_dataflows::rank::{Counted, RankRules, rank};
/// use timely::dataflow::channels::pact::Pipeline;
/// use timely::dataflow::operators::capture::{Capture, Extract};
/// use timely::dataflow::operators::vec::ToStream;
///
/// /// Goals by team: the two best scorers of each team, and how many goals anybody has for a team.
/// struct Scorers;
///
/// impl RankRules for Scorers {
///     type Key = &'static str;
///     type Item = &'static str;
///     type Cell = &'static str;
///     type Query = (&'static str, &'static str);
///     type Answer = i64;
///
///     fn cells(&self, team: &&'static str) -> Vec<&'static str> {
///         vec![*team]
///     }
///     fn top(&self, _team: &&'static str) -> usize {
///         2
///     }
///     fn order(&self, a: &&'static str, b: &&'static str) -> Ordering {
///         a.cmp(b)
///     }
///     fn answer(
///         &self,
///         (team, player): (&'static str, &'static str),
///         counted: &dyn Counted<&'static str, &'static str>,
///     ) -> Vec<i64> {
///         vec![counted.count(&team, &player)]
///     }
/// }
///
/// let (tops, answers) = timely::example(|scope| {
///     let goals = [(("Reds", "Ana"), 0, 3), (("Reds", "Bo"), 0, 1), (("Reds", "Cy"), 0, 5)];
///     let goals = goals.to_stream(scope).as_collection();
///     let queries = [("Reds", "Bo")].to_stream(scope);
///     let ranked = rank("Scorers", goals, Pipeline, queries, Scorers);
///     (ranked.tops.inner.capture(), ranked.answers.capture())
/// });
/// let mut tops: Vec<_> = tops.extract().into_iter().flat_map(|(_, updates)| updates).collect();
/// tops.sort();
/// // Bo is not in the top, but a query finds what was counted.
/// assert_eq!(tops, [(("Reds", "Ana"), 0, 3), (("Reds", "Cy"), 0, 5)]);
/// assert_eq!(answers.extract(), [(0, vec![1])]);
/// ```
pub trait RankRules: 'static {
    /// The key of an update. It stands for some cells.
    type Key: Clone + Eq + Hash + 'static;
    /// The items that are ranked.
    type Item: Clone + Eq + Hash + 'static;
    /// The cells, each of which has a top.
    type Cell: Clone + Eq + Hash + 'static;
    /// A query of the counts; `()` if there are none.
    type Query: Clone + 'static;
    /// A part of the answer to a query.
    type Answer: Clone + 'static;

    /// The cells in which a key counts. Called once for each key.
    fn cells(&self, key: &Self::Key) -> Vec<Self::Cell>;

    /// The length of a full top. Called once for each cell.
    fn top(&self, cell: &Self::Cell) -> usize;

    /// The order of two items with the same sum: the lesser ranks first.
    fn order(&self, a: &Self::Item, b: &Self::Item) -> Ordering;

    /// Answers a query from the sums at the end of its time.
    fn answer(&self, query: Self::Query, counted: &dyn Counted<Self::Item, Self::Cell>) -> Vec<Self::Answer>;
}

/// Ranks the items of `collection` in each cell in which their keys count, and answers `queries`,
/// which have to reach every worker.
///
/// `pact` has to bring all updates of an item in a cell to the same worker. Each worker emits the
/// tops of its own items. A top has only items whose sum is positive.
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

/// A change of the count of an item under a key, at a time.
type Update<T, R> = ((<R as RankRules>::Key, <R as RankRules>::Item), T, i64);

/// The state of one worker's [`rank`]: its counts, and the tops that it has emitted.
struct Tops<R: RankRules> {
    rules: R,
    items: Interner<R::Item>,
    keys: Interner<R::Key>,
    /// The numbers of the cells, by the number of the key.
    cells_of_key: Vec<Box<[u32]>>,
    cell_numbers: HashMap<R::Cell, u32, RandomState>,
    cells: Vec<CellTop<R::Cell>>,
    /// The cells to settle when the epoch closes.
    touched: Vec<u32>,
    /// A buffer for numbers of items; empty between calls.
    found: Vec<u32>,
    /// The queries of the open epoch.
    queries: Vec<R::Query>,
}

impl<R: RankRules> Tops<R> {
    fn new(rules: R) -> Self {
        let (items, keys, cells_of_key, cell_numbers) =
            (Interner::default(), Interner::default(), Vec::new(), HashMap::default());
        let (cells, touched, found, queries) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { rules, items, keys, cells_of_key, cell_numbers, cells, touched, found, queries }
    }

    /// Adds updates to the counts.
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

    /// Sets up the cells of a new key.
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

    /// Updates the tops that may have changed, and passes every change to `change`.
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

    /// A key counts in the cell of its number and in cell 9. Tops have this length.
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

        /// Tops are those of sorting, also if a cell has so many candidates that it scans its
        /// counts.
        #[test]
        fn tops_of_many_items_are_sorted(
            epochs in prop::collection::vec((any::<bool>(), prop::collection::vec((0u32..3000, -2i64..6), 0..4000)), 1..5),
            k in 0usize..20,
        ) {
            let mut tops = Tops::new(Pairs(k));
            let (mut counts, mut emitted) = (BTreeMap::<(u8, u32), i64>::new(), BTreeMap::<(u8, u32), i64>::new());
            for (odd, updates) in epochs {
                let updates: Vec<_> = updates.iter().map(|(item, diff)| ((u8::from(odd), *item), (), *diff)).collect();
                tops.add(&updates);
                for ((key, item), (), diff) in updates {
                    [key, 9].into_iter().for_each(|cell| *counts.entry((cell, item)).or_default() += diff);
                }
                tops.settle(|top, diff| *emitted.entry(top).or_default() += diff);
                emitted.retain(|_, count| *count != 0);
                let mut expected = BTreeMap::new();
                for cell in [0, 1, 9] {
                    let of_cell = counts.iter().filter(|((of, _), count)| *of == cell && **count > 0);
                    let mut of_cell: Vec<_> = of_cell.map(|((_, item), count)| (Reverse(*count), *item)).collect();
                    of_cell.sort_unstable();
                    expected.extend(of_cell.into_iter().take(k).map(|(Reverse(count), item)| ((cell, item), count)));
                }
                prop_assert_eq!(&emitted, &expected);
            }
        }
    }
}
