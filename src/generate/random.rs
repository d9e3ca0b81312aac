//! Seeded random numbers: the same seed gives the same plays on every machine and in every release.
//!
//! So the generator is a fixed algorithm, and the few distributions that we need are implemented
//! here: `rand` guarantees the output of xoshiro256++, but not how its ranges and distributions use
//! it.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, SeedableRng};

/// A seeded random number generator. Not for secrets.
pub struct Random(Xoshiro256PlusPlus);

impl Random {
    /// A generator whose numbers depend on `seed` alone.
    pub fn new(seed: u64) -> Self {
        Self(Xoshiro256PlusPlus::seed_from_u64(seed))
    }

    /// A uniform number in `0..bound`. The bias is below `bound / 2^64`, which is negligible.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.0.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// True with the probability `share`, from 0 to 1.
    pub fn chance(&mut self, share: f64) -> bool {
        let unit = (self.0.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        unit < share
    }

    /// A uniformly chosen element of `choices`, which must not be empty.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len() as u64) as usize]
    }
}

/// Draws from a weighted list in constant time, whatever its length and weights (Walker's alias
/// method).
///
/// Each column holds one entry up to a height and one other entry above it; a draw picks a column
/// and a height with the two halves of one random number.
pub struct Alias {
    columns: Vec<Column>,
}

struct Column {
    /// The height up to which a draw gives the column's own entry, in units of 2⁻³².
    own: u32,
    /// The entry that a draw above that height gives.
    other: u32,
}

impl Alias {
    /// Prepares draws of `0..weights.len()` in proportion to the weights. At least one weight must
    /// be positive, and none negative.
    pub fn new(weights: &[f64]) -> Self {
        let mean = weights.iter().sum::<f64>() / weights.len() as f64;
        let mut heights: Vec<f64> = weights.iter().map(|weight| weight / mean).collect();
        let mut columns: Vec<Column> =
            (0..weights.len()).map(|entry| Column { own: u32::MAX, other: entry as u32 }).collect();

        let (mut low, mut high): (Vec<usize>, Vec<usize>) = (0..weights.len()).partition(|&entry| heights[entry] < 1.0);
        while let (Some(poor), Some(&rich)) = (low.pop(), high.last()) {
            columns[poor] = Column { own: (heights[poor] * (1u64 << 32) as f64) as u32, other: rich as u32 };
            heights[rich] -= 1.0 - heights[poor];
            if heights[rich] < 1.0 {
                high.pop();
                low.push(rich);
            }
        }
        Self { columns }
    }

    /// A random index of the list.
    pub fn draw(&self, random: &mut Random) -> usize {
        let product = u128::from(random.0.next_u64()) * self.columns.len() as u128;
        let (entry, height) = ((product >> 64) as usize, (product as u64 >> 32) as u32);
        let column = &self.columns[entry];
        if height < column.own { entry } else { column.other as usize }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_table_draws_by_weight() {
        let weights = [5.0, 0.0, 1.0, 0.25, 10.0, 3.75];
        let (alias, mut random) = (Alias::new(&weights), Random::new(7));
        let mut counts = [0u32; 6];
        for _ in 0..400_000 {
            counts[alias.draw(&mut random)] += 1;
        }
        for (weight, count) in weights.iter().zip(counts) {
            let expected = weight / 20.0 * 400_000.0;
            assert!((f64::from(count) - expected).abs() <= 5.0 * expected.sqrt(), "{count} of {expected}");
        }
    }

    #[test]
    fn numbers_stay_below_their_bound_and_chances_keep_their_share() {
        let mut random = Random::new(1);
        assert!((0..10_000).all(|_| random.below(3) < 3));
        assert!(!(0..10_000).any(|_| random.chance(0.0)));
        assert!((0..10_000).all(|_| random.chance(1.0)));
    }

    /// A seed must give the same plays in every release, so the algorithm may never change.
    #[test]
    fn the_first_draws_of_a_seed_are_fixed() {
        let mut random = Random::new(42);
        let draws: Vec<u64> = (0..4).map(|_| random.below(1_000_000)).collect();
        // Computed from the published algorithms (splitmix64, then xoshiro256++), not by this
        // program.
        assert_eq!(draws, [814_305, 318_821, 983_894, 701_135]);
    }
}
