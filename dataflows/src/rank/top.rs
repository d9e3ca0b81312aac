//! The top of one cell, and what keeps it up to date.

use std::cmp::{Ordering, Reverse};

use super::counts::Counts;

/// One count in so many is enough candidates to look at all counts, if there are as many as is worth a thought.
const MANY: usize = 8;
const CANDIDATES_MIN: usize = 1024;

/// One cell: its counts, and its top as last settled.
pub struct CellTop<C> {
    pub cell: C,
    k: usize,
    pub counts: Counts,
    /// Of all counts.
    pub sum: i64,
    /// Item and count, by item.
    pub top: Vec<(u32, i64)>,
    /// The least count of a top that is full. Whoever is below it, is not in the top.
    threshold: i64,
    candidates: Vec<u32>,
    rescan: bool,
    touched: bool,
}

impl<C> CellTop<C> {
    pub fn new(cell: C, k: usize) -> Self {
        let (counts, top, candidates) = Default::default();
        Self { cell, k, counts, sum: 0, top, threshold: 0, candidates, rescan: false, touched: false }
    }

    /// Whether the cell has to be settled, and did not have to be before.
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
    pub fn settle(&mut self, found: &mut Vec<(u32, i64)>, order: impl Fn(u32, u32) -> Ordering) -> Vec<(u32, i64)> {
        found.clear();
        if self.rescan {
            self.counts.for_each_positive(|item, count| found.push((item, count)));
        } else {
            self.candidates.sort_unstable();
            self.candidates.dedup();
            // Of those in the top that are no candidates, the counts are as they were.
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

/// Keeps the `k` greatest counts. Ties are told apart only where they matter, at the last count that is kept: with many
/// rarely played items that saves nearly all comparisons of texts.
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

/// What has to be added to the counts in `before` to have those in `after`; both by item.
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
