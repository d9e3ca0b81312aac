//! Popularity that changes slowly, so that charts move: each song is more popular for a while, and
//! then less.
//!
//! The current popularity of a song is a function of its index in the catalogue and of the number
//! of plays so far, so a seed still gives the same plays. It uses only basic arithmetic, which
//! gives the same results on every machine.

use super::random::Random;

/// How far popularity swings to either side of its mean, relative to the mean.
const AMPLITUDE: f64 = 0.5;
/// The most draws for a play. A draw of the currently least popular song is kept with a probability
/// of one in three, so this limit is rarely reached.
const DRAWS_MAX: usize = 16;
/// The fractional parts of the multiples of these two are spread evenly over 0 to 1 (powers of the
/// plastic number).
const PHASE_STEP: f64 = 0.754_877_666_246_692_8;
const LENGTH_STEP: f64 = 0.569_840_290_998_053_3;

/// The current popularity of all songs.
pub struct Popularity {
    /// The shortest cycle of a song, in plays of all songs; the longest is twice as long.
    cycle_plays: f64,
    /// Plays so far.
    plays: u64,
}

impl Popularity {
    /// A popularity whose shortest cycle is `cycle_plays` plays of all songs.
    pub fn new(cycle_plays: u64) -> Self {
        Self { cycle_plays: cycle_plays.max(1) as f64, plays: 0 }
    }

    /// The song of the next play. `draw` draws songs by their mean popularity.
    pub fn choose(&mut self, random: &mut Random, draw: impl Fn(&mut Random) -> usize) -> usize {
        self.plays += 1;
        let mut song = draw(random);
        for _ in 1..DRAWS_MAX {
            if random.chance((1.0 + AMPLITUDE * self.deviation(song)) / (1.0 + AMPLITUDE)) {
                break;
            }
            song = draw(random);
        }
        song
    }

    /// The current deviation of a song's popularity from its mean, from −1 to 1: a triangle wave.
    fn deviation(&self, song: usize) -> f64 {
        let spread = |step: f64| (song as f64 * step).fract();
        let cycles = self.plays as f64 / (self.cycle_plays * (1.0 + spread(LENGTH_STEP)));
        1.0 - 4.0 * ((cycles + spread(PHASE_STEP)).fract() - 0.5).abs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::catalogue::Catalogue;

    const WINDOW: usize = 100_000;

    /// The top fifteen songs, with their plays, of each of `windows` consecutive windows.
    fn tops(windows: usize) -> Vec<Vec<(usize, u32)>> {
        let (catalogue, mut random, mut popularity) =
            (Catalogue::long_tail(5000, 0.8), Random::new(1), Popularity::new(2_000_000));
        let mut top = || {
            let mut plays = vec![0; catalogue.songs()];
            (0..WINDOW).for_each(|_| plays[popularity.choose(&mut random, |random| catalogue.draw(random))] += 1);
            let mut songs: Vec<(usize, u32)> = plays.into_iter().enumerate().collect();
            songs.sort_by_key(|(song, plays)| (std::cmp::Reverse(*plays), *song));
            songs.truncate(15);
            songs
        };
        (0..windows).map(|_| top()).collect()
    }

    /// From window to window most songs of a chart stay, but their order changes in most windows.
    #[test]
    fn a_chart_moves_gently() {
        let tops = tops(20);
        for pair in tops.windows(2) {
            let stayed = pair[0].iter().filter(|(song, _)| pair[1].iter().any(|(other, _)| other == song)).count();
            assert!(stayed >= 11, "{pair:?}");
        }
        let order = |top: &[(usize, u32)]| top.iter().map(|(song, _)| *song).collect::<Vec<_>>();
        let moves = tops.windows(2).filter(|pair| order(&pair[0]) != order(&pair[1])).count();
        assert!(moves >= 15, "{moves}");
    }

    /// The first has several times the plays of the fifteenth.
    #[test]
    fn a_chart_has_a_long_tail() {
        for top in tops(20) {
            assert!(top[0].1 > 4 * top[14].1, "{top:?}");
        }
    }

    #[test]
    fn the_mean_is_the_popularity_that_was_asked_for() {
        let (mut random, mut popularity) = (Random::new(3), Popularity::new(1000));
        let firsts = (0..200_000)
            .filter(|_| popularity.choose(&mut random, |random| usize::from(random.chance(0.5))) == 0)
            .count();
        assert!((90_000..110_000).contains(&firsts), "{firsts}");
    }
}
