//! The charts of reprise as a timely and differential dataflow, without I/O.
//!
//! A chart is a function of plays. This crate holds that function, [`build`], and everything it
//! needs. Live traffic and history go through the same `build`, so their charts cannot disagree.
//!
//! # The graph
//!
//! ```text
//!  plays ──► summarise ──┬─ days ────────┬──► digest ──► rank ──────┐
//!                        │       tallies ┘      └─► inputs          ├──► rank ──► ranked
//!                        ├─ panes ──► window ─► digest ──► rank ────┘
//!                        │              │         └─► inputs
//!  ticks ────────────────┼──────────────┘
//!                        └─ namings ──► catalogue ──► titles (of the ranked tracks)
//!  queries ──► window and both of the first ranks ──► answers
//!         └──► summarise, for titles that a source reads on demand
//! ```
//!
//! # The model
//!
//! **Plays.** A play says that a track was listened to at some moment, in some country, on some
//! device. Plays arrive as Arrow record batches, [`play::PlayBatch`].
//!
//! **Charts and cells.** A chart ranks *items* of one kind (tracks, artists, albums) by their plays
//! in each calendar period, over all plays and for each value of a *dimension* (country, device,
//! city). One such list is a [cell](rules::definition::Cell): the chart `weekly` has a cell for the
//! week of 2026-11-16 and the United States. *Trending* has no period: its cells cover a sliding
//! window. [`rules::definition::Definitions`] holds all charts of a run; they are read from a
//! `charts.toml`.
//!
//! **Epochs and ticks.** The timestamp of the dataflow is the [`Epoch`], a counter of batches of
//! work. A [`Tick`] begins each epoch and carries the *clock*: the moment that the epoch takes for
//! "now". A play may come in any epoch; its timestamp, or the day of its batch, decides the periods
//! in which it counts.
//! The output of an epoch is complete once the frontier has passed the epoch, and then counts all
//! plays of that epoch and of those before it, and no others.
//!
//! **Plan, grouping, key.** Charts often count the same plays. A [`rules::plan::Plan`] puts charts
//! with the same kind of item, eligibility and time zone into one *grouping*. A grouping counts
//! each play once, under the finest [`rules::plan::Key`] that any of its charts needs: a bucket of
//! time and a label for each dimension. [`rules::plan::Plan::cells`] lists the cells to which a key
//! contributes.
//!
//! **Tallies.** A [`Tally`] is a key and an item. How often the item was played is the difference
//! of its update, so tallies of the same key and item simply add up. Each worker counts the plays
//! that it has read; only tallies travel, to the worker that *owns* the item.
//!
//! **Window.** The [trending window](mod@window) consists of *panes*, one for each slide. A pane
//! adds its tallies when it enters the window and retracts them when it leaves.
//!
//! **Rank.** [`rank`](mod@rank) sums tallies by cell and keeps the top of each cell, as a
//! collection: the multiplicity of (cell, item) is its count while it is in the top. Each worker
//! ranks the items that it owns; one more `rank` merges the tops of all workers.
//!
//! **Names.** An item travels as a hash of its text, [`keys::item::ItemKey`]. A worker sends a text
//! once, when it first sees it, to the owner of the item, which keeps it together with the title
//! and artist of a track ([`names::catalogue`]).
//!
//! **Queries.** What no top holds, such as the plays of any track, is asked by a [`query::Query`].
//! It enters with an epoch, and every worker answers from its counts at the end of that epoch.
//!
//! **Folds.** Every step that keeps state from epoch to epoch is an [`operators::EpochFold`]. It
//! receives the updates of an epoch in any order and emits changes when the epoch is complete. It
//! does not know timely, so a unit test can call it; [`operators::by_epoch`] makes an operator of
//! it.
//!
//! # Invariants
//!
//! - **No I/O.** Nothing here opens a file or a connection or reads the time. Everything on which a
//!   chart depends is an argument of [`build`]. A source that reads titles on demand implements
//!   [`play::LateTitles`].
//! - **One answer.** The same plays, and for trending the same clock, give the same charts,
//!   whatever their order, the epochs they came in, and the number of workers and processes. Ties
//!   are broken by the text of the item, bytewise.
//! - **Whole epochs.** All outputs of an epoch are true for its end. The title of a track is the
//!   exception: it may already be that of a later epoch.
//!
//! # Example
//!
//! ```
//! use std::sync::Arc;
//!
//! use arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringArray};
//! use reprise_dataflows::play::PlayBatch;
//! use reprise_dataflows::query::Query;
//! use reprise_dataflows::rules::definition::Definitions;
//! use reprise_dataflows::{Stage, Tallied, Tick, build};
//! use timely::dataflow::operators::capture::{Capture, Extract};
//! use timely::dataflow::operators::vec::ToStream;
//!
//! // One chart: the most played tracks of each day, everywhere and by country.
//! let charts = "[[chart]]\nname = 'daily'\nperiod = 'day'\nscopes = ['global', 'country']";
//! let definitions = Arc::new(Definitions::parse(charts)?);
//!
//! // Three plays of 2026-11-16, which is day 20,773 since 1970.
//! let texts = |texts: [&str; 3]| Arc::new(StringArray::from(texts.to_vec())) as ArrayRef;
//! let columns = RecordBatch::try_from_iter([
//!     ("song_id", texts(["S1", "S2", "S1"])),
//!     ("title", texts(["Moon", "Rain", "Moon"])),
//!     ("artist", texts(["Ana", "Bo", "Ana"])),
//!     ("country", texts(["PT", "PT", "US"])),
//!     ("completed", Arc::new(BooleanArray::from(vec![true; 3])) as ArrayRef),
//! ])?;
//! let plays = PlayBatch::new(columns, Some(20_773));
//!
//! // The graph, with one epoch: its tick and its plays. There is no checkpoint and no query.
//! let rules = definitions.clone();
//! let ranked = timely::example(move |scope| {
//!     let tick = Tick { epoch: 0, clock_us: None, stage: Stage::Live, cut: None };
//!     let (ticks, plays) = ([tick].to_stream(scope), [plays].to_stream(scope));
//!     let queries = None::<Query>.to_stream(scope);
//!     build(&rules, ticks, plays, Tallied::none(scope), queries, None).ranked.inner.capture()
//! });
//!
//! let mut lines = Vec::new();
//! for (_epoch, updates) in ranked.extract() {
//!     for ((cell, track), _, plays) in updates {
//!         let chart = definitions.name(cell.chart);
//!         lines.push(format!("{chart} {}: {track} {plays}", cell.scope.name()));
//!     }
//! }
//! lines.sort();
//! assert_eq!(
//!     lines,
//!     [
//!         "daily PT: S1 1",
//!         "daily PT: S2 1",
//!         "daily US: S1 1",
//!         "daily global: S1 2",
//!         "daily global: S2 1",
//!     ],
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! `examples/top_songs.rs` prints a chart, and `tests/support/graph.rs` runs the graph on several
//! workers.

#![deny(missing_docs)]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod count;
pub mod keys;
pub mod names;
pub mod operators;
pub mod play;
pub mod query;
pub mod rank;
mod reference;
pub mod rules;
mod tick;
pub mod time;
mod tops;
pub mod window;

use std::sync::Arc;

use differential_dataflow::{AsCollection, VecCollection};
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Concat;
use timely::dataflow::operators::vec::ToStream;
use timely::dataflow::{Scope, StreamVec};

use count::by_user::by_user;
use count::summarise::summarise;
use names::catalogue::{Naming, TrackInfo, catalogue};
use names::titles::titles_of;
use operators::exchange::Scatter;
use play::PlayBatch;
use query::{Answer, Query};
use rank::digest::{InputsChange, digest};
use rank::rank;
pub use reference::Reference;
use reference::corrected;
use rules::definition::{Cell, Definitions};
use rules::plan::Plan;
pub use rules::plan::Tally;
pub use tick::{CutPoint, Epoch, Stage, Tick};
use tops::{ItemRules, merge};
use window::window;

/// The outputs of [`build`]. Each is spread over the workers: the whole is the union of all.
///
/// ```
/// # use std::sync::Arc;
/// # use arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringArray};
/// # use reprise_dataflows::play::PlayBatch;
/// # use reprise_dataflows::rules::definition::Definitions;
/// # use reprise_dataflows::{Tallied, build};
/// # use timely::dataflow::operators::capture::{Capture, Extract};
/// # use timely::dataflow::operators::{Input, vec::ToStream};
/// # fn play(id: &str) -> PlayBatch {
/// #     let text = |text: &str| Arc::new(StringArray::from(vec![text])) as ArrayRef;
/// #     let completed = Arc::new(BooleanArray::from(vec![true])) as ArrayRef;
/// #     let columns = [("song_id", text(id)), ("title", text("Moon")), ("artist", text("Ana"))];
/// #     let columns = columns.into_iter().chain([("completed", completed)]);
/// #     PlayBatch::new(RecordBatch::try_from_iter(columns).unwrap(), Some(20_773))
/// # }
/// // A chart that lists one track. Epoch 0 has a play of S1 and one of S2, epoch 1 another of S2.
/// let chart = "[[chart]]\nname = 'ever'\nperiod = 'all'\nscopes = ['global']\ntop = 1";
/// let definitions = Arc::new(Definitions::parse(chart)?);
/// let ranked = timely::execute_directly(move |worker| {
///     let (mut plays, ranked) = worker.dataflow(|scope| {
///         let (plays, play_stream) = scope.new_input();
///         let (ticks, queries) = (None.to_stream(scope), None.to_stream(scope));
///         let charts = build(&definitions, ticks, play_stream, Tallied::none(scope), queries, None);
///         (plays, charts.ranked.inner.capture())
///     });
///     plays.send(play("S2"));
///     plays.send(play("S1"));
///     plays.advance_to(1);
///     plays.send(play("S2"));
///     ranked
/// });
/// let mut updates = Vec::new();
/// for (_, changes) in ranked.extract() {
///     updates.extend(changes.into_iter().map(|((_, track), epoch, diff)| (epoch, track, diff)));
/// }
/// // In the tie of epoch 0, S1 ranks first. In epoch 1 S2 has two plays, and S1 is retracted.
/// let expected = [(0, "S1", 1), (1, "S1", -1), (1, "S2", 2)];
/// assert_eq!(updates, expected.map(|(epoch, track, diff)| (epoch, track.to_owned(), diff)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Charts<'scope> {
    /// The top of every cell: the multiplicity of (cell, item) is its count. An item is named by
    /// its text, a track by its id.
    pub ranked: VecCollection<'scope, Epoch, (Cell, String), i64>,
    /// The id, title and artist of each track that is in the top of a worker, as far as a source
    /// has reported them. Titles that a source reads on demand have to be asked for, by
    /// [`query::QueryKind::Titles`].
    pub titles: VecCollection<'scope, Epoch, (String, TrackInfo), i64>,
    /// The plays and digests of each chart, as changes that add up.
    pub inputs: StreamVec<'scope, Epoch, InputsChange>,
    /// The answers of each worker to the queries of an epoch, as of the end of that epoch.
    pub answers: StreamVec<'scope, Epoch, Answer>,
}

/// Plays that are counted already: the content of a checkpoint.
///
/// ```
/// use std::sync::Arc;
///
/// use arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringArray};
/// use differential_dataflow::AsCollection;
/// use reprise_dataflows::count::summarise::Summariser;
/// use reprise_dataflows::play::PlayBatch;
/// use reprise_dataflows::rules::definition::Definitions;
/// use reprise_dataflows::rules::plan::Plan;
/// use reprise_dataflows::{Tallied, build};
/// use timely::dataflow::operators::capture::{Capture, Extract};
/// use timely::dataflow::operators::vec::ToStream;
///
/// let text = |text: &str| Arc::new(StringArray::from(vec![text; 5])) as ArrayRef;
/// let columns = RecordBatch::try_from_iter([
///     ("song_id", text("S1")),
///     ("title", text("Moon")),
///     ("artist", text("Ana")),
///     ("completed", Arc::new(BooleanArray::from(vec![true; 5])) as ArrayRef),
/// ])?;
/// let charts = "[[chart]]\nname = 'ever'\nperiod = 'all'\nscopes = ['global']";
/// let definitions = Arc::new(Definitions::parse(charts)?);
///
/// // Count five plays without a dataflow, as the maker of a checkpoint does.
/// let mut summariser = Summariser::new(&Plan::new(&definitions).without_window());
/// summariser.count(&PlayBatch::new(columns, Some(20_773)));
/// let (mut tallies, mut namings) = (Vec::new(), Vec::new());
/// summariser.drain(|_is_pane, tally, count| tallies.push((tally, 0, count)));
/// namings.extend(summariser.drain_namings());
///
/// // A run that starts from the checkpoint reads no play, and has the chart.
/// let ranked = timely::example(move |scope| {
///     let tallied = Tallied {
///         tallies: tallies.to_stream(scope).as_collection(),
///         namings: namings.to_stream(scope),
///     };
///     let (ticks, plays) = (None.to_stream(scope), None.to_stream(scope));
///     let queries = None.to_stream(scope);
///     build(&definitions, ticks, plays, tallied, queries, None).ranked.inner.capture()
/// });
/// let (_epoch, updates) = &ranked.extract()[0];
/// let ((_cell, track), _, plays) = &updates[0];
/// assert_eq!((track.as_str(), *plays), ("S1", 5));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Tallied<'scope> {
    /// How often each item was played, by the keys of the plan of the same definitions.
    pub tallies: VecCollection<'scope, Epoch, Tally, i64>,
    /// The text of every item in `tallies`, and the title and artist of each track.
    pub namings: StreamVec<'scope, Epoch, Naming>,
}

impl<'scope> Tallied<'scope> {
    /// No plays: for a run that starts without a checkpoint.
    pub fn none(scope: Scope<'scope, Epoch>) -> Self {
        Self { tallies: None.to_stream(scope).as_collection(), namings: None.to_stream(scope) }
    }
}

/// Builds the whole graph, from plays to charts, in the scope of its inputs.
///
/// Every worker calls it. `ticks` and `queries` have to reach every worker, each of `plays`, of
/// `tallied` and of `reference` one worker. The charts are those of the plays in `tallied` and in
/// `plays` together. Without `reference`, titles are those that plays report.
///
/// An epoch is complete when all inputs have advanced beyond it.
///
/// # Panics
/// The dataflow panics if a batch lacks a column by which a chart by period counts, and if two
/// items have the same [`ItemKey`](keys::item::ItemKey): the charts would be wrong without a sign
/// of it.
///
/// ```
/// use std::collections::BTreeMap;
/// use std::sync::Arc;
///
/// use arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringArray, TimestampMicrosecondArray};
/// use reprise_dataflows::play::PlayBatch;
/// use reprise_dataflows::rules::definition::Definitions;
/// use reprise_dataflows::{Stage, Tallied, Tick, build};
/// use timely::dataflow::operators::capture::{Capture, Extract};
/// use timely::dataflow::operators::{Input, vec::ToStream};
///
/// const MINUTE_US: i64 = 60_000_000;
///
/// /// Three plays of a track, in the first minute of 1970.
/// fn plays() -> PlayBatch {
///     let text = |text: &str| Arc::new(StringArray::from(vec![text; 3])) as ArrayRef;
///     let columns: [(&str, ArrayRef); 5] = [
///         ("song_id", text("S1")),
///         ("title", text("Moon")),
///         ("artist", text("Ana")),
///         ("timestamp", Arc::new(TimestampMicrosecondArray::from(vec![1, 2, 3]))),
///         ("completed", Arc::new(BooleanArray::from(vec![true; 3]))),
///     ];
///     PlayBatch::new(RecordBatch::try_from_iter(columns).unwrap(), None)
/// }
///
/// // No chart by period, and a trending window of two panes.
/// let charts = "chart = []\n[trending]\nwindow = '2m'\nslide = '1m'\nscopes = ['global']";
/// let definitions = Arc::new(Definitions::parse(charts)?);
/// let changes = timely::execute_directly(move |worker| {
///     let (mut ticks, mut played, ranked) = worker.dataflow(|scope| {
///         let (ticks, tick_stream) = scope.new_input();
///         let (played, play_stream) = scope.new_input();
///         let (tallied, queries) = (Tallied::none(scope), None.to_stream(scope));
///         let charts = build(&definitions, tick_stream, play_stream, tallied, queries, None);
///         (ticks, played, charts.ranked.inner.capture())
///     });
///     played.send(plays());
///     // The clock of each epoch is a minute later; nothing more is played.
///     for epoch in 0..3 {
///         let clock_us = Some(epoch as i64 * MINUTE_US);
///         ticks.send(Tick { epoch, clock_us, stage: Stage::Live, cut: None });
///         ticks.advance_to(epoch + 1);
///         played.advance_to(epoch + 1);
///     }
///     ranked
/// });
/// let mut updates = Vec::new();
/// for (_, changes) in changes.extract() {
///     updates.extend(changes.into_iter().map(|((_, track), epoch, diff)| (epoch, track, diff)));
/// }
/// // The plays enter the window in epoch 0, stay in epoch 1, and leave in epoch 2: a retraction.
/// assert_eq!(updates, [(0, "S1".to_owned(), 3), (2, "S1".to_owned(), -3)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn build<'scope>(
    definitions: &Arc<Definitions>,
    ticks: StreamVec<'scope, Epoch, Tick>,
    plays: StreamVec<'scope, Epoch, PlayBatch>,
    tallied: Tallied<'scope>,
    queries: StreamVec<'scope, Epoch, Query>,
    reference: Option<Reference<'scope>>,
) -> Charts<'scope> {
    let plan = Plan::new(definitions);
    let by_user = by_user(plays.clone(), &plan);
    let summary = summarise(plays, queries.clone(), &plan);
    let counted = summary.days.concat(tallied.tallies);
    let counted = if let Some(tallies) = by_user { counted.concat(tallies) } else { counted };
    let catalogue = catalogue(summary.namings.concat(tallied.namings));

    let by_item = Scatter(|((_, item), _, _): &(Tally, Epoch, i64)| item.route());
    let (days, days_inputs) = digest(counted, &plan);
    let days = days.concat(catalogue.barrier.clone());
    let days = rank("RankDays", days, by_item, queries.clone(), ItemRules::of_days(definitions, &catalogue.names));

    let panes = summary.panes.concat(catalogue.barrier.clone());
    let (window, past) = window(panes, ticks, queries.clone(), definitions, &catalogue.names);
    let (window, window_inputs) = digest(window, &plan);
    let window = window.concat(catalogue.barrier.clone());
    let trending = rank("RankWindow", window, Pipeline, queries, ItemRules::of_window(definitions, &catalogue.names));

    let owned = days.tops.concat(trending.tops);
    let titles = titles_of(owned.clone().map(|(_, item)| item), catalogue.titles);
    let ranked = merge(owned, definitions, &catalogue.names);
    let titles = corrected(titles, &ranked, reference, definitions);
    let answers = days.answers.concat(trending.answers).concat(past);
    Charts { ranked, titles, inputs: days_inputs.concat(window_inputs), answers }
}
