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

pub mod count;
pub mod keys;
pub mod names;
pub mod operators;
pub mod play;
pub mod query;
pub mod rank;
pub mod rules;
mod tick;
pub mod time;
mod tops;
pub mod window;

use std::sync::Arc;

use differential_dataflow::VecCollection;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Concat;

use count::summarise::summarise;
use names::catalogue::{About, Naming, catalogue};
use names::titles::titles_of;
use operators::exchange::Scatter;
use play::PlayBatch;
use query::{Answer, Query};
use rank::digest::{InputsChange, digest};
use rank::rank;
use rules::definition::{Cell, Definitions};
use rules::plan::Plan;
pub use rules::plan::Tally;
pub use tick::{CutPoint, Epoch, Stage, Tick};
use tops::{ItemRules, merge};
use window::window;

/// What [`build`] gives, spread over the workers.
pub struct Charts<'scope> {
    /// The top of every cell: the multiplicity of (cell, item) is its count. A track is named by its id.
    pub ranked: VecCollection<'scope, Epoch, (Cell, String), i64>,
    /// The title and artist of each track that is in a top, as far as they have been told or asked for: see
    /// [`query::QueryKind::Titles`].
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
    let days = days.concat(catalogue.learned.clone());
    let days = rank("RankDays", days, by_item, queries.clone(), ItemRules::of_days(definitions, &catalogue.names));

    let panes = summary.panes.concat(catalogue.learned.clone());
    let (window, past) = window(panes, ticks, queries.clone(), definitions, &catalogue.names);
    let (window, window_inputs) = digest(window, &plan);
    let window = window.concat(catalogue.learned.clone());
    let trending = rank("RankWindow", window, Pipeline, queries, ItemRules::of_window(definitions, &catalogue.names));

    let owned = days.tops.concat(trending.tops);
    let titles = titles_of(owned.clone().map(|(_, item)| item), catalogue.titles);
    let ranked = merge(owned, definitions, &catalogue.names);
    let answers = days.answers.concat(trending.answers).concat(past);
    Charts { ranked, titles, inputs: days_inputs.concat(window_inputs), answers }
}
