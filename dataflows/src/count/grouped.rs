//! The items of a batch, those together that are counted together.

/// Items by group, so that what is counted together lies together: there are more counts than a cache holds, and the shorter the
/// way from one to the next, the more of them are on their way at once.
#[derive(Default)]
pub struct Grouped {
    /// The group of each row; one more than there are groups for what does not count.
    groups: Vec<u32>,
    /// Where each group starts, and then where it ends.
    starts: Vec<usize>,
    ends: Vec<usize>,
    items: Vec<u32>,
}

impl Grouped {
    /// Groups those of `items` that count, each by its group of `groups` many. Whether one counts is as good as a coin's toss, so it
    /// is looked at once, and what follows does not depend on it.
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

    /// The groups that are not empty.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &[u32])> {
        let groups = (0..).zip(self.starts.iter().zip(&self.ends)).take(self.starts.len() - 2);
        groups.map(|(group, (start, end))| (group, &self.items[*start..*end])).filter(|(_, items)| !items.is_empty())
    }
}
