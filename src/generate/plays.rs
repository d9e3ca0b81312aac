//! An endless, seeded sequence of records with JSON values. It uses neither network nor clock, so
//! tests can fix the seed.
//!
//! The JSON is written directly into a buffer that the caller reuses: the texts of a song are
//! escaped when the catalogue is made, and the other values need no escaping. Serialising each
//! event with serde would take most of the time of a producer of 500,000 plays/s.

use crate::intake::Rejection;

use super::catalogue::Catalogue;
use super::flaws::{self, Flaws};
use super::popularity::Popularity;
use super::random::{Alias, Random};
use super::timeline::{COUNTRIES, Day, History};

const SECOND_US: i64 = 1_000_000;
/// How far the event time of a late play lies back: from a minute to six hours.
const LATE_US: std::ops::Range<i64> = 60 * SECOND_US..6 * 3600 * SECOND_US;
const DEVICES: [(&str, f64); 4] = [("mobile", 58.0), ("desktop", 22.0), ("smart_speaker", 13.0), ("tablet", 7.0)];
/// A duplicate repeats one of this many most recent plays.
const RECENT: usize = 1024;

/// The properties of the plays. The shares go from 0 to 1.
#[derive(Clone, Debug)]
pub struct Mix {
    /// The seed: together with the same other fields it gives the same plays.
    pub seed: u64,
    /// The catalogue; `None` for the fifty songs of the reference.
    pub long_tail: Option<LongTail>,
    /// The shortest cycle in which the popularity of a song rises and falls, in plays of all songs.
    /// `None`: popularity is constant.
    pub cycle_plays: Option<u64>,
    /// The number of users; their ids begin with `U1000`.
    pub users: u64,
    /// The history that precedes the live plays, if any.
    pub history: Option<Period>,
    /// When event times begin, in µs since 1970. `None`: the history ends now, and live plays
    /// happen now.
    pub start_us: Option<i64>,
    /// The share of plays whose event time lies a minute to six hours back.
    pub late: f64,
    /// The share of records that repeat the value of an earlier play.
    pub duplicates: f64,
    /// The share of records that are not valid plays.
    pub malformed: f64,
}

/// A catalogue in which few songs have most of the plays (Zipf's law).
#[derive(Clone, Debug)]
pub struct LongTail {
    /// The number of songs.
    pub songs: u32,
    /// The song of rank r is played `1 / r^skew` times as often as the first.
    pub skew: f64,
}

/// A history of plays.
#[derive(Clone, Debug)]
pub struct Period {
    /// Its length in µs of event time.
    pub length_us: i64,
    /// The number of records in it.
    pub records: u64,
}

impl Default for Mix {
    fn default() -> Self {
        Self {
            seed: 0,
            long_tail: None,
            cycle_plays: None,
            users: 9000,
            history: None,
            start_us: None,
            late: 0.0,
            duplicates: 0.0,
            malformed: 0.0,
        }
    }
}

/// A generated record, without its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// The song, as an index of [`Plays::catalogue`]. Its id is the key of the record, even of a
    /// malformed one.
    pub song: usize,
    /// The kind of record.
    pub kind: RecordKind,
}

/// The kinds of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordKind {
    /// A play on time.
    Play,
    /// A play whose event time lies back.
    Late,
    /// A play whose value repeats an earlier one.
    Duplicate,
    /// A value that must be rejected for this reason.
    Malformed(Rejection),
    /// A record without a value, which Kafka calls a tombstone. It is not a play.
    Tombstone,
}

/// An endless sequence of records.
pub struct Plays {
    catalogue: Catalogue,
    mix: Mix,
    random: Random,
    day: Day,
    devices: Alias,
    popularity: Option<Popularity>,
    date: DateText,
    history: Option<History>,
    /// The event time of the next live play, if the mix has a start; otherwise the caller gives it.
    live_us: Option<f64>,
    live_step_us: f64,
    flaws: Flaws,
    /// The most recent plays, for duplicates.
    recent: Vec<(usize, Vec<u8>)>,
    /// Plays that went through `recent` so far.
    good: usize,
}

impl Plays {
    /// Prepares the plays of `mix`.
    ///
    /// Without a start in the mix, the history ends at `now_us` (µs since 1970). With one, live
    /// plays are `live_step_us` apart in event time.
    pub fn new(mix: Mix, now_us: i64, live_step_us: f64) -> Self {
        let day = Day::new();
        let length_us = mix.history.as_ref().map_or(0, |period| period.length_us);
        let start_us = mix.start_us.unwrap_or(now_us - length_us);
        let end_us = start_us + length_us;
        Self {
            catalogue: match &mix.long_tail {
                None => Catalogue::fifty(),
                Some(tail) => Catalogue::long_tail(tail.songs, tail.skew),
            },
            random: Random::new(mix.seed),
            popularity: mix.cycle_plays.map(Popularity::new),
            devices: Alias::new(&DEVICES.map(|(_, share)| share)),
            date: DateText::new(),
            history: mix.history.as_ref().map(|period| History::new(&day, start_us, end_us, period.records)),
            live_us: mix.start_us.map(|_| end_us as f64),
            live_step_us,
            flaws: Flaws::default(),
            recent: Vec::new(),
            good: 0,
            day,
            mix,
        }
    }

    /// The songs.
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// How many records of the history are still to come.
    pub fn history_left(&self) -> u64 {
        self.history.as_ref().map_or(0, History::left)
    }

    /// Replaces `value` by the value of the next record. The event time of a live play is `now_us`,
    /// unless the mix has a start.
    pub fn next(&mut self, now_us: i64, value: &mut Vec<u8>) -> Record {
        value.clear();
        // Event time advances with every record, also with duplicates and malformed ones, so that
        // the history ends when it should.
        let time_us = self.time_us(now_us);
        if self.mix.malformed > 0.0 && self.random.chance(self.mix.malformed) {
            return self.malformed(time_us, value);
        }
        if !self.recent.is_empty() && self.random.chance(self.mix.duplicates / (1.0 - self.mix.malformed)) {
            let (song, earlier) = self.random.pick(&self.recent);
            value.extend_from_slice(earlier);
            return Record { song: *song, kind: RecordKind::Duplicate };
        }
        let late = self.mix.late > 0.0 && self.random.chance(self.mix.late);
        let back_us =
            if late { LATE_US.start + self.random.below((LATE_US.end - LATE_US.start) as u64) as i64 } else { 0 };
        let song = self.play(time_us - back_us, value);
        if self.mix.duplicates > 0.0 {
            self.remember(song, value);
        }
        Record { song, kind: if late { RecordKind::Late } else { RecordKind::Play } }
    }

    fn time_us(&mut self, now_us: i64) -> i64 {
        if let Some(history) = &mut self.history {
            if let Some(time_us) = history.next(&self.day, &mut self.random) {
                return time_us;
            }
            self.history = None;
        }
        let Some(live_us) = &mut self.live_us else { return now_us };
        let time_us = *live_us as i64;
        *live_us += self.live_step_us;
        time_us
    }

    fn play(&mut self, time_us: i64, value: &mut Vec<u8>) -> usize {
        let random = &mut self.random;
        let draw = |random: &mut Random| self.catalogue.draw(random);
        let song = match &mut self.popularity {
            Some(popularity) => popularity.choose(random, draw),
            None => draw(random),
        };
        value.extend_from_slice(self.catalogue.opening(song));
        push_number(value, 1000 + random.below(self.mix.users));
        value.extend_from_slice(br#"","timestamp":""#);
        self.date.push(value, time_us.div_euclid(SECOND_US));
        value.extend_from_slice(br#"","duration_ms":"#);
        push_number(value, 30_000 + random.below(270_001));
        value.extend_from_slice(if random.below(10) < 7 { br#","completed":true"# } else { br#","completed":false"# });
        value.extend_from_slice(br#","device":""#);
        value.extend_from_slice(DEVICES[self.devices.draw(random)].0.as_bytes());
        value.extend_from_slice(br#"","country":""#);
        value.extend_from_slice(COUNTRIES[self.day.country(time_us, random)].0.as_bytes());
        value.extend_from_slice(br#""}"#);
        song
    }

    /// A malformed record is made from a valid play, so that it has one flaw only.
    fn malformed(&mut self, time_us: i64, value: &mut Vec<u8>) -> Record {
        let song = self.play(time_us, value);
        let kind = match self.flaws.draw(&mut self.random) {
            flaws::Flaw::Tombstone => RecordKind::Tombstone,
            flaws::Flaw::Value(rejection) => {
                flaws::spoil(value, rejection, &mut self.random);
                RecordKind::Malformed(rejection)
            }
        };
        Record { song, kind }
    }

    fn remember(&mut self, song: usize, value: &[u8]) {
        if self.recent.len() < RECENT {
            self.recent.push((song, value.to_vec()));
        } else {
            let (old_song, old_value) = &mut self.recent[self.good % RECENT];
            *old_song = song;
            old_value.clear();
            old_value.extend_from_slice(value);
        }
        self.good += 1;
    }
}

fn push_number(text: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    text.extend_from_slice(&digits[start..]);
}

/// Writes times as `yyyy-MM-dd HH:mm:ss`. Caches the text of the last date, since the next time
/// mostly has the same.
struct DateText {
    day: i64,
    text: Vec<u8>,
}

impl DateText {
    fn new() -> Self {
        Self { day: i64::MIN, text: Vec::new() }
    }

    fn push(&mut self, value: &mut Vec<u8>, time_s: i64) {
        let (day, second) = (time_s.div_euclid(86_400), time_s.rem_euclid(86_400));
        if day != self.day {
            let midnight = jiff::Timestamp::from_second(day * 86_400).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
            self.text = midnight.strftime("%Y-%m-%d ").to_string().into_bytes();
            self.day = day;
        }
        let two = |number: i64| [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
        let ([h, i], [m, n], [s, t]) = (two(second / 3600), two(second / 60 % 60), two(second % 60));
        value.extend_from_slice(&self.text);
        value.extend_from_slice(&[h, i, b':', m, n, b':', s, t]);
    }
}
