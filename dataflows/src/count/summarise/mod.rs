//! Turns plays into tallies: how often each item was played, by the finest key that any chart
//! needs.
//!
//! A worker counts the plays of an epoch before it sends anything: the more plays a track has, the
//! more of them share an update. Items and labels are numbered in the order of their first
//! appearance, and counting is an addition in an array. A worker sends one update for each key and
//! item of the epoch, and each text once.

#[cfg(test)]
mod tests;

use arrow::array::{Array, BooleanArray};
use differential_dataflow::{AsCollection, VecCollection};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;

use super::combinations::Combinations;
use super::grouped::Grouped;
use super::tally::{Buckets, Tallies};
use crate::keys::dimension::{Dimension, NONE};
use crate::keys::item::ItemKey;
use crate::keys::label::Label;
use crate::keys::text_interner::TextInterner;
use crate::names::catalogue::Naming;
use crate::names::naming::Namings;
use crate::operators::{Closing, EpochFold, Outputs, by_epoch};
use crate::play::PlayBatch;
use crate::query::{Query, QueryKind};
use crate::rules::definition::{Eligible, ItemKind};
use crate::rules::plan::Tally;
use crate::rules::plan::{Key, Plan};
use crate::tick::Epoch;

/// The number of updates after which the operators downstream get their turn. All updates of a
/// history at once would need fresh memory for each, and none would be in a cache when it is read.
const PORTION_UPDATES: usize = 32 << 10;

/// The outputs of [`summarise`].
pub struct Summary<'scope> {
    /// Tallies by day.
    pub days: VecCollection<'scope, Epoch, Tally, i64>,
    /// Tallies by pane of the trending window.
    pub panes: VecCollection<'scope, Epoch, Tally, i64>,
    /// The texts of items that are new to this worker, and new titles of tracks.
    pub namings: StreamVec<'scope, Epoch, Naming>,
}

/// Counts the plays of each epoch on the worker that read them. Reads the titles that `queries` ask
/// for, if their source has left them out ([`QueryKind::Titles`]).
pub fn summarise<'scope>(
    plays: StreamVec<'scope, Epoch, PlayBatch>,
    queries: StreamVec<'scope, Epoch, Query>,
    plan: &Plan,
) -> Summary<'scope> {
    let (days, panes, namings) = by_epoch("Summarise", plays, Pipeline, queries, Summariser::new(plan));
    Summary { days: days.as_collection(), panes: panes.as_collection(), namings }
}

impl EpochFold<Epoch> for Summariser {
    type Update = PlayBatch;
    type Query = Query;
    type Outputs = ((Tally, Epoch, i64), (Tally, Epoch, i64), Naming);

    fn update(&mut self, batches: Vec<PlayBatch>) {
        batches.iter().for_each(|batch| self.count(batch));
    }

    fn query(&mut self, queries: Vec<Query>) {
        for query in queries {
            if let QueryKind::Titles { track_ids } = query.kind {
                self.read_titles(&track_ids);
            }
        }
    }

    fn close(&mut self, time: &Epoch, (days, panes, namings): <Self::Outputs as Outputs<Epoch>>::Emit<'_>) -> Closing {
        self.drain_namings().for_each(namings);
        let done = self.drain_some(PORTION_UPDATES, |is_pane, tally, count| match is_pane {
            true => panes((tally, *time, count)),
            false => days((tally, *time, count)),
        });
        if done { Closing::Done } else { Closing::More }
    }
}

/// The counts of one worker since the last epoch, and its numbers for items and labels.
///
/// It needs no dataflow: a checkpoint is made by calling it directly.
///
/// ```
/// # use std::sync::Arc;
/// # use arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringArray};
/// use reprise_dataflows::count::summarise::Summariser;
/// # use reprise_dataflows::play::PlayBatch;
/// # use reprise_dataflows::rules::definition::Definitions;
/// # use reprise_dataflows::rules::plan::Plan;
/// # let texts = |texts: [&str; 3]| Arc::new(StringArray::from(texts.to_vec())) as ArrayRef;
/// # let columns = RecordBatch::try_from_iter([
/// #     ("song_id", texts(["S1", "S1", "S2"])),
/// #     ("title", texts(["Moon", "Moon", "Rain"])),
/// #     ("artist", texts(["Ana", "Ana", "Bo"])),
/// #     ("country", texts(["PT", "PT", "PT"])),
/// #     ("completed", Arc::new(BooleanArray::from(vec![true, true, false])) as ArrayRef),
/// # ])?;
/// // Three plays in Portugal: two of S1, and one of S2 that was not completed.
/// let plays = PlayBatch::new(columns, Some(20_773));
///
/// let mut summariser = Summariser::new(&Plan::new(&Definitions::builtin()).without_window());
/// summariser.count(&plays);
///
/// // Only completed plays count: one update, for both plays of S1.
/// let mut counts = Vec::new();
/// summariser.drain(|_is_pane, (key, _item), plays| counts.push((key.labels.get(0), plays)));
/// assert_eq!(counts.len(), 1);
/// assert_eq!((counts[0].0.as_str(), counts[0].1), ("PT", 2));
///
/// // The texts of both tracks, each once.
/// let mut texts: Vec<_> = summariser.drain_namings().map(|naming| naming.text).collect();
/// texts.sort();
/// assert_eq!(texts, ["S1".into(), "S2".into()]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Summariser {
    plan: Plan,
    /// By kind; empty for kinds that no chart counts, except for tracks.
    items: Vec<TextInterner<ItemKey>>,
    /// By dimension; empty while no batch has its column.
    labels: Vec<TextInterner<Label>>,
    /// By grouping.
    tallies: Vec<Tallies>,
    combinations: Combinations,
    namings: Namings,
    /// The number of groupings that are drained.
    drained: usize,
    rows: Rows,
    grouped: Grouped,
}

/// The texts of a batch as numbers, empty if the batch lacks the column; reused from batch to
/// batch.
#[derive(Default)]
struct Rows {
    /// By kind; [`NO_ITEM`] where a play has none.
    items: Vec<Vec<u32>>,
    /// By dimension.
    labels: Vec<Vec<u32>>,
    /// The combinations of the second dimension of a grouping and those after it.
    combined: Vec<u32>,
}

/// Stands for the item of a play that has none.
const NO_ITEM: u32 = u32::MAX;

impl Summariser {
    /// A summariser that has counted nothing, for the groupings of `plan`.
    pub fn new(plan: &Plan) -> Self {
        Self {
            plan: plan.clone(),
            items: ItemKind::all().map(|_| TextInterner::new()).collect(),
            labels: Dimension::all().map(|_| TextInterner::new()).collect(),
            combinations: Combinations::default(),
            tallies: plan.groupings.iter().map(|_| Tallies::default()).collect(),
            namings: Namings::default(),
            drained: 0,
            rows: Rows {
                items: vec![Vec::new(); ItemKind::COUNT],
                labels: vec![Vec::new(); Dimension::COUNT],
                combined: Vec::new(),
            },
            grouped: Grouped::default(),
        }
    }

    /// Counts the plays of a batch.
    ///
    /// # Panics
    /// If the batch lacks a column by which a chart by period counts.
    pub fn count(&mut self, batch: &PlayBatch) {
        self.number(batch);
        let (tracks, rows) = (&self.items[ItemKind::TRACK.index()], &self.rows.items[ItemKind::TRACK.index()]);
        match (batch.late_titles(), batch.day()) {
            (Some(late), Some(day)) => {
                self.namings.note_source(late, day, tracks.last_dictionary(), &tracks.values);
            }
            _ => self.namings.read_batch(batch, rows, &tracks.values),
        }
        for grouping in 0..self.plan.groupings.len() {
            match self.plan.groupings[grouping].fixed_window(batch) {
                Some((window_us, timestamps_us)) => {
                    self.count_within(grouping, batch, |row| window_us.contains(&timestamps_us[row]));
                }
                None => self.count_within(grouping, batch, |_| true),
            }
        }
    }

    fn count_within(&mut self, index: usize, batch: &PlayBatch, within: impl Fn(usize) -> bool) {
        let grouping = &self.plan.groupings[index];
        if grouping.is_by_user() || !grouping.wants(batch) {
            return;
        }
        match self.plan.groupings[index].eligible {
            Eligible::All => self.count_eligible(index, batch, within),
            Eligible::Completed => {
                let Some(completed) = self.required(index, batch.completed(), "completed") else { return };
                let completed = bit_of(completed);
                self.count_eligible(index, batch, |row| completed(row) && within(row));
            }
            eligible @ Eligible::ListenedMs(_) => {
                let completed = self.required(index, batch.completed(), "completed");
                let durations_ms = self.required(index, batch.durations_ms(), "duration_ms");
                let (Some(completed), Some(durations_ms)) = (completed, durations_ms) else { return };
                let (completed, durations_ms) = (bit_of(completed), durations_ms.values());
                let listened = batch.listened_ms().filter(|column| column.null_count() < column.len());
                let listened = listened.map(|column| (column.values(), column.nulls()));
                self.count_eligible(index, batch, |row| {
                    let (values, nulls) = listened.unzip();
                    let is_known = nulls.flatten().is_none_or(|nulls| nulls.is_valid(row));
                    let listened_ms = values.filter(|_| is_known).map(|values| values[row]);
                    eligible.counts(completed(row), durations_ms[row], listened_ms) && within(row)
                });
            }
        }
    }

    /// A column by which a grouping counts. A source may leave out a column that only the trending
    /// window needs, if no play of the batch can be in the window.
    ///
    /// # Panics
    /// If a grouping by days lacks the column: its charts would silently miss plays.
    fn required<T>(&self, grouping: usize, column: Option<T>, name: &str) -> Option<T> {
        let may_lack = self.plan.groupings[grouping].is_window();
        assert!(column.is_some() || may_lack, "a source has left out the column {name}, by which a chart counts");
        column
    }

    /// Writes the numbers of the items and labels of a batch to `rows`.
    fn number(&mut self, batch: &PlayBatch) {
        let Self { plan, items, labels, namings, rows, .. } = self;
        for kind in ItemKind::all() {
            let (interner, rows) = (&mut items[kind.index()], &mut rows.items[kind.index()]);
            rows.clear();
            let is_counted = kind == ItemKind::TRACK || plan.counts(kind);
            let Some(texts) = batch.texts(kind.column()).filter(|_| is_counted) else { continue };
            interner.number(texts, rows, |text| match kind {
                ItemKind::TRACK => ItemKey::new(kind, text),
                _ => namings.item(kind, text),
            });
            texts.each_null(|row| rows[row] = NO_ITEM);
        }
        for dimension in Dimension::all() {
            let (interner, rows) = (&mut labels[dimension.index()], &mut rows.labels[dimension.index()]);
            rows.clear();
            let Some(texts) = batch.texts(dimension.column()) else { continue };
            interner.number(texts, rows, Label::new);
            if texts.has_nulls() {
                let none = interner.number_of(NONE, Label::new);
                texts.each_null(|row| rows[row] = none);
            }
        }
    }

    fn count_eligible(&mut self, index: usize, batch: &PlayBatch, eligible: impl Fn(usize) -> bool) {
        let grouping = &self.plan.groupings[index];
        let mut buckets = Buckets::new(grouping);
        let shared = grouping.bucket_of(batch);
        // A source leaves out the timestamps if no play of the batch can be in the window.
        let timestamps_us = batch.timestamps_us();
        if shared.is_none() && self.required(index, timestamps_us, "timestamp").is_none() {
            return;
        }
        let (items, known) = (&self.rows.items[grouping.item.index()], self.items[grouping.item.index()].values.len());
        let numbers = |dimension: &Dimension| &self.rows.labels[dimension.index()];
        // The batch may have timestamps, for a chart in another time zone, and still lack columns
        // that only the window needs.
        let columns = grouping.dimensions.iter().map(|dimension| (numbers(dimension), dimension.column()));
        for (numbers, name) in std::iter::once((items, "of its items")).chain(columns) {
            let numbers = (numbers.len() == batch.rows()).then_some(numbers);
            if self.required(index, numbers, name).is_none() {
                return;
            }
        }
        let (labels, dimensions) = (&self.labels, &grouping.dimensions);
        let label = |dimension: &Dimension, number: u32| labels[dimension.index()].values[number as usize].clone();
        let eligible = |row: usize| items[row] != NO_ITEM && eligible(row);
        let tallies = &mut self.tallies[index];
        tallies.expect_items(known);
        if let (Some(bucket), [] | [_]) = (shared, &dimensions[..]) {
            let first = dimensions.first();
            let groups = first.map_or(1, |dimension| labels[dimension.index()].values.len() as u32);
            let of_row = first.map(numbers);
            self.grouped.group(items, |row| of_row.map_or(0, |numbers| numbers[row]), groups, eligible);
            for (number, items) in self.grouped.iter() {
                let labels = || first.map(|dimension| label(dimension, number)).into_iter().collect();
                let slot =
                    tallies.slot(bucket, (number, 0), || Key { grouping: index as u32, bucket, labels: labels() });
                tallies.add_all(slot, items);
            }
            return;
        }
        let combined = &mut self.rows.combined;
        let (first, second): (Option<&[u32]>, Option<&[u32]>) = match &dimensions[..] {
            [] => (None, None),
            [first] => (Some(numbers(first)), None),
            [first, second] => (Some(numbers(first)), Some(numbers(second))),
            [first, others @ ..] => {
                let columns: Vec<&[u32]> = others.iter().map(|dimension| &numbers(dimension)[..]).collect();
                self.combinations.number(&columns, combined);
                (Some(numbers(first)), Some(combined))
            }
        };
        for (row, item) in items.iter().enumerate().filter(|(row, _)| eligible(*row)) {
            let bucket = match (shared, timestamps_us) {
                (Some(bucket), _) => bucket,
                (None, Some(timestamps_us)) => buckets.of(timestamps_us[row]),
                (None, None) => return,
            };
            let scope = (first.map_or(0, |numbers| numbers[row]), second.map_or(0, |numbers| numbers[row]));
            let slot = tallies.slot(bucket, scope, || Key {
                grouping: index as u32,
                bucket,
                labels: dimensions.iter().map(|dimension| label(dimension, numbers(dimension)[row])).collect(),
            });
            tallies.add(slot, *item);
        }
    }

    /// Reads the titles of these tracks from sources that have left them out;
    /// [`Self::drain_namings`] gives them. Ids that this worker has not seen are ignored.
    pub fn read_titles(&mut self, track_ids: &[String]) {
        let Self { items, namings, .. } = self;
        let tracks = &items[ItemKind::TRACK.index()];
        namings.read_titles(track_ids.iter().filter_map(|id| tracks.find(id)));
    }

    /// Removes the texts of items that are new since the last call, and the titles that have
    /// changed.
    pub fn drain_namings(&mut self) -> impl Iterator<Item = Naming> {
        self.namings.drain()
    }

    /// Removes all counts. `tally` gets each with whether it belongs to a pane of the trending
    /// window.
    pub fn drain(&mut self, mut tally: impl FnMut(bool, Tally, i64)) {
        while !self.drain_some(usize::MAX, &mut tally) {}
    }

    /// Removes counts of one grouping, at least `updates_min` if there are as many. Returns whether
    /// all are removed; until then nothing may be counted.
    fn drain_some(&mut self, updates_min: usize, mut tally: impl FnMut(bool, Tally, i64)) -> bool {
        let groupings = self.plan.groupings.iter().zip(&mut self.tallies);
        for (grouping, tallies) in groupings.skip(self.drained) {
            let is_pane = grouping.is_window();
            let items = &self.items[grouping.item.index()].values;
            let give = |key: &Key, item, count: u32| tally(is_pane, (key.clone(), items[item as usize]), count.into());
            if !tallies.drain_some(updates_min, give) {
                return false;
            }
            self.drained += 1;
        }
        self.drained = 0;
        true
    }
}

/// Reads a bit of `bits` directly: [`BooleanArray::value`] is a call for each play.
fn bit_of(bits: &BooleanArray) -> impl Fn(usize) -> bool {
    let (bytes, offset) = (bits.values().values(), bits.offset());
    move |row| bytes[(offset + row) / 8] >> ((offset + row) % 8) & 1 == 1
}
