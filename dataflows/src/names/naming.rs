//! The namings that a worker emits for the items of its plays: each text once, and the title and
//! artist of a track when they change or, if they are read on demand, when a query asks for them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use smallvec::SmallVec;

use super::catalogue::{Naming, TrackInfo};
use crate::keys::interner::TOGETHER;
use crate::keys::item::ItemKey;
use crate::play::{DAY_US, LateTitles, PlayBatch, Texts};
use crate::rules::definition::ItemKind;

/// The names that one worker has found, and the namings that it has yet to emit.
#[derive(Default)]
pub struct Namings {
    /// By the number of the track.
    tracks: Vec<Track>,
    /// By the number of the track; may be shorter than `tracks`.
    newest: Vec<NewestTitle>,
    /// The latest UTC day of each track, in an array of its own: most plays of a history need
    /// nothing else.
    days: Vec<i32>,
    /// The tracks whose naming has not been emitted.
    changed: Vec<u32>,
    /// By the number of the track.
    keys: Vec<ItemKey>,
    /// The namings of new items that are not tracks.
    others: Vec<Naming>,
    /// The sources of titles that are read on demand, by UTC day.
    late: BTreeMap<i32, Vec<Arc<dyn LateTitles>>>,
}

#[derive(Default)]
struct Track {
    /// Empty until it is known.
    id: Arc<str>,
    /// Whether the track is in [`Namings::changed`].
    changed: bool,
}

/// The title and artist of the latest UTC day of a track; the day is `i32::MIN` until there are
/// any.
///
/// Nearly each play is compared with it, and no cache holds those of many tracks. It takes two
/// adjacent cache lines, at an address that follows from the number of the track: the processor can
/// fetch it for several plays at once. Long titles are on the heap.
#[repr(C, align(128))]
struct NewestTitle {
    day: i32,
    title_bytes: u32,
    title_and_artist: SmallVec<[u8; 96]>,
}

const _: () = assert!(size_of::<NewestTitle>() == 128);

impl Default for NewestTitle {
    fn default() -> Self {
        Self { day: i32::MIN, title_bytes: 0, title_and_artist: SmallVec::new() }
    }
}

impl NewestTitle {
    fn new(day: i32, title: &str, artist: &str) -> Self {
        let mut title_and_artist = SmallVec::from_slice(title.as_bytes());
        title_and_artist.extend_from_slice(artist.as_bytes());
        Self { day, title_bytes: title.len() as u32, title_and_artist }
    }

    /// Day, title and artist: the greatest wins.
    fn parts(&self) -> (i32, &[u8], &[u8]) {
        let (title, artist) = self.title_and_artist.split_at(self.title_bytes as usize);
        (self.day, title, artist)
    }

    fn info(&self) -> Option<(i32, TrackInfo)> {
        let (day, title, artist) = self.parts();
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        (day > i32::MIN).then(|| (day, TrackInfo { title: text(title), artist: text(artist) }))
    }
}

impl Namings {
    /// The key of a new item that is not a track. Its naming is emitted at the end of the epoch.
    pub fn item(&mut self, kind: ItemKind, text: &str) -> ItemKey {
        let item = ItemKey::new(kind, text);
        self.others.push(Naming { item, text: text.into(), info: None });
        item
    }

    /// Finds new tracks, and newer titles and artists, in a batch. `tracks` has the number of each
    /// row's track, and `keys` the keys of all tracks by number.
    pub fn read_batch(&mut self, batch: &PlayBatch, tracks: &[u32], keys: &[ItemKey]) {
        self.add_tracks(keys);
        let texts = (batch.texts("song_id"), batch.texts("title"), batch.texts("artist"));
        let (Some(ids), Some(titles), Some(artists)) = texts else { return };
        self.expect_titles(self.tracks.len());
        match (batch.day(), batch.timestamps_us()) {
            (Some(day), _) => {
                let mut seen = Seen::new(ids, titles, artists);
                for (row, track) in tracks.iter().enumerate() {
                    if self.days[*track as usize] <= day && !seen.before(row) {
                        self.add(*track, day, ids.get(row), titles.get(row), artists.get(row));
                    }
                }
            }
            (None, Some(timestamps_us)) => {
                for (group, tracks) in tracks.chunks(TOGETHER).enumerate() {
                    let mut known = [i32::MIN; TOGETHER];
                    known.iter_mut().zip(tracks).for_each(|(day, track)| *day = self.newest[*track as usize].day);
                    for ((row, track), known) in (group * TOGETHER..).zip(tracks).zip(known) {
                        let day = timestamps_us[row].div_euclid(DAY_US) as i32;
                        if known <= day {
                            self.add(*track, day, ids.get(row), titles.get(row), artists.get(row));
                        }
                    }
                }
            }
            (None, None) => {}
        }
    }

    /// Records that tracks were played on a UTC day, and the `source` of their titles. `tracks` has
    /// ids and numbers. The ids of new tracks are emitted at the end of the epoch, titles when a
    /// query asks for them.
    pub fn note_source<'a>(
        &mut self,
        source: &Arc<dyn LateTitles>,
        day: i32,
        tracks: impl Iterator<Item = (&'a str, u32)>,
        keys: &[ItemKey],
    ) {
        self.add_tracks(keys);
        self.late.entry(day).or_default().push(source.clone());
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

    /// Makes room for all tracks that have a key.
    fn add_tracks(&mut self, keys: &[ItemKey]) {
        self.tracks.resize_with(keys.len(), Track::default);
        self.days.resize(keys.len(), i32::MIN);
        self.keys.extend_from_slice(&keys[self.keys.len()..]);
    }

    /// Makes room for the titles of the first `tracks`. Queries ask for few tracks of a history,
    /// most of which were seen early: the others need no room.
    fn expect_titles(&mut self, tracks: usize) {
        self.newest.resize_with(self.newest.len().max(tracks), NewestTitle::default);
    }

    /// Reads the titles of the tracks with these numbers from their sources, each track's on the
    /// latest day on which this worker has seen it.
    pub fn read_titles(&mut self, numbers: impl Iterator<Item = u32>) {
        let mut by_day = BTreeMap::<i32, HashMap<Arc<str>, u32>>::new();
        for number in numbers {
            self.expect_titles(number as usize + 1);
            let (day, id) = (self.days[number as usize], self.tracks[number as usize].id.clone());
            by_day.entry(day).or_default().insert(id, number);
        }
        for (day, wanted) in by_day {
            for source in self.late.get(&day).cloned().unwrap_or_default() {
                source.each(&|id| wanted.contains_key(id), &mut |id, title, artist| {
                    if let Some(number) = wanted.get(id) {
                        self.add(*number, day, id, title, artist);
                    }
                });
            }
        }
    }

    /// Stores the title and artist of a play, if they are newer than those of the track.
    fn add(&mut self, number: u32, day: i32, id: &str, title: &str, artist: &str) {
        let newest = &mut self.newest[number as usize];
        if newest.parts() >= (day, title.as_bytes(), artist.as_bytes()) {
            return;
        }
        *newest = NewestTitle::new(day, title, artist);
        let track = &mut self.tracks[number as usize];
        if track.id.is_empty() {
            track.id = id.into();
        }
        self.days[number as usize] = day;
        if !std::mem::replace(&mut track.changed, true) {
            self.changed.push(number);
        }
    }

    /// Removes and returns the namings that have not been emitted.
    pub fn drain(&mut self) -> impl Iterator<Item = Naming> {
        let tracks = std::mem::take(&mut self.changed).into_iter().map(|number| {
            let track = &mut self.tracks[number as usize];
            track.changed = false;
            let info = self.newest.get(number as usize).and_then(NewestTitle::info);
            Naming { item: self.keys[number as usize], text: track.id.clone(), info }
        });
        self.others.drain(..).chain(tracks)
    }
}

/// In a batch of one day with dictionaries, filters out rows whose track, title and artist are
/// those of an earlier row.
struct Seen<'a> {
    /// The keys of ids, titles and artists; `None` if any is not a dictionary.
    columns: Option<[&'a [i32]; 3]>,
    /// The keys of the last title and artist, by the key of the id.
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

    /// Whether the track of this row had the same title and artist in its last row before.
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
        /// The pair of the latest day is emitted, of that day the greatest, and each once.
        #[test]
        fn the_greatest_is_emitted(
            epochs in prop::collection::vec(
                prop::collection::vec((0u32..4, 0i32..3, "[aé]{0,60}", "[aé]{0,60}"), 0..8),
                1..5,
            ),
        ) {
            let keys: Vec<_> = (0..4).map(|track| ItemKey::new(ItemKind::TRACK, &format!("S{track}"))).collect();
            let mut namings = Namings::default();
            namings.add_tracks(&keys);
            namings.expect_titles(keys.len());
            let mut greatest = BTreeMap::new();
            for epoch in epochs {
                let before = greatest.clone();
                for (track, day, title, artist) in epoch {
                    namings.add(track, day, &format!("S{track}"), &title, &artist);
                    let naming = (day, TrackInfo { title, artist });
                    let known = greatest.entry(track).or_insert_with(|| naming.clone());
                    *known = naming.max(known.clone());
                }
                let mut emitted: Vec<_> = namings.drain().collect();
                emitted.sort_by_key(|naming| naming.text.clone());
                let expected = greatest.iter().filter(|(track, info)| before.get(track) != Some(info));
                let expected = expected.map(|(track, info)| Naming {
                    item: keys[*track as usize],
                    text: format!("S{track}").into(),
                    info: Some(info.clone()),
                });
                prop_assert_eq!(emitted, expected.collect::<Vec<_>>());
            }
        }
    }
}
