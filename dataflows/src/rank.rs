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

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

use differential_dataflow::lattice::Lattice;
use differential_dataflow::{AsCollection, VecCollection};
use foldhash::fast::RandomState;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{ParallelizationContract, Pipeline};
use timely::dataflow::operators::vec::ToStream;
use timely::dataflow::operators::{OkErr, Operator};
use timely::order::TotalOrder;
use timely::progress::Timestamp;

use crate::numbers::Numbers;
use crate::stash::{Ready, Stash};
use crate::top::{CellTop, differences};

/// Ranks the items of `collection` in each of the cells that its keys count in.
///
/// `pact` brings all updates of an item in a cell to one worker; the tops are those of that worker's items. `cells` names
/// the cells of a key and is asked once for each key. `top` is how many items a cell lists. `order` breaks ties: of two
/// items with the same count the lesser comes first. Only items whose sum is positive are listed.
pub fn rank<'scope, T, K, I, C, P>(
    collection: VecCollection<'scope, T, (K, I), i64>,
    name: &str,
    pact: P,
    cells: impl Fn(&K) -> Vec<C> + 'static,
    top: impl Fn(&C) -> usize + 'static,
    order: impl Fn(&I, &I) -> Ordering + 'static,
) -> VecCollection<'scope, T, (C, I), i64>
where
    T: Timestamp + Lattice + TotalOrder,
    K: Clone + Eq + Hash + 'static,
    I: Clone + Eq + Hash + 'static,
    C: Clone + Eq + Hash + 'static,
    P: ParallelizationContract<T, Vec<((K, I), T, i64)>>,
{
    let asks_nothing: StreamVec<'scope, T, ()> = None.to_stream(collection.inner.scope());
    rank_and_answer(collection, asks_nothing, name, pact, cells, top, order, |(), _| None::<()>).tops
}

/// What [`rank_and_answer`] gives.
pub struct Ranked<'scope, T: Timestamp, D: 'static, A: 'static> {
    pub tops: VecCollection<'scope, T, D, i64>,
    pub answers: StreamVec<'scope, T, A>,
}

/// Updates of a collection, and answers among them.
pub(crate) type Said<'scope, T, D, A> = StreamVec<'scope, T, Result<(D, T, i64), A>>;

/// What a worker's [`rank`] has counted.
pub trait Counted<I, C> {
    /// Whether `item` was ever counted on this worker.
    fn knows(&self, item: &I) -> bool;

    /// The count of `item` in `cell`.
    fn count(&self, cell: &C, item: &I) -> i64;

    /// Calls `visit` with each cell, the sum of all its counts, and the count of `item` in it.
    fn each_cell(&self, item: Option<&I>, visit: &mut dyn FnMut(&C, i64, i64));
}

/// [`rank`], which also says what `answer` makes of the `questions` that come to this worker, from what has been counted at the
/// end of their time.
#[expect(clippy::too_many_arguments, reason = "those of `rank`, and what is asked")]
pub fn rank_and_answer<'scope, T, K, I, C, P, Q, A, As>(
    collection: VecCollection<'scope, T, (K, I), i64>,
    questions: StreamVec<'scope, T, Q>,
    name: &str,
    pact: P,
    cells: impl Fn(&K) -> Vec<C> + 'static,
    top: impl Fn(&C) -> usize + 'static,
    order: impl Fn(&I, &I) -> Ordering + 'static,
    answer: impl Fn(Q, &dyn Counted<I, C>) -> As + 'static,
) -> Ranked<'scope, T, (C, I), A>
where
    T: Timestamp + Lattice + TotalOrder,
    K: Clone + Eq + Hash + 'static,
    I: Clone + Eq + Hash + 'static,
    C: Clone + Eq + Hash + 'static,
    P: ParallelizationContract<T, Vec<((K, I), T, i64)>>,
    Q: Clone + 'static,
    A: Clone + 'static,
    As: IntoIterator<Item = A>,
{
    let stream: Said<'scope, T, (C, I), A> =
        collection.inner.binary_frontier(questions, pact, Pipeline, name, |_capability, _info| {
            let (mut stash, mut asked) = (Stash::new(), BTreeMap::<T, Vec<Q>>::new());
            let mut tops = Tops::new(cells, top, order);
            move |(input, frontier), (questions, questions_frontier), output| {
                input.for_each_stamp(|capability, data| {
                    if let Some(capability) = capability.retain_least(output.output_index()) {
                        stash.extend_updates(capability, data.map(std::mem::take));
                    }
                });
                questions.for_each_stamp(|capability, data| {
                    if let Some(capability) = capability.retain_least(output.output_index()) {
                        let time = capability.time().clone();
                        asked.entry(time.clone()).or_default().extend(data.flat_map(std::mem::take));
                        stash.extend(time, capability, std::iter::empty());
                    }
                });
                let frontiers = [frontier, questions_frontier];
                while let Some(Ready { time, containers, complete }) = stash.next(&frontiers) {
                    containers.iter().for_each(|container| tops.add(container));
                    let Some(capability) = complete else { break };
                    let mut session = output.session(&capability);
                    tops.settle(|update, diff| session.give(Ok((update, time.clone(), diff))));
                    let questions = asked.remove(&time).into_iter().flatten();
                    let answers = questions.flat_map(|question| answer(question, &tops));
                    answers.for_each(|answer| session.give(Err(answer)));
                }
            }
        });
    let (tops, answers) = stream.ok_err(|said| said);
    Ranked { tops: tops.as_collection(), answers }
}

/// The state of one worker's `rank`: what it counted, and what it last said.
struct Tops<K, I, C, Cells, Top, Order> {
    items: Numbers<I>,
    keys: Numbers<K>,
    cells_of_key: Vec<Box<[u32]>>,
    cell_numbers: HashMap<C, u32, RandomState>,
    cells: Vec<CellTop<C>>,
    touched: Vec<u32>,
    /// Numbers of items; empty between calls.
    found: Vec<u32>,
    cells_of: Cells,
    top_of: Top,
    order: Order,
}

impl<K, I, C, Cells, Top, Order> Tops<K, I, C, Cells, Top, Order>
where
    K: Clone + Eq + Hash,
    I: Clone + Eq + Hash,
    C: Clone + Eq + Hash,
    Cells: Fn(&K) -> Vec<C>,
    Top: Fn(&C) -> usize,
    Order: Fn(&I, &I) -> Ordering,
{
    fn new(cells_of: Cells, top_of: Top, order: Order) -> Self {
        Self {
            items: Numbers::default(),
            keys: Numbers::default(),
            cells_of_key: Vec::new(),
            cell_numbers: HashMap::default(),
            cells: Vec::new(),
            touched: Vec::new(),
            found: Vec::new(),
            cells_of,
            top_of,
            order,
        }
    }

    fn add<T>(&mut self, updates: &[((K, I), T, i64)]) {
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

    fn new_key(&mut self, key: &K) {
        let cells = (self.cells_of)(key).into_iter().map(|cell| {
            *self.cell_numbers.entry(cell).or_insert_with_key(|cell| {
                self.cells.push(CellTop::new(cell.clone(), (self.top_of)(cell)));
                self.cells.len() as u32 - 1
            })
        });
        let cells = cells.collect();
        self.cells_of_key.push(cells);
    }

    /// Brings the tops of all cells that may have changed up to date and says what changed in them.
    fn settle(&mut self, mut change: impl FnMut((C, I), i64)) {
        let mut found = Vec::new();
        for cell in self.touched.drain(..) {
            let cell = &mut self.cells[cell as usize];
            let (items, order) = (&self.items, &self.order);
            let before = cell.settle(&mut found, |a, b| order(items.get(a), items.get(b)));
            for (item, diff) in differences(before, &cell.top) {
                change((cell.cell.clone(), items.get(item).clone()), diff);
            }
        }
    }
}

impl<K, I, C, Cells, Top, Order> Counted<I, C> for Tops<K, I, C, Cells, Top, Order>
where
    I: Eq + Hash,
    C: Eq + Hash,
{
    fn knows(&self, item: &I) -> bool {
        self.items.find(item).is_some()
    }

    fn count(&self, cell: &C, item: &I) -> i64 {
        match (self.cell_numbers.get(cell), self.items.find(item)) {
            (Some(cell), Some(item)) => self.cells[*cell as usize].counts.get(item),
            _ => 0,
        }
    }

    fn each_cell(&self, item: Option<&I>, visit: &mut dyn FnMut(&C, i64, i64)) {
        let item = item.and_then(|item| self.items.find(item));
        for cell in &self.cells {
            visit(&cell.cell, cell.sum, item.map_or(0, |item| cell.counts.get(item)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// The top is what sorting gives, also where so many items are candidates that a cell looks at all of them.
        #[test]
        fn tops_of_many_items_are_sorted(
            epochs in prop::collection::vec((any::<bool>(), prop::collection::vec((0u32..3000, -2i64..6), 0..4000)), 1..5),
            k in 0usize..20,
        ) {
            let mut tops = Tops::new(|key: &u8| vec![*key, 9], move |_| k, Ord::cmp);
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
