//! The text of each item, and the title and artist of each track.
//!
//! Counts travel under an [`ItemKey`]. A text travels once, when a worker first sees it, to the
//! worker that owns the item. Of several titles and artists of a track, the pair of the latest UTC
//! day wins, then the greater pair: a maximum, which does not depend on the order of arrival.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use differential_dataflow::{AsCollection, VecCollection};
use foldhash::fast::RandomState;
use serde::{Deserialize, Serialize};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::vec::ToStream;

use crate::keys::interner::Interner;
use crate::keys::item::ItemKey;
use crate::operators::{Closing, EpochFold, Outputs, by_epoch};
use crate::rules::plan::Tally;
use crate::tick::Epoch;

/// The title and the artist of a track.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TrackInfo {
    /// The title.
    pub title: String,
    /// The name of the artist.
    pub artist: String,
}

/// The names of an item, from a source. Of several namings of an item, the greatest `info` counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Naming {
    /// The item.
    pub item: ItemKey,
    /// The text of the item: the id of a track, the name of an artist or album.
    pub text: Arc<str>,
    /// For a track, the UTC day of a play, in days since 1970, and the title and artist of that
    /// play. `None` for other items, and for a track whose titles are read on demand.
    pub info: Option<(i32, TrackInfo)>,
}

/// The names of the items that a worker owns, shared by the operators of the worker.
///
/// An operator may look up the items of an epoch once the frontier of [`Catalogue::barrier`] has
/// passed the epoch. A text never changes; the title of a track may already be that of a later
/// epoch.
///
/// ```
/// use reprise_dataflows::keys::item::{ItemKey, ItemKind};
/// use reprise_dataflows::names::catalogue::{TrackInfo, Naming, catalogue};
/// use timely::dataflow::operators::vec::ToStream;
///
/// let track = ItemKey::new(ItemKind::TRACK, "S1");
/// let naming = move |day, title: &str| {
///     let info = TrackInfo { title: title.to_owned(), artist: "Ana".to_owned() };
///     Naming { item: track, text: "S1".into(), info: Some((day, info)) }
/// };
/// let title = timely::execute_directly(move |worker| {
///     // The title of the later day wins, although it comes first.
///     let names = worker.dataflow::<u64, _, _>(|scope| {
///         let namings = [naming(20_773, "Moon (Live)"), naming(20_000, "Moon")];
///         catalogue(namings.to_stream(scope)).names
///     });
///     while worker.step() {}
///     names.info(&track).map(|info| info.title)
/// });
/// assert_eq!(title.as_deref(), Some("Moon (Live)"));
/// ```
#[derive(Clone, Default)]
pub struct Names(Rc<RefCell<NameTable>>);

#[derive(Default)]
struct NameTable {
    items: Interner<ItemKey>,
    /// The texts, by the number of the item.
    texts: Vec<Arc<str>>,
    /// The name of each track, by the number of the item, with the UTC day of its play.
    tracks: Vec<Option<(i32, SharedTrack)>>,
}

/// A track with its title and artist, shared by the operators of a worker.
pub type SharedTrack = Arc<Track>;

/// A track with its title and artist.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Track {
    /// The id of the track.
    pub id: Arc<str>,
    /// The title and artist.
    pub info: TrackInfo,
}

impl Names {
    /// The text of an item; empty if no source has named it.
    pub fn text(&self, item: &ItemKey) -> Arc<str> {
        self.0.borrow().text(item).cloned().unwrap_or_default()
    }

    /// Orders items by their texts, bytewise.
    pub fn compare(&self, a: &ItemKey, b: &ItemKey) -> Ordering {
        let named = self.0.borrow();
        named.text(a).cmp(&named.text(b))
    }

    /// The title and artist of a track; `None` if no source has reported them.
    pub fn info(&self, track: &ItemKey) -> Option<TrackInfo> {
        let named = self.0.borrow();
        let track = named.tracks[named.items.find(track)? as usize].as_ref();
        track.map(|(_, track)| track.info.clone())
    }

    /// Calls `visit` with every track that has a title, in the order of the first appearance of
    /// tracks.
    pub fn each_track(&self, visit: &mut dyn FnMut(&ItemKey, &TrackInfo)) {
        let named = self.0.borrow();
        for (number, track) in (0..).zip(&named.tracks) {
            if let Some((_, track)) = track {
                visit(named.items.get(number), &track.info);
            }
        }
    }
}

impl NameTable {
    fn text(&self, item: &ItemKey) -> Option<&Arc<str>> {
        self.items.find(item).map(|number| &self.texts[number as usize])
    }

    /// Stores the text of an item, and returns the number of the item.
    ///
    /// # Panics
    /// If another text has the same key: the charts would mix the counts of both.
    fn insert(&mut self, item: ItemKey, text: Arc<str>) -> u32 {
        let number = self.items.number(&item);
        if number as usize == self.texts.len() {
            self.texts.push(text);
            self.tracks.push(None);
            return number;
        }
        let known = &self.texts[number as usize];
        assert!(
            *known == text,
            "two items have the same 128-bit key, which their charts would mix: {known:?} and {text:?}"
        );
        number
    }
}

/// The outputs of [`catalogue`].
pub struct Catalogue<'scope> {
    /// The names of this worker's items.
    pub names: Names,
    /// The id, title and artist of every track whose title is known.
    pub titles: VecCollection<'scope, Epoch, (ItemKey, SharedTrack), i64>,
    /// Always empty. Its frontier passes an epoch once all texts of the epoch are in `names`.
    /// Operators concatenate it to their input: ties are broken by text and answers contain texts,
    /// so an epoch must not be ranked or answered before.
    pub barrier: VecCollection<'scope, Epoch, Tally, i64>,
}

/// Collects the names of items at the workers that own the items.
pub fn catalogue(namings: StreamVec<'_, Epoch, Naming>) -> Catalogue<'_> {
    let names = Names::default();
    let exchange = Exchange::new(|naming: &Naming| naming.item.route());
    let no_queries = None::<()>.to_stream(namings.scope());
    let collector = NameCollector { names: names.clone(), renamed: HashMap::default() };
    let (titles,) = by_epoch("Catalogue", namings, exchange, no_queries, collector);
    let titles = titles.as_collection();
    Catalogue { names, barrier: titles.clone().flat_map(|_| None), titles }
}

/// Collects the names of a worker's items.
struct NameCollector {
    names: Names,
    /// The names before the open epoch of the tracks that it renames, by the number of the item.
    renamed: HashMap<u32, Option<SharedTrack>, RandomState>,
}

impl EpochFold<Epoch> for NameCollector {
    type Update = Naming;
    type Query = ();
    type Outputs = (((ItemKey, SharedTrack), Epoch, i64),);

    fn update(&mut self, namings: Vec<Naming>) {
        let mut named = self.names.0.borrow_mut();
        for Naming { item, text, info } in namings {
            let number = named.insert(item, text);
            let Some((day, info)) = info else { continue };
            let id = named.texts[number as usize].clone();
            let track = &mut named.tracks[number as usize];
            if track.as_ref().is_some_and(|(known, track)| (*known, &track.info) >= (day, &info)) {
                continue;
            }
            let before = track.replace((day, Arc::new(Track { id, info })));
            self.renamed.entry(number).or_insert(before.map(|(_, before)| before));
        }
    }

    fn query(&mut self, _queries: Vec<()>) {}

    fn close(&mut self, time: &Epoch, (titles,): <Self::Outputs as Outputs<Epoch>>::Emit<'_>) -> Closing {
        let named = self.names.0.borrow();
        #[expect(clippy::iter_over_hash_type, reason = "a collection has no order")]
        for (number, before) in self.renamed.drain() {
            let item = *named.items.get(number);
            let after = named.tracks[number as usize].as_ref().map(|(_, after)| after.clone());
            if before != after {
                before.into_iter().for_each(|before| titles(((item, before), *time, -1)));
                after.into_iter().for_each(|after| titles(((item, after), *time, 1)));
            }
        }
        Closing::Done
    }
}
