//! Plays → weighted updates: how often each item was played, by the finest key that any chart needs.
//!
//! A worker counts the plays of an epoch before anything is sent, so hot songs make the work smaller. Items and scopes
//! are numbered as they are first seen, and counting is an add in an array; what crosses workers is one update for each
//! key and item that the epoch has touched, and each text once.

use arrow::array::Array;
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

/// Updates that are given before the operators behind get their turn. To give a history's at once would take memory that
/// nobody has touched yet, and with each of its updates cold when it is read.
const PORTION_UPDATES: usize = 32 << 10;

/// What [`summarise`] gives.
pub struct Summary<'scope> {
    /// Tallies by day.
    pub days: VecCollection<'scope, Epoch, Tally, i64>,
    /// Tallies by pane of the trending window.
    pub panes: VecCollection<'scope, Epoch, Tally, i64>,
    /// The texts of items that this worker has not named before, and new titles.
    pub namings: StreamVec<'scope, Epoch, Naming>,
}

/// Counts each epoch's plays on the worker that read them, and says what its tracks are called if `queries` ask.
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
                self.ask(&track_ids);
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

/// One worker's counts since the last epoch, and the numbers that it has given.
pub struct Summariser {
    plan: Plan,
    /// By kind; empty for kinds that no chart counts, but for tracks.
    items: Vec<TextInterner<ItemKey>>,
    /// By dimension; empty for those that no chart counts by.
    labels: Vec<TextInterner<Label>>,
    /// By grouping.
    tallies: Vec<Tallies>,
    combinations: Combinations,
    namings: Namings,
    /// Groupings whose counts have been given.
    drained: usize,
    rows: Rows,
    grouped: Grouped,
}

/// A batch's texts as numbers, none where the batch lacks the column; reused from batch to batch.
#[derive(Default)]
struct Rows {
    /// By kind; [`NO_ITEM`] where a play has none.
    items: Vec<Vec<u32>>,
    /// By dimension.
    labels: Vec<Vec<u32>>,
    /// Of the second dimension of a grouping and all after it.
    combined: Vec<u32>,
}

/// The number of an item that is not there.
const NO_ITEM: u32 = u32::MAX;

impl Summariser {
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
    pub fn count(&mut self, batch: &PlayBatch) {
        self.number(batch);
        let (tracks, rows) = (&self.items[ItemKind::TRACK.index()], &self.rows.items[ItemKind::TRACK.index()]);
        match (batch.late_titles(), batch.day()) {
            (Some(late), Some(day)) => {
                self.namings.look_late(late, day, tracks.last_dictionary(), &tracks.values);
            }
            _ => self.namings.look(batch, rows, &tracks.values),
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
        if !self.plan.groupings[index].wants(batch) {
            return;
        }
        match self.plan.groupings[index].eligible {
            Eligible::All => self.count_eligible(index, batch, within),
            Eligible::Completed => {
                let Some(completed) = self.required(index, batch.completed(), "completed") else { return };
                // Arrow looks at a bit by a call, once for each play.
                let (bits, offset) = (completed.values().values(), completed.offset());
                self.count_eligible(index, batch, |row| {
                    bits[(offset + row) / 8] >> ((offset + row) % 8) & 1 == 1 && within(row)
                });
            }
            eligible @ Eligible::ListenedMs(_) => {
                let completed = self.required(index, batch.completed(), "completed");
                let durations_ms = self.required(index, batch.durations_ms(), "duration_ms");
                let (Some(completed), Some(durations_ms)) = (completed, durations_ms) else { return };
                let listened_ms = batch.listened_ms();
                self.count_eligible(index, batch, |row| {
                    let listened_ms = listened_ms.filter(|column| column.is_valid(row)).map(|column| column.value(row));
                    eligible.counts(completed.value(row), durations_ms.value(row), listened_ms) && within(row)
                });
            }
        }
    }

    /// A column that a grouping counts by. Only for the trending window may a source leave it out, where no play of a batch can
    /// be in it.
    ///
    /// # Panics
    /// If another chart lacks its column: to go on would be to count too little, and not to say so.
    fn required<T>(&self, grouping: usize, column: Option<T>, name: &str) -> Option<T> {
        let may_lack = self.plan.groupings[grouping].is_window();
        assert!(column.is_some() || may_lack, "a source has left out the column {name}, by which a chart counts");
        column
    }

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
        // A source leaves the timestamps out where no play of the batch can be in the window.
        let timestamps_us = batch.timestamps_us();
        if shared.is_none() && self.required(index, timestamps_us, "timestamp").is_none() {
            return;
        }
        let (items, known) = (&self.rows.items[grouping.item.index()], self.items[grouping.item.index()].values.len());
        let numbers = |dimension: &Dimension| &self.rows.labels[dimension.index()];
        // Where no play can be in the window, a source may leave out what only the window asks for, though another chart
        // needs the timestamps.
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
                let place =
                    tallies.place(bucket, (number, 0), || Key { grouping: index as u32, bucket, labels: labels() });
                tallies.add_all(place, items);
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
            let place = tallies.place(bucket, scope, || Key {
                grouping: index as u32,
                bucket,
                labels: dimensions.iter().map(|dimension| label(dimension, numbers(dimension)[row])).collect(),
            });
            tallies.add(place, *item);
        }
    }

    /// Has it say what these tracks are called, as far as it has not.
    pub fn ask(&mut self, track_ids: &[String]) {
        let Self { items, namings, .. } = self;
        let tracks = &items[ItemKind::TRACK.index()];
        namings.ask(track_ids.iter().filter_map(|id| tracks.find(id)));
    }

    /// Gives what there is to say of items since the last time.
    pub fn drain_namings(&mut self) -> impl Iterator<Item = Naming> {
        self.namings.drain()
    }

    /// Gives all counts, with whether they are of the trending window's panes, and starts again.
    pub fn drain(&mut self, mut tally: impl FnMut(bool, Tally, i64)) {
        while !self.drain_some(usize::MAX, &mut tally) {}
    }

    /// Gives about so many counts of one grouping, or a few more. Whether these were the last; until then nothing must be
    /// counted.
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringArray, TimestampMicrosecondArray};

    use super::*;
    use crate::rules::definition::Definitions;

    /// Another chart's zone asks for timestamps, only the window for countries, and the source knows that it needs none.
    #[test]
    fn a_batch_may_lack_what_only_the_window_asks_for() {
        let charts = "[trending]\nscopes = ['country', 'device']\n\
                      [[chart]]\nname = 'tokyo'\nperiod = 'day'\nzone = 'Asia/Tokyo'\nscopes = ['global']";
        let plan = Plan::new(&Definitions::parse(charts).unwrap());
        let text = || -> ArrayRef { Arc::new(StringArray::from(vec!["text"])) };
        let columns = plan.columns(false).into_iter().map(|name| match name {
            "timestamp" => (name, Arc::new(TimestampMicrosecondArray::from(vec![0]).with_timezone("UTC")) as ArrayRef),
            "completed" => (name, Arc::new(BooleanArray::from(vec![true])) as ArrayRef),
            name => (name, text()),
        });
        let batch = PlayBatch::new(RecordBatch::try_from_iter(columns).unwrap(), Some(0));
        assert!(batch.timestamps_us().is_some() && batch.texts("country").is_none());

        let mut summariser = Summariser::new(&plan);
        summariser.count(&batch);
        let mut counts = Vec::new();
        summariser.drain(|is_pane, _, count| counts.push((is_pane, count)));
        assert_eq!(counts, [(false, 1)]);
    }

    /// Of a window that is fixed the plays are counted together, in one of its panes.
    #[test]
    fn plays_of_a_fixed_window_share_a_pane() {
        const MINUTE_US: i64 = 60_000_000;
        let plan = Plan::new(&Definitions::builtin());
        let minutes = [9, 10, 14, 19, 20];
        let column = |name| -> ArrayRef {
            match name {
                "timestamp" => Arc::new(TimestampMicrosecondArray::from_iter_values(minutes.map(|at| at * MINUTE_US))),
                "completed" => Arc::new(BooleanArray::from(vec![true; minutes.len()])),
                _ => Arc::new(StringArray::from(vec!["text"; minutes.len()])),
            }
        };
        let columns = plan.columns(true).into_iter().map(|name| (name, column(name)));
        let batch = PlayBatch::new(RecordBatch::try_from_iter(columns).unwrap(), None);
        let mut summariser = Summariser::new(&plan);
        summariser.count(&batch.with_fixed_window(10 * MINUTE_US..20 * MINUTE_US));
        let mut panes = Vec::new();
        summariser.drain(|is_pane, (key, _), count| panes.extend(is_pane.then_some((key.bucket, count))));
        assert_eq!(panes, [(19, 3)]);
    }
}
