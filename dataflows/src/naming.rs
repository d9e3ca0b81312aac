//! What a source says of the items that it sees: each text once, and a track's title and artist when they are new, or when they
//! are asked for.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::catalogue::{About, Naming};
use crate::definition::ItemKind;
use crate::item::ItemKey;
use crate::play::{DAY_US, LateTitles, PlayBatch, Texts};

/// What one worker has said, and has to say.
#[derive(Default)]
pub struct Namings {
    /// By track number.
    tracks: Vec<Track>,
    /// The latest day that each track was seen on, close together: most plays of a history need nothing else of their track.
    days: Vec<i32>,
    /// Tracks whose title is not said yet.
    changed: Vec<u32>,
    keys: Vec<ItemKey>,
    artists: Vec<Naming>,
    /// By day, what is read if somebody asks.
    late: BTreeMap<i32, Vec<Arc<dyn LateTitles>>>,
}

#[derive(Default)]
struct Track {
    /// Empty until it is known.
    id: Arc<str>,
    heard: Option<Heard>,
    changed: bool,
}

/// A title and artist, and the day since when, in one piece: nearly each play is compared with it.
struct Heard {
    day: i32,
    title_bytes: u32,
    title_and_artist: Box<str>,
}

impl Heard {
    fn new(day: i32, title: &str, artist: &str) -> Self {
        Self { day, title_bytes: title.len() as u32, title_and_artist: [title, artist].concat().into() }
    }

    fn parts(&self) -> (i32, &str, &str) {
        let (title, artist) = self.title_and_artist.split_at(self.title_bytes as usize);
        (self.day, title, artist)
    }

    fn about(&self) -> (i32, About) {
        let (day, title, artist) = self.parts();
        (day, About { title: title.to_owned(), artist: artist.to_owned() })
    }
}

impl Namings {
    /// The key of an artist that is new, which is said at the end of the epoch.
    pub fn artist(&mut self, artist: &str) -> ItemKey {
        let item = ItemKey::new(ItemKind::Artist, artist);
        self.artists.push(Naming { item, text: artist.into(), about: None });
        item
    }

    /// Looks for tracks that are new, or have a newer title or artist, in a batch whose tracks have the numbers `tracks`,
    /// and these the `keys`.
    pub fn look(&mut self, batch: &PlayBatch, tracks: &[u32], keys: &[ItemKey]) {
        self.know(keys);
        let texts = (batch.texts("song_id"), batch.texts("title"), batch.texts("artist"));
        let (Some(ids), Some(titles), Some(artists)) = texts else { return };
        let (timestamps_us, day) = (batch.timestamps_us(), batch.day());
        let mut seen = Seen::new(ids, titles, artists);
        for (row, track) in tracks.iter().enumerate() {
            let day = match (day, timestamps_us) {
                (Some(day), _) if self.days[*track as usize] > day || seen.before(row) => continue,
                (Some(day), _) => day,
                (None, Some(timestamps_us)) => timestamps_us[row].div_euclid(DAY_US) as i32,
                (None, None) => continue,
            };
            self.hear(*track, day, ids.get(row), titles.get(row), artists.get(row));
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

    /// Reads the late titles of the tracks with these numbers, on the latest day that this worker has seen each of them.
    pub fn ask(&mut self, numbers: impl Iterator<Item = u32>) {
        let mut by_day = BTreeMap::<i32, HashMap<Arc<str>, u32>>::new();
        for number in numbers {
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
        let track = &mut self.tracks[number as usize];
        if track.heard.as_ref().is_some_and(|heard| heard.parts() >= (day, title, artist)) {
            return;
        }
        if track.id.is_empty() {
            track.id = id.into();
        }
        track.heard = Some(Heard::new(day, title, artist));
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
            let about = track.heard.as_ref().map(Heard::about);
            Naming { item: self.keys[number as usize], text: track.id.clone(), about }
        });
        self.artists.drain(..).chain(tracks)
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
