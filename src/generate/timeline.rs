//! The event times of a history, and the countries of plays by the hour of the day.
//!
//! Listening follows local time. So the number of plays, and the country that a play comes from,
//! depend on the hour: Japan is awake while Brazil sleeps.

use super::random::{Alias, Random};

const SECOND_US: i64 = 1_000_000;
const HOUR_US: i64 = 3600 * SECOND_US;
/// How far plays of the history may be out of order, in µs, as plays from phones are.
const JITTER_US: u64 = 20 * SECOND_US as u64;

/// Countries, their share of the plays in percent, and their offset from UTC in hours (in a large
/// country, where most people live).
pub const COUNTRIES: [(&str, f64, i64); 10] = [
    ("US", 31.0, -6),
    ("UK", 11.0, 0),
    ("CA", 5.0, -5),
    ("AU", 3.0, 10),
    ("FR", 8.0, 1),
    ("DE", 9.0, 1),
    ("ES", 4.0, 1),
    ("BR", 12.0, -3),
    ("MX", 10.0, -6),
    ("JP", 7.0, 9),
];

/// The plays in each hour of a local day, relative to the day's mean.
const RHYTHM: [f64; 24] = [
    0.48, 0.30, 0.19, 0.14, 0.14, 0.22, 0.48, 0.88, 1.15, 1.09, 1.02, 1.09, 1.22, 1.15, 1.09, 1.15, 1.36, 1.63, 1.77,
    1.77, 1.70, 1.56, 1.22, 0.82,
];

/// The number of plays in each UTC hour, and the countries that they come from.
pub struct Day {
    countries_by_hour: Vec<Alias>,
    plays_by_hour: [f64; 24],
}

impl Day {
    /// The day of all [`COUNTRIES`].
    pub fn new() -> Self {
        let weights = |utc_hour: i64| {
            COUNTRIES.map(|(_, share, ahead_h)| share * RHYTHM[(utc_hour + ahead_h).rem_euclid(24) as usize])
        };
        let countries_by_hour = (0..24).map(|hour| Alias::new(&weights(hour))).collect();
        Self { countries_by_hour, plays_by_hour: std::array::from_fn(|hour| weights(hour as i64).iter().sum()) }
    }

    /// Draws the country of a play at `time_us`, as an index of [`COUNTRIES`].
    pub fn country(&self, time_us: i64, random: &mut Random) -> usize {
        self.countries_by_hour[hour(time_us)].draw(random)
    }
}

fn hour(time_us: i64) -> usize {
    time_us.div_euclid(HOUR_US).rem_euclid(24) as usize
}

/// Event times that rise through a period, denser in hours with more plays.
pub struct History {
    start_us: i64,
    end_us: i64,
    /// The event time of the next play, before jitter.
    at_us: f64,
    left: u64,
    /// The share of one play in the area under [`Day::plays_by_hour`].
    area_per_play: f64,
}

impl History {
    /// Spreads `plays` over `[start_us, end_us)`.
    pub fn new(day: &Day, start_us: i64, end_us: i64, plays: u64) -> Self {
        let (mut area, mut from_us) = (0.0, start_us);
        while from_us < end_us {
            let to_us = ((from_us.div_euclid(HOUR_US) + 1) * HOUR_US).min(end_us);
            area += day.plays_by_hour[hour(from_us)] * (to_us - from_us) as f64;
            from_us = to_us;
        }
        Self { start_us, end_us, at_us: start_us as f64, left: plays, area_per_play: area / plays as f64 }
    }

    /// Plays that are still to come.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// The next event time, in µs since 1970. `None` at the end of the history.
    pub fn next(&mut self, day: &Day, random: &mut Random) -> Option<i64> {
        self.left = self.left.checked_sub(1)?;
        let time_us = self.at_us as i64;
        let mut area = self.area_per_play;
        loop {
            let density = day.plays_by_hour[hour(self.at_us as i64)];
            let hour_end_us = ((self.at_us as i64).div_euclid(HOUR_US) + 1) * HOUR_US;
            let area_of_hour = density * (hour_end_us as f64 - self.at_us);
            if area <= area_of_hour || hour_end_us > self.end_us {
                self.at_us += area / density;
                break;
            }
            area -= area_of_hour;
            self.at_us = hour_end_us as f64;
        }
        let time_us = time_us - random.below(JITTER_US) as i64;
        Some(time_us.clamp(self.start_us, self.end_us - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-01T00:00:00Z.
    const START_US: i64 = 1_793_491_200 * SECOND_US;

    fn times_us(end_us: i64, plays: u64) -> Vec<i64> {
        let (day, mut random) = (Day::new(), Random::new(5));
        let mut history = History::new(&day, START_US, end_us, plays);
        std::iter::from_fn(|| history.next(&day, &mut random)).collect()
    }

    #[test]
    fn a_history_fills_its_period_and_rises() {
        for (hours, plays) in [(720, 100_000), (1, 5000), (30, 3), (25, 1)] {
            let end_us = START_US + hours * HOUR_US + 17;
            let times = times_us(end_us, plays);
            assert_eq!(times.len() as u64, plays);
            assert!(times.iter().all(|&time| (START_US..end_us).contains(&time)));
            assert!(times.windows(2).all(|pair| pair[1] - pair[0] > -(JITTER_US as i64)));
            let last_step_us = (end_us - START_US) / plays as i64;
            assert!(*times.last().unwrap() > end_us - 4 * last_step_us - JITTER_US as i64);
        }
    }

    #[test]
    fn every_hour_gets_its_share_of_a_history() {
        let day = Day::new();
        let mut counts = [0.0; 24];
        for time_us in times_us(START_US + 10 * 24 * HOUR_US, 240_000) {
            counts[hour(time_us)] += 1.0;
        }
        let all: f64 = day.plays_by_hour.iter().sum();
        for (count, density) in counts.iter().zip(day.plays_by_hour) {
            assert!((count / 240_000.0 - density / all).abs() < 0.002);
        }
    }

    #[test]
    fn countries_sleep_at_their_own_night() {
        let (day, mut random) = (Day::new(), Random::new(9));
        let mut share = |country: &str, utc_hour: i64| {
            let index = COUNTRIES.iter().position(|(code, ..)| *code == country).unwrap();
            let time_us = START_US + utc_hour * HOUR_US;
            (0..50_000).filter(|_| day.country(time_us, &mut random) == index).count() as f64 / 50_000.0
        };
        // 10:00 UTC is evening in Japan, and before dawn in the middle of the United States.
        assert!(share("JP", 10) > 3.0 * share("JP", 19));
        assert!(share("US", 0) > 2.0 * share("US", 10));
    }
}
