//! The items of a batch, sorted by the array in which they are counted.

/// Items by group. A group is counted in one array after the other: all arrays together are larger
/// than a cache, and additions within one array overlap better than additions that jump between
/// arrays.
#[derive(Default)]
pub struct Grouped {
    /// The group of each row; the number of groups for a row that does not count.
    groups: Vec<u32>,
    /// The first index of each group in `items`, and the index after its last.
    starts: Vec<usize>,
    ends: Vec<usize>,
    items: Vec<u32>,
}

impl Grouped {
    /// Groups the `items` whose row `counts`. `group` gives the group of a row, below `groups`.
    ///
    /// A counting sort. Whether a row counts is unpredictable for the processor, hence tested once
    /// for each row; the passes after that have no branch that depends on it.
    pub fn group(&mut self, items: &[u32], group: impl Fn(usize) -> u32, groups: u32, counts: impl Fn(usize) -> bool) {
        self.groups.clear();
        self.groups.extend((0..items.len()).map(|row| if counts(row) { group(row) } else { groups }));
        self.starts.clear();
        self.starts.resize(groups as usize + 2, 0);
        self.groups.iter().for_each(|group| self.starts[*group as usize + 1] += 1);
        (0..=groups as usize).for_each(|group| self.starts[group + 1] += self.starts[group]);
        self.ends.clone_from(&self.starts);
        self.items.resize(items.len(), 0);
        for (item, group) in items.iter().zip(&self.groups) {
            let end = &mut self.ends[*group as usize];
            self.items[*end] = *item;
            *end += 1;
        }
    }

    /// The groups that are not empty, with their items.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &[u32])> {
        let groups = (0..).zip(self.starts.iter().zip(&self.ends)).take(self.starts.len() - 2);
        groups.map(|(group, (start, end))| (group, &self.items[*start..*end])).filter(|(_, items)| !items.is_empty())
    }
}
