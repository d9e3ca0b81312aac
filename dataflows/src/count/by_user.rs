//! Measures that depend on the user: plays → tallies, by way of state for each user.
//!
//! ```text
//!  plays ──► select ──► UserPlay, to the worker of its item and user ──► by_epoch(Listeners) ──► tallies
//! ```
//!
//! The tallies join those of [`summarise`](super::summarise::summarise) and are ranked in the same
//! way. A measure is an [`EpochFold`] from [`UserPlay`]s to tallies; a tally that no longer holds is
//! retracted by a negative count. The stage is part of the graph only if a chart asks for it.

use std::collections::HashSet;

use differential_dataflow::{AsCollection, VecCollection};
use foldhash::fast::RandomState;
use serde::{Deserialize, Serialize};
use siphasher::sip128::{Hasher128, SipHasher13};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::vec::{Map, ToStream};

use super::tally::Buckets;
use crate::keys::dimension::NONE;
use crate::keys::item::ItemKey;
use crate::keys::label::Label;
use crate::operators::{Closing, EpochFold, Outputs, by_epoch};
use crate::play::PlayBatch;
use crate::rules::definition::Eligible;
use crate::rules::plan::{Grouping, Key, Plan, Tally};
use crate::tick::Epoch;

/// A hash of 128 bits that stands for a user: SipHash-1-3 with a zero key, over the id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UserKey([u64; 2]);

impl UserKey {
    /// The key of the user with this id; `None` for an empty id, which stands for no user.
    pub fn new(id: &str) -> Option<Self> {
        (!id.is_empty()).then(|| {
            let mut hasher = SipHasher13::new();
            std::hash::Hasher::write(&mut hasher, id.as_bytes());
            let hash = hasher.finish128();
            Self([hash.h1, hash.h2])
        })
    }
}

/// An eligible play of a user, under a key by which a chart counts users.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserPlay {
    /// The user.
    pub user: UserKey,
    /// The key and the item.
    pub tally: Tally,
}

impl UserPlay {
    /// The number by which plays are spread over workers: all plays of an item by a user go to the
    /// same worker, in every process.
    fn route(&self) -> u64 {
        self.tally.1.route() ^ self.user.0[0]
    }
}

/// The tallies of all groupings by user, to be added to those of the other groupings; `None` if no
/// chart has such a measure.
pub fn by_user<'scope>(
    plays: StreamVec<'scope, Epoch, PlayBatch>,
    plan: &Plan,
) -> Option<VecCollection<'scope, Epoch, Tally, i64>> {
    plan.groupings.iter().any(Grouping::is_by_user).then(|| {
        let (scope, plan) = (plays.scope(), plan.clone());
        let selected = plays.flat_map(move |batch| select(&plan, &batch));
        let exchange = Exchange::new(UserPlay::route);
        let (tallies,) = by_epoch("Listeners", selected, exchange, None::<()>.to_stream(scope), Listeners::default());
        tallies.as_collection()
    })
}

/// The plays of a batch that the groupings by user count.
///
/// # Panics
/// If the batch lacks a column by which such a grouping counts.
fn select(plan: &Plan, batch: &PlayBatch) -> Vec<UserPlay> {
    let groupings = (0..).zip(&plan.groupings).filter(|(_, grouping)| grouping.is_by_user() && grouping.wants(batch));
    let mut selected = Vec::new();
    for (index, grouping) in groupings {
        let eligible = eligible(grouping.eligible, batch);
        let mut buckets = Buckets::new(grouping);
        let (shared, timestamps_us) = (grouping.bucket_of(batch), batch.timestamps_us());
        let column = |name: &str| required(batch.texts(name), name);
        let (items, users) = (column(grouping.item.column()), column("user_id"));
        let dimensions: Vec<_> = grouping.dimensions.iter().map(|dimension| column(dimension.column())).collect();
        for row in (0..batch.rows()).filter(|row| eligible(*row)) {
            let (Some(item), Some(user)) = (items.get_valid(row), users.get_valid(row).and_then(UserKey::new)) else {
                continue;
            };
            let bucket = shared.unwrap_or_else(|| buckets.of(required(timestamps_us, "timestamp")[row]));
            let labels = dimensions.iter().map(|texts| Label::new(texts.get_valid(row).unwrap_or(NONE))).collect();
            let tally = (Key { grouping: index, bucket, labels }, ItemKey::new(grouping.item, item));
            selected.push(UserPlay { user, tally });
        }
    }
    selected
}

/// Whether each play of a batch is eligible, by its row.
fn eligible(rule: Eligible, batch: &PlayBatch) -> impl Fn(usize) -> bool {
    use arrow::array::Array;
    let completed = (rule != Eligible::All).then(|| required(batch.completed(), "completed"));
    let durations_ms = matches!(rule, Eligible::ListenedMs(_)).then(|| required(batch.durations_ms(), "duration_ms"));
    let listened_ms = batch.listened_ms();
    move |row| {
        let listened_ms = listened_ms.filter(|column| column.is_valid(row)).map(|column| column.value(row));
        rule.counts(
            completed.is_some_and(|column| column.value(row)),
            durations_ms.map_or(0, |column| column.value(row)),
            listened_ms,
        )
    }
}

#[expect(clippy::panic, reason = "continuing would silently count too little")]
fn required<T>(column: Option<T>, name: &str) -> T {
    column.unwrap_or_else(|| panic!("a source has left out the column {name}, by which a chart counts users"))
}

/// The measure `listeners`: the first eligible play of a user counts, all later ones do not.
#[derive(Default)]
struct Listeners {
    /// The counted users.
    counted: HashSet<(UserKey, Tally), RandomState>,
    /// What the open epoch adds.
    added: Vec<Tally>,
}

impl EpochFold<Epoch> for Listeners {
    type Update = UserPlay;
    type Query = ();
    type Outputs = ((Tally, Epoch, i64),);

    fn update(&mut self, plays: Vec<UserPlay>) {
        for UserPlay { user, tally } in plays {
            if self.counted.insert((user, tally.clone())) {
                self.added.push(tally);
            }
        }
    }

    fn query(&mut self, _queries: Vec<()>) {}

    fn close(&mut self, time: &Epoch, (tallies,): <Self::Outputs as Outputs<Epoch>>::Emit<'_>) -> Closing {
        self.added.drain(..).for_each(|tally| tallies((tally, *time, 1)));
        Closing::Done
    }
}
