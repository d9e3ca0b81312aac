//! What the tracks are called that are in a list.
//!
//! Differential's `distinct` and `join` say the same, by three arrangements and six operators, each of which every epoch
//! schedules: short epochs are a seventh slower with them, by the 99th percentile.

use std::collections::HashMap;

use differential_dataflow::{AsCollection, VecCollection};
use foldhash::fast::RandomState;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Operator;

use crate::Epoch;
use crate::catalogue::{About, Called, Track};
use crate::item::ItemKey;
use crate::numbers::Numbers;
use crate::stash::{Ready, Stash};

/// The id, title and artist of each track that is among `items`, however often. All of them, and of those in `titles`, are this
/// worker's: nothing travels.
pub fn titles_of<'scope>(
    items: VecCollection<'scope, Epoch, ItemKey, i64>,
    titles: VecCollection<'scope, Epoch, (ItemKey, Called), i64>,
) -> VecCollection<'scope, Epoch, (String, About), i64> {
    let stream = items.inner.binary_frontier(titles.inner, Pipeline, Pipeline, "Titles", |_capability, _info| {
        let (mut stash, mut tracks) = (Stash::new(), Tracks::default());
        move |(items, items_frontier), (titles, titles_frontier), output| {
            items.for_each_stamp(|capability, data| {
                if let Some(capability) = capability.retain_least(output.output_index()) {
                    let news = data.map(|items| vec![News::Listed(std::mem::take(items))]);
                    stash.extend(*capability.time(), capability, news);
                }
            });
            titles.for_each_stamp(|capability, data| {
                if let Some(capability) = capability.retain_least(output.output_index()) {
                    let news = data.map(|titles| vec![News::Called(std::mem::take(titles))]);
                    stash.extend(*capability.time(), capability, news);
                }
            });
            while let Some(Ready { time, containers, complete }) = stash.next(&[items_frontier, titles_frontier]) {
                containers.into_iter().flatten().for_each(|news| tracks.hear(news));
                let Some(capability) = complete else { break };
                let mut session = output.session(&capability);
                tracks.end_epoch(|track, diff| session.give(((track.id.to_string(), track.about.clone()), time, diff)));
            }
        }
    });
    stream.as_collection()
}

/// Updates of one epoch.
enum News {
    Listed(Vec<(ItemKey, Epoch, i64)>),
    Called(Vec<((ItemKey, Called), Epoch, i64)>),
}

/// The tracks that have been listed or called something.
#[derive(Default)]
struct Tracks {
    numbers: Numbers<ItemKey>,
    /// By number.
    tracks: Vec<Listed>,
    /// What was said before the open epoch of those that it is news of, by number.
    touched: HashMap<u32, Option<Called>, RandomState>,
}

#[derive(Clone, Default)]
struct Listed {
    /// In how many lists it is.
    lists: i64,
    called: Option<Called>,
}

impl Listed {
    fn said(&self) -> Option<&Called> {
        self.called.as_ref().filter(|_| self.lists > 0)
    }
}

impl Tracks {
    fn hear(&mut self, news: News) {
        match news {
            News::Listed(items) => {
                for (item, _, diff) in items {
                    let number = self.number(&item);
                    self.touch(number);
                    self.tracks[number as usize].lists += diff;
                }
            }
            // What it was called is taken back too, and does not matter.
            News::Called(titles) => {
                for ((item, called), ..) in titles.into_iter().filter(|(_, _, diff)| *diff > 0) {
                    let number = self.number(&item);
                    // Most are in no list, ever.
                    if self.tracks[number as usize].lists != 0 {
                        self.touch(number);
                    }
                    self.tracks[number as usize].called = Some(called);
                }
            }
        }
    }

    fn number(&mut self, item: &ItemKey) -> u32 {
        let number = self.numbers.number(item);
        if number as usize == self.tracks.len() {
            self.tracks.push(Listed::default());
        }
        number
    }

    /// Notes what is said of a track before that changes.
    fn touch(&mut self, number: u32) {
        self.touched.entry(number).or_insert_with(|| self.tracks[number as usize].said().cloned());
    }

    /// Gives what is said otherwise than before.
    fn end_epoch(&mut self, mut give: impl FnMut(&Track, i64)) {
        #[expect(clippy::iter_over_hash_type, reason = "a collection has no order")]
        for (number, before) in self.touched.drain() {
            let after = self.tracks[number as usize].said();
            if before.as_ref() != after {
                before.iter().for_each(|before| give(before, -1));
                after.into_iter().for_each(|after| give(after, 1));
            }
        }
    }
}
