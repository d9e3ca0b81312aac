//! What a source says of the items that it sees: each text once, and a track's title and artist when they are new, or when they
//! are asked for.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use smallvec::SmallVec;

use super::catalogue::{About, Naming};
use crate::keys::interner::TOGETHER;
use crate::keys::item::ItemKey;
use crate::play::{DAY_US, LateTitles, PlayBatch, Texts};
use crate::rules::definition::ItemKind;

/// What one worker has said, and has to say.
#[derive(Default)]
pub struct Namings {
    /// By track number.
    tracks: Vec<Track>,
    /// By track number; as many as have been looked at.
    heard: Vec<Heard>,
    /// The latest day that each track was seen on, close together: most plays of a history need nothing else of their track.
    days: Vec<i32>,
    /// Tracks whose title is not said yet.
    changed: Vec<u32>,
    keys: Vec<ItemKey>,
    /// Items that are not tracks.
    others: Vec<Naming>,
    /// By day, what is read if somebody asks.
    late: BTreeMap<i32, Vec<Arc<dyn LateTitles>>>,
}

#[derive(Default)]
struct Track {
    /// Empty until it is known.
    id: Arc<str>,
    changed: bool,
}

/// A title and artist, and the day since when; of a day before all others until there are any.
///
/// Nearly each play is compared with it, and no cache holds those of many tracks. So it is mostly within two lines of a cache,
/// which are fetched together, at a place that follows from the track's number: to look at several plays is to wait once.
#[repr(C, align(128))]
struct Heard {
    day: i32,
    title_bytes: u32,
    title_and_artist: SmallVec<[u8; 96]>,
}

const _: () = assert!(size_of::<Heard>() == 128);

impl Default for Heard {
    fn default() -> Self {
        Self { day: i32::MIN, title_bytes: 0, title_and_artist: SmallVec::new() }
    }
}

impl Heard {
    fn new(day: i32, title: &str, artist: &str) -> Self {
        let mut title_and_artist = SmallVec::from_slice(title.as_bytes());
        title_and_artist.extend_from_slice(artist.as_bytes());
        Self { day, title_bytes: title.len() as u32, title_and_artist }
    }

    /// In the order of which one wins.
    fn parts(&self) -> (i32, &[u8], &[u8]) {
        let (title, artist) = self.title_and_artist.split_at(self.title_bytes as usize);
        (self.day, title, artist)
    }

    fn about(&self) -> Option<(i32, About)> {
        let (day, title, artist) = self.parts();
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        (day > i32::MIN).then(|| (day, About { title: text(title), artist: text(artist) }))
    }
}

impl Namings {
    /// The key of an item that is new and is not a track. Its text is said at the end of the epoch.
    pub fn item(&mut self, kind: ItemKind, text: &str) -> ItemKey {
        let item = ItemKey::new(kind, text);
        self.others.push(Naming { item, text: text.into(), about: None });
        item
    }

    /// Looks for tracks that are new, or have a newer title or artist, in a batch whose tracks have the numbers `tracks`,
    /// and these the `keys`.
    pub fn look(&mut self, batch: &PlayBatch, tracks: &[u32], keys: &[ItemKey]) {
        self.know(keys);
        let texts = (batch.texts("song_id"), batch.texts("title"), batch.texts("artist"));
        let (Some(ids), Some(titles), Some(artists)) = texts else { return };
        self.expect_titles(self.tracks.len());
        match (batch.day(), batch.timestamps_us()) {
            (Some(day), _) => {
                let mut seen = Seen::new(ids, titles, artists);
                for (row, track) in tracks.iter().enumerate() {
                    if self.days[*track as usize] <= day && !seen.before(row) {
                        self.hear(*track, day, ids.get(row), titles.get(row), artists.get(row));
                    }
                }
            }
            (None, Some(timestamps_us)) => {
                for (group, tracks) in tracks.chunks(TOGETHER).enumerate() {
                    let mut known = [i32::MIN; TOGETHER];
                    known.iter_mut().zip(tracks).for_each(|(day, track)| *day = self.heard[*track as usize].day);
                    for ((row, track), known) in (group * TOGETHER..).zip(tracks).zip(known) {
                        let day = timestamps_us[row].div_euclid(DAY_US) as i32;
                        if known <= day {
                            self.hear(*track, day, ids.get(row), titles.get(row), artists.get(row));
                        }
                    }
                }
            }
            (None, None) => {}
        }
    }

    /// Notes that the `tracks`, ids and numbers, were played on a day, and says the ids of those that are new. Their titles are
    /// told when somebody asks.
    pub fn look_late<'a>(
        &mut self,
        late: &Arc<dyn LateTitles>,
        day: i32,
        tracks: impl Iterator<Item = (&'a str, u32)>,
        keys: &[ItemKey],
    ) {
        self.know(keys);
        self.late.entry(day).or_default().push(late.clone());
        for (id, number) in tracks {
            let known = &mut self.days[number as usize];
            if *known >= day {
                continue;
            }
            *known = day;
            let track = &mut self.tracks[number as usize];
            if track.id.is_empty() {
                track.id = id.into();
                if !std::mem::replace(&mut track.changed, true) {
                    self.changed.push(number);
                }
            }
        }
    }

    fn know(&mut self, keys: &[ItemKey]) {
        self.tracks.resize_with(keys.len(), Track::default);
        self.days.resize(keys.len(), i32::MIN);
        self.keys.extend_from_slice(&keys[self.keys.len()..]);
    }

    /// Makes room for what the first `tracks` are called. Of a history few are asked for, which most often were seen early.
    fn expect_titles(&mut self, tracks: usize) {
        self.heard.resize_with(self.heard.len().max(tracks), Heard::default);
    }

    /// Reads the late titles of the tracks with these numbers, on the latest day that this worker has seen each of them.
    pub fn ask(&mut self, numbers: impl Iterator<Item = u32>) {
        let mut by_day = BTreeMap::<i32, HashMap<Arc<str>, u32>>::new();
        for number in numbers {
            self.expect_titles(number as usize + 1);
            let (day, id) = (self.days[number as usize], self.tracks[number as usize].id.clone());
            by_day.entry(day).or_default().insert(id, number);
        }
        for (day, wanted) in by_day {
            for late in self.late.get(&day).cloned().unwrap_or_default() {
                late.each(&|id| wanted.contains_key(id), &mut |id, title, artist| {
                    if let Some(number) = wanted.get(id) {
                        self.hear(*number, day, id, title, artist);
                    }
                });
            }
        }
    }

    fn hear(&mut self, number: u32, day: i32, id: &str, title: &str, artist: &str) {
        let heard = &mut self.heard[number as usize];
        if heard.parts() >= (day, title.as_bytes(), artist.as_bytes()) {
            return;
        }
        *heard = Heard::new(day, title, artist);
        let track = &mut self.tracks[number as usize];
        if track.id.is_empty() {
            track.id = id.into();
        }
        self.days[number as usize] = day;
        if !std::mem::replace(&mut track.changed, true) {
            self.changed.push(number);
        }
    }

    /// What there is to say.
    pub fn drain(&mut self) -> impl Iterator<Item = Naming> {
        let tracks = std::mem::take(&mut self.changed).into_iter().map(|number| {
            let track = &mut self.tracks[number as usize];
            track.changed = false;
            let about = self.heard.get(number as usize).and_then(Heard::about);
            Naming { item: self.keys[number as usize], text: track.id.clone(), about }
        });
        self.others.drain(..).chain(tracks)
    }
}

/// In a batch of one day a title has to be looked at once for each combination of dictionary entries.
struct Seen<'a> {
    columns: Option<[&'a [i32]; 3]>,
    titles_of: Vec<Option<(i32, i32)>>,
}

impl<'a> Seen<'a> {
    fn new(ids: Texts<'a>, titles: Texts<'a>, artists: Texts<'a>) -> Self {
        match (ids, titles, artists) {
            (Texts::Dictionary(ids, values), Texts::Dictionary(titles, _), Texts::Dictionary(artists, _)) => {
                let columns = [ids, titles, artists].map(|column| &column.keys().values()[..]);
                Self { columns: Some(columns), titles_of: vec![None; arrow::array::Array::len(values)] }
            }
            _ => Self { columns: None, titles_of: Vec::new() },
        }
    }

    /// Whether this row's track had the same title and artist when it was last met in the batch.
    #[inline]
    fn before(&mut self, row: usize) -> bool {
        let Some([ids, titles, artists]) = self.columns else { return false };
        let pair = Some((titles[row], artists[row]));
        std::mem::replace(&mut self.titles_of[ids[row] as usize], pair) == pair
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// However long titles are, the pair of the latest day is said, then the greater one; each once.
        #[test]
        fn the_greatest_is_said(
            epochs in prop::collection::vec(
                prop::collection::vec((0u32..4, 0i32..3, "[aé]{0,60}", "[aé]{0,60}"), 0..8),
                1..5,
            ),
        ) {
            let keys: Vec<_> = (0..4).map(|track| ItemKey::new(ItemKind::TRACK, &format!("S{track}"))).collect();
            let mut namings = Namings::default();
            namings.know(&keys);
            namings.expect_titles(keys.len());
            let mut greatest = BTreeMap::new();
            for epoch in epochs {
                let before = greatest.clone();
                for (track, day, title, artist) in epoch {
                    namings.hear(track, day, &format!("S{track}"), &title, &artist);
                    let news = (day, About { title, artist });
                    let known = greatest.entry(track).or_insert_with(|| news.clone());
                    *known = news.max(known.clone());
                }
                let mut said: Vec<_> = namings.drain().collect();
                said.sort_by_key(|naming| naming.text.clone());
                let expected = greatest.iter().filter(|(track, about)| before.get(track) != Some(about));
                let expected = expected.map(|(track, about)| Naming {
                    item: keys[*track as usize],
                    text: format!("S{track}").into(),
                    about: Some(about.clone()),
                });
                prop_assert_eq!(said, expected.collect::<Vec<_>>());
            }
        }
    }
}
