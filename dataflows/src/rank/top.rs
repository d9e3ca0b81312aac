//! The counts of one cell, and the top that is kept of them.

use std::cmp::{Ordering, Reverse};

use super::counts::Counts;

/// A cell scans all counts once its candidates exceed [`CANDIDATES_MIN`] and one in this many
/// counts.
const MANY: usize = 8;
const CANDIDATES_MIN: usize = 1024;

/// The counts of a cell, and its top as of the last [`settle`](Self::settle).
pub struct CellTop<C> {
    /// The cell.
    pub cell: C,
    k: usize,
    /// The counts of all items.
    pub counts: Counts,
    /// The sum of all counts.
    pub sum: i64,
    /// The items of the top and their counts, in the order of the items' numbers.
    pub top: Vec<(u32, i64)>,
    /// The smallest count of a full top, or 0. An item below it is not in the top.
    threshold: i64,
    /// Items whose change may change the top.
    candidates: Vec<u32>,
    /// Whether to scan all counts, not only the candidates.
    rescan: bool,
    touched: bool,
}

impl<C> CellTop<C> {
    /// A cell without counts, whose top has `k` items.
    pub fn new(cell: C, k: usize) -> Self {
        let (counts, top, candidates) = Default::default();
        Self { cell, k, counts, sum: 0, top, threshold: 0, candidates, rescan: false, touched: false }
    }

    /// Adds to the counts of items; `items` is the number of items that are numbered. Returns
    /// whether the top may have changed for the first time since the last settling.
    pub fn add(&mut self, diffs: impl Iterator<Item = (u32, i64)>, items: usize) -> bool {
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
                // A retraction may let an item that is no candidate into a full top. A top that is
                // not full has every item already. With many candidates, a scan is cheaper than
                // sorting them.
                self.rescan = diff < 0 && self.top.len() == self.k
                    || self.candidates.len() > CANDIDATES_MIN.max(self.counts.len() / MANY);
            }
        }
        self.touched && !before
    }

    /// Updates the top, from the old top and the candidates, or from all counts. Returns the old
    /// top. `found` is a buffer; `order` breaks ties.
    pub fn settle(&mut self, found: &mut Vec<(u32, i64)>, order: impl Fn(u32, u32) -> Ordering) -> Vec<(u32, i64)> {
        found.clear();
        if self.rescan {
            self.counts.for_each_positive(|item, count| found.push((item, count)));
        } else {
            self.candidates.sort_unstable();
            self.candidates.dedup();
            // The counts of items in the top that are no candidates have not changed.
            let mut top = self.top.iter().copied().peekable();
            for &item in &self.candidates {
                found.extend(std::iter::from_fn(|| top.next_if(|(other, _)| *other < item)));
                top.next_if(|(other, _)| *other == item);
                found.extend(Some((item, self.counts.get(item))).filter(|(_, count)| *count > 0));
            }
            found.extend(top);
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

/// Keeps the `k` greatest counts. Compares items only among those with the last count that is kept:
/// with many rarely played items, this saves nearly all comparisons of texts.
fn keep_top(found: &mut Vec<(u32, i64)>, k: usize, order: impl Fn(u32, u32) -> Ordering) {
    if found.len() <= k {
        return;
    }
    if k == 0 {
        return found.clear();
    }
    let mut counts: Vec<i64> = found.iter().map(|(_, count)| *count).collect();
    let last = *counts.select_nth_unstable_by_key(k - 1, |count| Reverse(*count)).1;
    found.retain(|(_, count)| *count >= last);
    if found.len() > k {
        let mut tied: Vec<u32> = found.extract_if(.., |(_, count)| *count == last).map(|(item, _)| item).collect();
        let left = k - found.len();
        tied.select_nth_unstable_by(left - 1, |a, b| order(*a, *b));
        found.extend(tied[..left].iter().map(|item| (*item, last)));
    }
}

/// The changes of counts from `before` to `after`, both in the order of items.
pub fn differences(before: Vec<(u32, i64)>, after: &[(u32, i64)]) -> impl Iterator<Item = (u32, i64)> {
    let (mut before, mut after) = (before.into_iter().peekable(), after.iter().copied().peekable());
    let next = move || {
        let item = match (before.peek(), after.peek()) {
            (Some((a, _)), Some((b, _))) => *a.min(b),
            (Some((item, _)), None) | (None, Some((item, _))) => *item,
            (None, None) => return None,
        };
        let was = before.next_if(|(other, _)| *other == item).map_or(0, |(_, count)| count);
        let is = after.next_if(|(other, _)| *other == item).map_or(0, |(_, count)| count);
        Some((item, is - was))
    };
    std::iter::from_fn(next).filter(|(_, diff)| *diff != 0)
}
