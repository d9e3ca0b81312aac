//! Item key → text, title and artist.
//!
//! Counts travel under an [`ItemKey`]; the texts travel once, when a source first sees them, to the worker that owns the
//! key. The pair of title and artist of the latest UTC day wins, then the greater pair: a maximum, so the order of
//! arrival is of no account.

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

/// What people call a track.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct About {
    pub title: String,
    pub artist: String,
}

/// A source's news of an item: its text, and for a track what it is called since some UTC day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Naming {
    pub item: ItemKey,
    pub text: Arc<str>,
    pub about: Option<(i32, About)>,
}

/// The names of the items that a worker owns, shared by its operators.
///
/// An operator may look up an item at an epoch once the frontier of [`catalogue`]'s output has passed the epoch. A text never
/// changes; what a track is called may be what a later epoch says.
#[derive(Clone, Default)]
pub struct Names(Rc<RefCell<Named>>);

#[derive(Default)]
struct Named {
    items: Interner<ItemKey>,
    /// By number.
    texts: Vec<Arc<str>>,
    /// Of each track, by number, with the UTC day since when it is called so.
    called: Vec<Option<(i32, Called)>>,
}

/// A track with what it is called. Those of a worker who keep it share it.
pub type Called = Arc<Track>;

/// The id of a track, its title and its artist.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Track {
    pub id: Arc<str>,
    pub about: About,
}

impl Names {
    /// The text of an item, or nothing if no source has named it.
    pub fn text(&self, item: &ItemKey) -> Arc<str> {
        self.0.borrow().text(item).cloned().unwrap_or_default()
    }

    /// Orders items by their texts, bytewise.
    pub fn compare(&self, a: &ItemKey, b: &ItemKey) -> Ordering {
        let named = self.0.borrow();
        named.text(a).cmp(&named.text(b))
    }

    /// What a track is called.
    pub fn about(&self, track: &ItemKey) -> Option<About> {
        let named = self.0.borrow();
        let called = named.called[named.items.find(track)? as usize].as_ref();
        called.map(|(_, called)| called.about.clone())
    }

    /// Calls `visit` with every track, in the order in which they were named.
    pub fn each_track(&self, visit: &mut dyn FnMut(&ItemKey, &About)) {
        let named = self.0.borrow();
        for (number, called) in (0..).zip(&named.called) {
            if let Some((_, called)) = called {
                visit(named.items.get(number), &called.about);
            }
        }
    }
}

impl Named {
    fn text(&self, item: &ItemKey) -> Option<&Arc<str>> {
        self.items.find(item).map(|number| &self.texts[number as usize])
    }

    /// Gives the number of the item.
    ///
    /// # Panics
    /// If another text has the same key: counts of the two would have been mixed, and no answer is better than a wrong one.
    fn learn(&mut self, item: ItemKey, text: Arc<str>) -> u32 {
        let number = self.items.number(&item);
        if number as usize == self.texts.len() {
            self.texts.push(text);
            self.called.push(None);
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

/// What [`catalogue`] gives.
pub struct Catalogue<'scope> {
    /// Of this worker's items.
    pub names: Names,
    /// The id, title and artist of every track whose title has been told.
    pub titles: VecCollection<'scope, Epoch, (ItemKey, Called), i64>,
    /// Nothing, ever. But its frontier says which epochs' texts have been learned: ties are broken by text, and answers are in
    /// texts, so no epoch may be ranked or answered before.
    pub learned: VecCollection<'scope, Epoch, Tally, i64>,
}

/// Gathers what sources say of items at the items' owners.
pub fn catalogue(namings: StreamVec<'_, Epoch, Naming>) -> Catalogue<'_> {
    let names = Names::default();
    let exchange = Exchange::new(|naming: &Naming| naming.item.route());
    let no_queries = None::<()>.to_stream(namings.scope());
    let learner = Learner { names: names.clone(), renamed: HashMap::default() };
    let (titles,) = by_epoch("Catalogue", namings, exchange, no_queries, learner);
    let titles = titles.as_collection();
    Catalogue { names, learned: titles.clone().flat_map(|_| None), titles }
}

/// Learns the names of a worker's items.
struct Learner {
    names: Names,
    /// What was said last of those that are called otherwise in the open epoch, by number.
    renamed: HashMap<u32, Option<Called>, RandomState>,
}

impl EpochFold<Epoch> for Learner {
    type Update = Naming;
    type Query = ();
    type Outputs = (((ItemKey, Called), Epoch, i64),);

    fn update(&mut self, namings: Vec<Naming>) {
        let mut named = self.names.0.borrow_mut();
        for Naming { item, text, about } in namings {
            let number = named.learn(item, text);
            let Some((day, about)) = about else { continue };
            let id = named.texts[number as usize].clone();
            let called = &mut named.called[number as usize];
            if called.as_ref().is_some_and(|(known, called)| (*known, &called.about) >= (day, &about)) {
                continue;
            }
            let before = called.replace((day, Arc::new(Track { id, about })));
            self.renamed.entry(number).or_insert(before.map(|(_, before)| before));
        }
    }

    fn query(&mut self, _queries: Vec<()>) {}

    fn close(&mut self, time: &Epoch, (titles,): <Self::Outputs as Outputs<Epoch>>::Emit<'_>) -> Closing {
        let named = self.names.0.borrow();
        #[expect(clippy::iter_over_hash_type, reason = "a collection has no order")]
        for (number, before) in self.renamed.drain() {
            let item = *named.items.get(number);
            let after = named.called[number as usize].as_ref().map(|(_, after)| after.clone());
            if before != after {
                before.into_iter().for_each(|before| titles(((item, before), *time, -1)));
                after.into_iter().for_each(|after| titles(((item, after), *time, 1)));
            }
        }
        Closing::Done
    }
}
