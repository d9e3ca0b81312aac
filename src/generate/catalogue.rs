//! The songs that are played, with the popularity of each and the precomputed beginning of its
//! events' JSON.

use serde_json::json;

use super::names;
use super::random::{Alias, Random};

/// The most songs of a long tail: each takes some 120 bytes of memory.
pub const SONGS_MAX: u32 = 1_000_000;

/// A list of songs and their popularity. A song is identified by its index in the list.
pub struct Catalogue {
    popularity: Alias,
    /// For each song, concatenated: `{"song_id":"…","title":"…","artist":"…","user_id":"U`.
    ///
    /// Titles are escaped once, when this is made, so an event costs one copy of its song's text.
    openings: Vec<u8>,
    songs: Vec<Song>,
}

struct Song {
    start: u32,
    len: u16,
    id_len: u8,
}

const BEFORE_ID: &str = r#"{"song_id":""#;

impl Catalogue {
    /// Fifty songs with the ids `1` to `50` and popularities between 5 and 10, as the reference
    /// system has them.
    pub fn fifty() -> Self {
        let weights: Vec<f64> = (0..50).map(|song| f64::from(5 + (song * 7 + 3) % 6)).collect();
        Self::new(&weights, |song| (song + 1).to_string())
    }

    /// Songs `S000001`, `S000002` and so on, at most [`SONGS_MAX`], by falling popularity: the song
    /// of rank r is played `1 / r^skew` times as often as the first (Zipf's law). With a skew of 0
    /// all are equally popular; music has about 1.
    pub fn long_tail(songs: u32, skew: f64) -> Self {
        let weights: Vec<f64> = (1..=songs.clamp(1, SONGS_MAX)).map(|rank| f64::from(rank).powf(-skew)).collect();
        Self::new(&weights, |song| format!("S{:06}", song + 1))
    }

    fn new(weights: &[f64], id: impl Fn(usize) -> String) -> Self {
        // About four songs for each artist.
        let artists = weights.len().div_ceil(4).min(names::ARTISTS_MAX);
        let (mut openings, mut songs) = (Vec::new(), Vec::with_capacity(weights.len()));
        for index in 0..weights.len() {
            let (id, start) = (id(index), openings.len());
            let (title, artist) = (json!(names::title(index)), json!(names::artist(index % artists)));
            openings.extend_from_slice(
                format!(r#"{BEFORE_ID}{id}","title":{title},"artist":{artist},"user_id":"U"#).as_bytes(),
            );
            songs.push(Song { start: start as u32, len: (openings.len() - start) as u16, id_len: id.len() as u8 });
        }
        Self { popularity: Alias::new(weights), openings, songs }
    }

    /// The number of songs.
    pub fn songs(&self) -> usize {
        self.songs.len()
    }

    /// Draws a song by popularity.
    pub fn draw(&self, random: &mut Random) -> usize {
        self.popularity.draw(random)
    }

    /// The song's id, which is the key of its Kafka records.
    pub fn id(&self, song: usize) -> &[u8] {
        let start = self.songs[song].start as usize + BEFORE_ID.len();
        &self.openings[start..start + usize::from(self.songs[song].id_len)]
    }

    /// The JSON of an event of this song, up to the number of the user.
    pub fn opening(&self, song: usize) -> &[u8] {
        let start = self.songs[song].start as usize;
        &self.openings[start..start + usize::from(self.songs[song].len)]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn fields(catalogue: &Catalogue, song: usize) -> (String, String, String) {
        let text = [catalogue.opening(song), br#""}"#].concat();
        let event: serde_json::Value = serde_json::from_slice(&text).unwrap();
        let field = |name: &str| event[name].as_str().unwrap().to_owned();
        (field("song_id"), field("title"), field("artist"))
    }

    #[test]
    fn every_song_differs_and_every_artist_has_several() {
        for catalogue in [Catalogue::fifty(), Catalogue::long_tail(943, 1.0), Catalogue::long_tail(100_000, 1.1)] {
            let (mut ids, mut songs, mut by_artist) = (BTreeSet::new(), BTreeSet::new(), BTreeMap::new());
            for song in 0..catalogue.songs() {
                let (id, title, artist) = fields(&catalogue, song);
                assert_eq!(catalogue.id(song), id.as_bytes());
                *by_artist.entry(artist.clone()).or_insert(0) += 1;
                assert!(ids.insert(id) && songs.insert((title, artist)));
            }
            assert!(by_artist.values().all(|&songs| songs >= 2));
        }
    }

    #[test]
    fn texts_exercise_escaping_and_utf8() {
        let catalogue = Catalogue::long_tail(2000, 1.0);
        let all: String = (0..2000).map(|song| fields(&catalogue, song).1).collect();
        for character in ['"', '\\', 'é', 'ö', '🌊', '灯', '우'] {
            assert!(all.contains(character), "no title with {character}");
        }
    }

    #[test]
    fn ids_are_those_of_the_reference() {
        let (fifty, tail) = (Catalogue::fifty(), Catalogue::long_tail(3, 1.0));
        assert_eq!((fifty.id(0), fifty.id(49)), (b"1".as_slice(), b"50".as_slice()));
        assert_eq!(tail.id(2), b"S000003");
    }

    #[test]
    fn the_head_of_a_long_tail_follows_zipf() {
        let (catalogue, mut random) = (Catalogue::long_tail(10_000, 1.1), Random::new(3));
        let mut plays = vec![0u32; catalogue.songs()];
        for _ in 0..500_000 {
            plays[catalogue.draw(&mut random)] += 1;
        }
        let all: f64 = (1..=10_000).map(|rank| f64::from(rank).powf(-1.1)).sum();
        for rank in 1..=20usize {
            let expected = 500_000.0 * (rank as f64).powf(-1.1) / all;
            let seen = f64::from(plays[rank - 1]);
            assert!((seen - expected).abs() < 5.0 * expected.sqrt(), "rank {rank}: {seen}, not {expected}");
        }
    }
}
