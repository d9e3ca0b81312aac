//! The charts of reprise as a timely and differential dataflow: no files, no network, no clock.
//!
//! ```text
//!  plays ──► summarise ──┬─ days ────────┬──► digest ──► rank ──────┐
//!                        │       tallies ┘      └─► inputs          ├──► rank ──► ranked
//!                        ├─ panes ──► window ─► digest ──► rank ────┘
//!                        │              │         └─► inputs
//!  ticks ────────────────┼──────────────┘
//!                        └─ namings ──► catalogue ──► titles (of what is ranked)
//!  queries ──► to the three that count: window and both of the first ranks ──► answers; and to summarise, for late titles
//! ```
//!
//! Live traffic and the lake go through the same [`build`], so that they cannot disagree.

#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod calendar;
pub mod catalogue;
mod charts_toml;
mod counts;
pub mod definition;
pub mod digest;
pub mod exchange;
mod grouped;
pub mod item;
pub mod label;
mod naming;
mod numbering;
pub mod numbers;
mod pane;
pub mod plan;
pub mod play;
pub mod query;
pub mod rank;
mod stash;
pub mod summarise;
mod tally;
mod titles;
mod top;
pub mod trending;

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use differential_dataflow::VecCollection;
use serde::{Deserialize, Serialize};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{Exchange, ParallelizationContract, Pipeline};
use timely::dataflow::operators::Concat;

use catalogue::{About, Catalogue, Naming, catalogue};
use definition::{Cell, Definitions};
use digest::{InputsChange, digest};
use exchange::Scatter;
use item::ItemKey;
use plan::{Key, Plan};
use play::PlayBatch;
use query::{Answer, Query};
use rank::{Ranked, rank, rank_and_answer};
use summarise::summarise;
use titles::titles_of;
use trending::window;

/// The dataflow's timestamp: the number of a batch of work that is complete as a whole, or not at all.
pub type Epoch = u64;

/// What is counted; how often, is in the difference.
pub type Tally = (Key, ItemKey);

/// What begins an epoch, and holds for all of it, on every worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tick {
    pub epoch: Epoch,
    /// The event time, in µs since 1970, that it is taken to be; none before the first play.
    pub clock_us: Option<i64>,
    pub stage: Stage,
    /// Set where the plays of earlier epochs are to be committed, and none of later ones.
    pub cut: Option<CutPoint>,
}

/// Which source reads in an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// The lake.
    Rebuild,
    /// Kafka.
    Live,
    /// None any more.
    Stop,
}

/// The last epoch before a cut, and its clock: what a commit makes durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CutPoint {
    pub epoch: Epoch,
    pub clock_us: Option<i64>,
}

/// What [`build`] gives, spread over the workers.
pub struct Charts<'scope> {
    /// The top of every cell: the multiplicity of (cell, item) is its count. A track is named by its id.
    pub ranked: VecCollection<'scope, Epoch, (Cell, String), i64>,
    /// The title and artist of each track that is in a top, as far as they have been told or asked for: see
    /// [`query::Question::Titles`].
    pub titles: VecCollection<'scope, Epoch, (String, About), i64>,
    /// What was counted for each chart, as changes that add up.
    pub inputs: StreamVec<'scope, Epoch, InputsChange>,
    /// What each worker's items say to the queries of an epoch, at its end.
    pub answers: StreamVec<'scope, Epoch, Answer>,
}

/// Plays that have been counted already, as a checkpoint has them.
pub struct Tallied<'scope> {
    pub tallies: VecCollection<'scope, Epoch, Tally, i64>,
    /// The text of every item in `tallies`, and what each track is called.
    pub namings: StreamVec<'scope, Epoch, Naming>,
}

/// The whole graph, from plays to charts.
///
/// `ticks` and `queries` come to every worker. What is `tallied` adds to `plays`.
pub fn build<'scope>(
    definitions: &Arc<Definitions>,
    ticks: StreamVec<'scope, Epoch, Tick>,
    plays: StreamVec<'scope, Epoch, PlayBatch>,
    tallied: Tallied<'scope>,
    queries: StreamVec<'scope, Epoch, Query>,
) -> Charts<'scope> {
    let plan = Plan::new(definitions);
    let summary = summarise(plays, queries.clone(), &plan);
    let catalogue = catalogue(summary.namings.concat(tallied.namings));

    let by_item = Scatter(|((_, item), _, _): &(Tally, Epoch, i64)| item.route());
    let (days, days_inputs) = digest(summary.days.concat(tallied.tallies), &plan);
    let days = rank_items(days, queries.clone(), "RankDays", by_item, false, &plan, definitions, &catalogue);
    let panes = summary.panes.concat(catalogue.learned.clone());
    let (window, past) = window(panes, ticks, queries.clone(), definitions, &catalogue.names);
    let (window, window_inputs) = digest(window, &plan);
    let trending = rank_items(window, queries, "RankWindow", Pipeline, true, &plan, definitions, &catalogue);
    let owned = days.tops.concat(trending.tops);

    let titles = titles_of(owned.clone().map(|(_, item)| item), catalogue.titles);

    let by_cell = Exchange::new(|((cell, _), _, _): &((Cell, String), Epoch, i64)| route(cell));
    let (names, tops) = (catalogue.names, definitions.clone());
    let named = owned.map(move |(cell, item)| (cell, names.text(&item).to_string()));
    // The tops of a worker that is alone are those of all.
    let ranked = match named.inner.scope().peers() {
        1 => named,
        _ => rank(named, "RankMerge", by_cell, |cell| vec![cell.clone()], move |cell| tops.top(cell.chart), Ord::cmp),
    };
    let answers = days.answers.concat(trending.answers).concat(past);
    Charts { ranked, titles, inputs: days_inputs.concat(window_inputs), answers }
}

/// The top of each cell among the items that a worker owns, and what their counts say to `queries`.
#[expect(
    clippy::too_many_arguments,
    reason = "it is `rank_and_answer`, with what both callers have in common filled in"
)]
fn rank_items<'scope, P>(
    tallies: VecCollection<'scope, Epoch, Tally, i64>,
    queries: StreamVec<'scope, Epoch, Query>,
    name: &str,
    pact: P,
    is_window: bool,
    plan: &Plan,
    definitions: &Arc<Definitions>,
    catalogue: &Catalogue<'scope>,
) -> Ranked<'scope, Epoch, (Cell, ItemKey), Answer>
where
    P: ParallelizationContract<Epoch, Vec<(Tally, Epoch, i64)>>,
{
    let (plan, tops, order, names) =
        (plan.clone(), definitions.clone(), catalogue.names.clone(), catalogue.names.clone());
    rank_and_answer(
        tallies.concat(catalogue.learned.clone()),
        queries,
        name,
        pact,
        move |key| plan.cells(key),
        move |cell| tops.top(cell.chart),
        move |a, b| order.compare(a, b),
        move |Query { id, question }, counted| {
            let found = question.answer(counted, &names, is_window).into_iter();
            found.map(move |found| Answer { id, found })
        },
    )
}

/// The number by which cells are spread over workers; the same in every process.
fn route(cell: &Cell) -> u64 {
    let mut hasher = siphasher::sip::SipHasher13::new();
    cell.hash(&mut hasher);
    hasher.finish()
}
