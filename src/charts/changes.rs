//! What changes in the charts from epoch to epoch.

use std::collections::BTreeMap;

use differential_dataflow::consolidation::consolidate;
use reprise_dataflows::catalogue::About;
use reprise_dataflows::definition::Cell;
use reprise_dataflows::digest::Inputs;

/// Below so many updates it is not worth looking for those that cancel out.
const CONSOLIDATED_MIN: usize = 1 << 14;

/// What changed in one or more whole epochs: halfway through one a track can have two titles.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// A weighted collection that is already restricted to the top of each cell: the multiplicity of (cell, item) is the
    /// item's count, and at 0 the item has left. In any order, and unconsolidated.
    pub ranked: Vec<((Cell, String), i64)>,
    /// One [`About`] per track, likewise.
    pub titles: Vec<((String, About), i64)>,
    /// What was counted, by chart.
    pub inputs: BTreeMap<u32, Inputs>,
}

/// The changes of many epochs, kept until it is known which commit makes them durable. What comes and goes again in
/// between, as most of a busy top does, is dropped whenever the rest has doubled.
#[derive(Debug, Default)]
pub struct Accumulated {
    changes: Changes,
    consolidated: usize,
}

impl Accumulated {
    pub fn add(&mut self, later: &Changes) {
        let Changes { ranked, titles, inputs } = &mut self.changes;
        ranked.extend_from_slice(&later.ranked);
        titles.extend_from_slice(&later.titles);
        for (chart, change) in &later.inputs {
            inputs.entry(*chart).or_default().add(*change);
        }
        if ranked.len() + titles.len() > 2 * self.consolidated.max(CONSOLIDATED_MIN) {
            consolidate(ranked);
            consolidate(titles);
            self.consolidated = ranked.len() + titles.len();
        }
    }

    /// Everything since the last time, which may be nothing.
    pub fn take(&mut self) -> Changes {
        std::mem::take(self).changes
    }
}
