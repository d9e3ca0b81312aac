//! Reference data: facts about tracks that do not come from plays.
//!
//! Reference data is small and changes rarely, so this stage is made of differential's own
//! operators; the operators that every play or epoch passes are ours (see `benches/PROFILE.md`).

use std::sync::Arc;

use differential_dataflow::VecCollection;

use crate::names::catalogue::TrackInfo;
use crate::rules::definition::{Cell, Definitions, ItemKind};
use crate::tick::Epoch;

/// The reference data of a run.
///
/// A change is a retraction and an addition in the same epoch. The outputs of an epoch show the
/// reference data at its end, so a source that gives each version of a catalogue in an epoch of its
/// own can record that version together with the plays of the epoch.
pub struct Reference<'scope> {
    /// The title and artist of tracks, by their id. They replace those that plays report. If a
    /// track has several, the greatest counts. Each update may enter on any worker.
    pub titles: VecCollection<'scope, Epoch, (String, TrackInfo), i64>,
}

/// The titles of the tracks in `ranked`: those of `reference` if it has any, else those in
/// `reported`. Titles of tracks that are in no list stay as
/// they are reported.
pub fn corrected<'scope>(
    reported: VecCollection<'scope, Epoch, (String, TrackInfo), i64>,
    ranked: &VecCollection<'scope, Epoch, (Cell, String), i64>,
    reference: Option<Reference<'scope>>,
    definitions: &Arc<Definitions>,
) -> VecCollection<'scope, Epoch, (String, TrackInfo), i64> {
    let Some(reference) = reference else { return reported };
    let known = reference.titles.reduce(|_, titles, output| {
        output.extend(titles.iter().map(|(info, _)| *info).max().map(|info| (info.clone(), 1)));
    });
    let definitions = definitions.clone();
    let is_of_tracks = move |cell: &Cell| match definitions.chart(cell.chart) {
        Some(chart) => chart.item == ItemKind::TRACK,
        None => definitions.trending.item == ItemKind::TRACK,
    };
    let listed = ranked.clone().filter(move |(cell, _)| is_of_tracks(cell)).map(|(_, id)| id).distinct_core::<i64>();
    let others = reported.antijoin(known.clone().map(|(id, _)| id));
    known.semijoin(listed).concat(others)
}
