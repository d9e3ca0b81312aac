//! The counts of one pane of the window, in few bytes: a window has nearly as many counts as plays,
//! and panes that have left it are kept for hours.
//!
//! Counts are settled each time their number has doubled. Settled counts are sorted by key, then
//! item, and each number is stored as a variable-length integer (LEB128) of its difference to the
//! one before: about four bytes a count, where an uncompressed count takes 32.

use std::iter;

use super::varint;

/// The fewest recent counts that are settled.
const RECENT_MIN: usize = 512;

/// Counts by item and key, both as numbers.
#[derive(Default)]
pub struct Pane {
    /// Compressed counts, in the format of [`write`].
    settled: Vec<u8>,
    settled_counts: usize,
    /// A place (the key in the high half, the item in the low half), and what to add to its count.
    recent: Vec<(u64, i64)>,
}

impl Pane {
    /// Adds `count` to the count of an item and key.
    pub fn add(&mut self, item: u32, key: u32, count: i64) {
        self.recent.push((u64::from(key) << 32 | u64::from(item), count));
        if self.recent.len() > self.settled_counts.max(RECENT_MIN) {
            self.settle();
        }
    }

    /// Whether settling would make the pane much smaller.
    pub fn is_loose(&self) -> bool {
        size_of_val(&self.recent[..]) > self.settled.len()
    }

    /// Merges recent counts into the settled ones, and drops counts that are zero.
    pub fn settle(&mut self) {
        if self.recent.is_empty() {
            return;
        }
        let mut recent = std::mem::take(&mut self.recent);
        recent.sort_unstable_by_key(|(place, _)| *place);
        let settled = std::mem::take(&mut self.settled);
        let (mut settled, mut recent) = (Settled::new(&settled).peekable(), recent.into_iter().peekable());
        let (mut bytes, mut before) = (Vec::new(), 0);
        self.settled_counts = 0;
        while let Some(place) = settled.peek().into_iter().chain(recent.peek()).map(|(place, _)| *place).min() {
            let of_place = |next: &(u64, i64)| next.0 == place;
            let count: i64 = iter::from_fn(|| settled.next_if(of_place).or_else(|| recent.next_if(of_place)))
                .map(|(_, count)| count)
                .sum();
            if count != 0 {
                write(&mut bytes, before, place, count);
                before = place;
                self.settled_counts += 1;
            }
        }
        bytes.shrink_to_fit();
        self.settled = bytes;
    }

    /// Item, key and count: sorted by key after [`Pane::settle`]. Before it, an item and key may
    /// have several counts, which add up.
    pub fn counts(&self) -> impl Iterator<Item = (u32, u32, i64)> {
        let counts = Settled::new(&self.settled).chain(self.recent.iter().copied());
        counts.map(|(place, count)| (place as u32, (place >> 32) as u32, count))
    }
}

/// Appends the `count` of `place`, which is greater than the place `before`.
fn write(bytes: &mut Vec<u8>, before: u64, place: u64, count: i64) {
    let key = (place >> 32) - (before >> 32);
    // The first item of a key is stored as it is.
    let item_before = if key == 0 { before as u32 } else { 0 };
    varint::write(bytes, key);
    varint::write(bytes, u64::from(place as u32 - item_before));
    varint::write_signed(bytes, count);
}

/// Reads the format of [`write`].
struct Settled<'a> {
    bytes: &'a [u8],
    place: u64,
}

impl<'a> Settled<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, place: 0 }
    }
}

impl Iterator for Settled<'_> {
    type Item = (u64, i64);

    fn next(&mut self) -> Option<(u64, i64)> {
        let key = varint::read(&mut self.bytes)?;
        let before = if key == 0 { self.place } else { ((self.place >> 32) + key) << 32 };
        self.place = before + varint::read(&mut self.bytes)?;
        Some((self.place, varint::read_signed(&mut self.bytes)?))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn number() -> impl Strategy<Value = u32> {
        prop_oneof![0u32..4, 100u32..300, any::<u32>()]
    }

    proptest! {
        /// Counts are sums, whenever the pane is settled. A settled pane has each count once.
        #[test]
        fn are_sums(
            adds in prop::collection::vec((number(), number(), prop_oneof![-2i64..3, any::<i32>().prop_map(|big| i64::from(big) << 20)], prop::bool::weighted(0.003)), 0..1500),
        ) {
            let (mut pane, mut expected) = (Pane::default(), BTreeMap::<(u32, u32), i64>::new());
            for (item, key, count, settles) in adds {
                pane.add(item, key, count);
                *expected.entry((item, key)).or_default() += count;
                if settles {
                    pane.settle();
                }
            }
            let mut sums = BTreeMap::<(u32, u32), i64>::new();
            pane.counts().for_each(|(item, key, count)| *sums.entry((item, key)).or_default() += count);
            sums.retain(|_, count| *count != 0);
            expected.retain(|_, count| *count != 0);
            prop_assert_eq!(&sums, &expected);
            pane.settle();
            prop_assert!(!pane.is_loose());
            let settled: Vec<_> = pane.counts().map(|(item, key, count)| (key, item, count)).collect();
            prop_assert!(settled.is_sorted());
            prop_assert_eq!(settled.len(), expected.len());
        }
    }

    #[test]
    fn many_are_settled_by_themselves() {
        let mut pane = Pane::default();
        (0..100_000).for_each(|number| pane.add(number % 1000, number % 7, 1));
        assert!(pane.recent.len() + pane.settled_counts < 15_000);
        assert_eq!(pane.counts().map(|(_, _, count)| count).sum::<i64>(), 100_000);
    }
}
