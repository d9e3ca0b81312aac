//! The titles of the tracks that are in a top.
//!
//! One operator, in place of differential's `distinct` and `join`. These two take seven operators,
//! of which three keep arrangements, and every epoch schedules each of them. With short epochs the
//! difference is noticeable: `benches/PROFILE.md` has the figures.

use differential_dataflow::{AsCollection, VecCollection};
use timely::dataflow::channels::pact::Pipeline;

use super::catalogue::{SharedTrack, Track, TrackInfo};
use crate::keys::interner::Interner;
use crate::keys::item::ItemKey;
use crate::operators::{Closing, EpochFold, Outputs, by_epoch};
use crate::tick::Epoch;

/// The id, title and artist of each track in `listed`, once. Both inputs have only items that this
/// worker owns: nothing is exchanged.
pub fn titles_of<'scope>(
    listed: VecCollection<'scope, Epoch, ItemKey, i64>,
    titles: VecCollection<'scope, Epoch, (ItemKey, SharedTrack), i64>,
) -> VecCollection<'scope, Epoch, (String, TrackInfo), i64> {
    let (current,) = by_epoch("Titles", listed.inner, Pipeline, titles.inner, Titles::default());
    current.as_collection()
}

impl EpochFold<Epoch> for Titles {
    type Update = (ItemKey, Epoch, i64);
    type Query = ((ItemKey, SharedTrack), Epoch, i64);
    type Outputs = (((String, TrackInfo), Epoch, i64),);

    fn update(&mut self, updates: Vec<Self::Update>) {
        self.update_tops(updates);
    }

    fn query(&mut self, updates: Vec<Self::Query>) {
        self.update_tracks(updates);
    }

    fn close(&mut self, time: &Epoch, (emit,): <Self::Outputs as Outputs<Epoch>>::Emit<'_>) -> Closing {
        self.end_epoch(|track, diff| emit(((track.id.to_string(), track.info.clone()), *time, diff)));
        Closing::Done
    }
}

/// The titles that a worker emits. Items that are not tracks are listed too, and have no title.
#[derive(Default)]
struct Titles {
    numbers: Interner<ItemKey>,
    /// By the number of the item.
    items: Vec<Item>,
    /// The titles emitted before the open epoch, of the items that it may change.
    before: Vec<(u32, Option<SharedTrack>)>,
}

#[derive(Default)]
struct Item {
    /// The sum of its counts in all tops; positive if and only if it is in any.
    weight: i64,
    track: Option<SharedTrack>,
    /// Whether it is in `before`.
    is_remembered: bool,
}

impl Item {
    /// The title to emit: none unless the item is in a top.
    fn current(&self) -> Option<&SharedTrack> {
        self.track.as_ref().filter(|_| self.weight > 0)
    }
}

impl Titles {
    /// Adds changes of tops.
    fn update_tops(&mut self, updates: Vec<(ItemKey, Epoch, i64)>) {
        for (item, _, diff) in updates {
            let number = self.number(&item);
            let weight = self.items[number as usize].weight;
            if (weight > 0) != (weight + diff > 0) {
                self.remember(number);
            }
            self.items[number as usize].weight += diff;
        }
    }

    /// Adds new titles. The retraction of the old title in the same epoch needs no handling.
    fn update_tracks(&mut self, updates: Vec<((ItemKey, SharedTrack), Epoch, i64)>) {
        for ((item, track), ..) in updates.into_iter().filter(|(_, _, diff)| *diff > 0) {
            let number = self.number(&item);
            if self.items[number as usize].weight > 0 {
                self.remember(number);
            }
            self.items[number as usize].track = Some(track);
        }
    }

    fn number(&mut self, item: &ItemKey) -> u32 {
        let number = self.numbers.number(item);
        if number as usize == self.items.len() {
            self.items.push(Item::default());
        }
        number
    }

    /// Keeps the emitted title of an item that is about to change.
    fn remember(&mut self, number: u32) {
        let item = &mut self.items[number as usize];
        if !std::mem::replace(&mut item.is_remembered, true) {
            self.before.push((number, item.current().cloned()));
        }
    }

    /// Passes the changes of titles in the epoch to `give`.
    fn end_epoch(&mut self, mut give: impl FnMut(&Track, i64)) {
        for (number, before) in self.before.drain(..) {
            let item = &mut self.items[number as usize];
            item.is_remembered = false;
            let after = item.current();
            if before.as_ref() != after {
                before.iter().for_each(|before| give(before, -1));
                after.into_iter().for_each(|after| give(after, 1));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::keys::item::ItemKind;

    const ITEMS: usize = 6;
    const LISTS: usize = 3;

    /// The state at the end of an epoch: the count of each item in each list, and its title.
    type State = [([i64; LISTS], Option<u8>); ITEMS];

    fn key(item: usize) -> ItemKey {
        ItemKey::new(ItemKind::TRACK, &format!("S{item}"))
    }

    fn track(item: usize, title: u8) -> SharedTrack {
        let info = TrackInfo { title: format!("title {title}"), artist: "artist".to_owned() };
        Arc::new(Track { id: format!("S{item}").into(), info })
    }

    /// Some of the updates of an epoch, in any order.
    enum Changes {
        Listed(Vec<(ItemKey, Epoch, i64)>),
        Tracks(Vec<((ItemKey, SharedTrack), Epoch, i64)>),
    }

    /// The updates from `before` to `after`, each in a container of its own.
    fn changes(before: &State, after: &State) -> Vec<Changes> {
        let mut changes = Vec::new();
        for (item, ((counts, title), (new_counts, new_title))) in before.iter().zip(after).enumerate() {
            for (count, new_count) in counts.iter().zip(new_counts).filter(|(count, new_count)| count != new_count) {
                // `rank` emits the difference, which is equivalent to a retraction and an addition.
                changes.push(Changes::Listed(vec![(key(item), 0, -count)]));
                changes.push(Changes::Listed(vec![(key(item), 0, *new_count)]));
            }
            if let (false, Some(new_title)) = (title == new_title, new_title) {
                title.iter().for_each(|title| {
                    changes.push(Changes::Tracks(vec![((key(item), track(item, *title)), 0, -1)]));
                });
                changes.push(Changes::Tracks(vec![((key(item), track(item, *new_title)), 0, 1)]));
            }
        }
        changes
    }

    fn state() -> impl Strategy<Value = State> {
        let count = prop_oneof![3 => Just(0i64), 2 => 1i64..4];
        prop::array::uniform((prop::array::uniform(count), prop::option::weighted(0.8, 0u8..3)))
    }

    proptest! {
        /// The titles of all listed tracks are emitted, in any order of the updates of an epoch.
        #[test]
        fn listed_tracks_with_a_title_are_emitted(
            epochs in prop::collection::vec((state(), any::<prop::sample::Selector>()), 1..8),
        ) {
            let (mut titles, mut emitted, mut before) = (Titles::default(), BTreeMap::new(), State::default());
            for (mut after, selector) in epochs {
                // A track never loses its title.
                for ((_, title), (_, new_title)) in before.iter().zip(&mut after) {
                    *new_title = new_title.or(*title);
                }
                let mut rest = changes(&before, &after);
                while !rest.is_empty() {
                    let next = selector.select(0..rest.len());
                    match rest.swap_remove(next) {
                        Changes::Listed(updates) => titles.update_tops(updates),
                        Changes::Tracks(updates) => titles.update_tracks(updates),
                    }
                }
                titles.end_epoch(|track, diff| {
                    *emitted.entry((track.id.to_string(), track.info.title.clone())).or_insert(0) += diff;
                });
                emitted.retain(|_, times| *times != 0);
                let listed = (0..).zip(&after).filter(|(_, (counts, _))| counts.iter().sum::<i64>() > 0);
                let expected = listed.filter_map(|(item, (_, title))| {
                    Some(((format!("S{item}"), format!("title {}", (*title)?)), 1))
                });
                prop_assert_eq!(&emitted, &BTreeMap::from_iter(expected));
                before = after;
            }
        }
    }
}
