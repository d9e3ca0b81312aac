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

use std::cmp::{Ordering, Reverse};
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

use crate::counts::Counts;
use crate::key_numbers::KeyNumbers;
use crate::stash::{Ready, Stash};

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
    numbers: HashMap<I, u32, RandomState>,
    items: Vec<I>,
    keys: KeyNumbers<K>,
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
            numbers: HashMap::default(),
            items: Vec::new(),
            keys: KeyNumbers::default(),
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
        // All items first: they are looked up in a table that no cache holds, and none of that waits for the counts.
        let mut items = std::mem::take(&mut self.found);
        items.extend(updates.iter().map(|((_, item), ..)| self.item_number(item)));
        let mut left = &items[..];
        for run in updates.chunk_by(|((a, _), ..), ((b, _), ..)| a == b) {
            let (of_run, behind) = left.split_at(run.len());
            left = behind;
            let (number, is_new) = self.keys.number(&run[0].0.0);
            if is_new {
                self.new_key(&run[0].0.0);
            }
            for cell in &self.cells_of_key[number] {
                let diffs = of_run.iter().copied().zip(run.iter().map(|(_, _, diff)| *diff));
                if self.cells[*cell as usize].add(diffs, self.items.len()) {
                    self.touched.push(*cell);
                }
            }
        }
        items.clear();
        self.found = items;
    }

    #[expect(clippy::expect_used, reason = "the items would have filled the memory long before")]
    fn item_number(&mut self, item: &I) -> u32 {
        if let Some(number) = self.numbers.get(item) {
            return *number;
        }
        let number = u32::try_from(self.items.len()).expect("fewer than 2^32 items on a worker");
        self.numbers.insert(item.clone(), number);
        self.items.push(item.clone());
        number
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
            let before = cell.settle(&mut found, |a, b| order(&items[a as usize], &items[b as usize]));
            for (item, diff) in differences(before, &cell.top) {
                change((cell.cell.clone(), items[item as usize].clone()), diff);
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
        self.numbers.contains_key(item)
    }

    fn count(&self, cell: &C, item: &I) -> i64 {
        match (self.cell_numbers.get(cell), self.numbers.get(item)) {
            (Some(cell), Some(item)) => self.cells[*cell as usize].counts.get(*item),
            _ => 0,
        }
    }

    fn each_cell(&self, item: Option<&I>, visit: &mut dyn FnMut(&C, i64, i64)) {
        let item = item.and_then(|item| self.numbers.get(item));
        for cell in &self.cells {
            visit(&cell.cell, cell.sum, item.map_or(0, |item| cell.counts.get(*item)));
        }
    }
}

/// One count in so many is enough candidates to look at all counts, if there are as many as is worth a thought.
const MANY: usize = 8;
const CANDIDATES_MIN: usize = 1024;

/// One cell: its counts, and its top as last settled.
struct CellTop<C> {
    cell: C,
    k: usize,
    counts: Counts,
    /// Of all counts.
    sum: i64,
    /// Item and count, by item.
    top: Vec<(u32, i64)>,
    /// The least count of a top that is full. Whoever is below it, is not in the top.
    threshold: i64,
    candidates: Vec<u32>,
    rescan: bool,
    touched: bool,
}

impl<C> CellTop<C> {
    fn new(cell: C, k: usize) -> Self {
        let (counts, top, candidates) = Default::default();
        Self { cell, k, counts, sum: 0, top, threshold: 0, candidates, rescan: false, touched: false }
    }

    /// Whether the cell has to be settled, and did not have to be before.
    fn add(&mut self, diffs: impl Iterator<Item = (u32, i64)>, items: usize) -> bool {
        let before = self.touched;
        for (item, diff) in diffs {
            let (before, after) = self.counts.add(item, diff, items);
            self.sum += diff;
            if before.max(after) < self.threshold {
                continue;
            }
            self.touched = true;
            if !self.rescan {
                self.candidates.push(item);
                // While the top is not full it holds every item, so one that falls is merely settled anew. And where one in a few is
                // a candidate, to look at all is less than to sort these.
                self.rescan = diff < 0 && self.top.len() == self.k
                    || self.candidates.len() > CANDIDATES_MIN.max(self.counts.len() / MANY);
            }
        }
        self.touched && !before
    }

    /// Finds the top among the old one and the candidates, or among all after a retraction. Gives the old one. `found` is room for
    /// what may be in it.
    fn settle(&mut self, found: &mut Vec<(u32, i64)>, order: impl Fn(u32, u32) -> Ordering) -> Vec<(u32, i64)> {
        found.clear();
        if self.rescan {
            self.counts.for_each_positive(|item, count| found.push((item, count)));
        } else {
            self.candidates.extend(self.top.iter().map(|(item, _)| *item));
            self.candidates.sort_unstable();
            self.candidates.dedup();
            found.extend(self.candidates.iter().map(|item| (*item, self.counts.get(*item))));
            found.retain(|(_, count)| *count > 0);
        }
        keep_top(found, self.k, order);
        self.threshold =
            if found.len() < self.k { 0 } else { found.iter().map(|(_, count)| *count).min().unwrap_or(0) };
        found.sort_unstable();
        self.candidates.clear();
        (self.rescan, self.touched) = (false, false);
        std::mem::replace(&mut self.top, found.clone())
    }
}

/// Keeps the `k` greatest counts. Ties are told apart only where they matter, at the last count that is kept: with many
/// rarely played items that saves nearly all comparisons of texts.
fn keep_top(found: &mut Vec<(u32, i64)>, k: usize, order: impl Fn(u32, u32) -> Ordering) {
    if found.len() <= k {
        return;
    }
    if k == 0 {
        return found.clear();
    }
    let (_, (_, last), _) = found.select_nth_unstable_by_key(k - 1, |(_, count)| Reverse(*count));
    let last = *last;
    found.retain(|(_, count)| *count >= last);
    if found.len() > k {
        found.select_nth_unstable_by(k - 1, |a, b| b.1.cmp(&a.1).then_with(|| order(a.0, b.0)));
        found.truncate(k);
    }
}

/// What has to be added to the counts in `before` to have those in `after`; both by item.
fn differences(before: Vec<(u32, i64)>, after: &[(u32, i64)]) -> impl Iterator<Item = (u32, i64)> {
    let mut updates: Vec<(u32, i64)> = before.into_iter().map(|(item, count)| (item, -count)).collect();
    updates.extend_from_slice(after);
    differential_dataflow::consolidation::consolidate(&mut updates);
    updates.into_iter()
}

#[cfg(test)]
mod tests {
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
