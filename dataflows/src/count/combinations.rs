//! Numbers for combinations of numbers: a grouping with more than two dimensions counts by the
//! first dimension and by the number of the combination of the others.

use std::collections::HashMap;

use foldhash::fast::RandomState;

/// The combinations seen so far, with their numbers.
#[derive(Default)]
pub struct Combinations(HashMap<Box<[u32]>, u32, RandomState>);

impl Combinations {
    /// Writes the number of the combination of each row to `rows`. All `columns` have the same
    /// length.
    pub fn number(&mut self, columns: &[&[u32]], rows: &mut Vec<u32>) {
        rows.clear();
        let mut combination = Vec::with_capacity(columns.len());
        for row in 0..columns.first().map_or(0, |column| column.len()) {
            combination.clear();
            combination.extend(columns.iter().map(|column| column[row]));
            let number = match self.0.get(&combination[..]) {
                Some(number) => *number,
                None => {
                    let number = self.0.len() as u32;
                    self.0.insert(combination[..].into(), number);
                    number
                }
            };
            rows.push(number);
        }
    }
}
