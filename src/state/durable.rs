//! The durable charts: the charts at the last commit, equal to a replay of the lake at its version.
//!
//! ```text
//!  epochs   … 41 42 │ 43 44 45 │ 46 47   a cut (│) is a tick: earlier epochs are in the commit
//!  durable ─────────┘          │
//!  in flight ──────────────────┘   changes of 43 to 45, until their commit has been reported
//!  next ──────────────────────────┘ changes since the last cut
//! ```
//!
//! The commit of a cut may be reported before the charts reach the cut, or long after. Each cut is
//! reported once and in order, so cuts and reports are two queues that are matched at their heads.
//!
//! **Invariant:** charts that say that they are durable at version V equal a replay of the lake at
//! V with their clock.

use std::collections::VecDeque;
use std::sync::Arc;

use reprise_dataflows::{CutPoint, Stage, Tick};

use super::charts::{Accumulated, AsOf, Changes, Charts};

/// A cut that has been committed to the lake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommittedCut {
    /// The last epoch of the cut, and its clock.
    pub cut: CutPoint,
    /// The version of the lake that first holds the cut.
    pub version: u64,
}

/// The charts at the last commit, and the changes since.
#[derive(Default)]
pub struct Durable {
    /// What the lake held when the run opened it; `None` once the charts have been built from it.
    opened: Option<AsOf>,
    /// Copied on write, because readers may keep the charts of a commit for any length of time.
    charts: Option<Arc<Charts>>,
    /// Changes since the last cut.
    next: Accumulated,
    /// Cuts that the charts have reached and whose commit is not yet reported, with their changes.
    in_flight: VecDeque<(CutPoint, Changes)>,
    /// Commits whose cut the charts have not reached yet.
    committed: VecDeque<CommittedCut>,
}

impl Durable {
    /// Notes that the run has opened a lake, which is at `as_of`. Without this call, as in a
    /// replay, nothing is durable.
    pub fn open(&mut self, as_of: AsOf) {
        self.opened = Some(AsOf { durable: true, ..as_of });
    }

    /// The durable charts; `None` until the lake has been counted.
    pub fn charts(&self) -> Option<Arc<Charts>> {
        self.charts.clone()
    }

    /// Makes `newest` the first durable charts. Call it when every epoch before the first live one
    /// is complete: all of them came from the lake. Later calls have no effect.
    pub fn rebuilt(&mut self, newest: &Charts) {
        let Some(as_of) = self.opened.take() else { return };
        let mut charts = newest.clone();
        charts.set_as_of(as_of);
        self.charts = Some(Arc::new(charts));
    }

    /// Adds the changes of a complete epoch. `newest` are the charts before it.
    pub fn advance(&mut self, tick: Option<Tick>, changes: &Changes, newest: &Charts) {
        if tick.is_some_and(|tick| tick.stage == Stage::Live) {
            self.rebuilt(newest);
        }
        if self.charts.is_none() {
            return;
        }
        if let Some(cut) = tick.and_then(|tick| tick.cut) {
            self.in_flight.push_back((cut, self.next.take()));
        }
        self.next.add(changes);
        self.settle();
    }

    /// Notes that a cut is in the lake.
    pub fn committed(&mut self, committed: CommittedCut) {
        self.committed.push_back(committed);
        self.settle();
    }

    fn settle(&mut self) {
        while let (Some((cut, _)), Some(committed)) = (self.in_flight.front(), self.committed.front())
            && cut.epoch <= committed.cut.epoch
        {
            let Some((CutPoint { epoch, clock_us }, changes)) = self.in_flight.pop_front() else { return };
            let Some(charts) = &mut self.charts else { return };
            let charts = Arc::make_mut(charts);
            charts.apply(changes);
            let reported = self.committed.front().filter(|next| next.cut.epoch == epoch);
            if let Some(CommittedCut { version, .. }) = reported.copied() {
                self.committed.pop_front();
                charts.set_as_of(AsOf { epoch, clock_us, lake_version: Some(version), durable: true });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use reprise_dataflows::rank::digest::Inputs;
    use reprise_dataflows::rules::definition::{Cell, Scope};

    use super::*;
    use crate::state::charts::tests as fixtures;
    use crate::state::charts::{ChartCell, Filter};

    /// One epoch adds a play of a song.
    fn changes(song: u8) -> Changes {
        let cell = Cell { chart: 0, start_day: 20_773, scope: Scope::Global };
        let inputs = [(0, Inputs { plays: 1, digest: u64::from(song) })].into();
        Changes { ranked: vec![((cell, format!("S{song}")), 1)], inputs, ..Changes::default() }
    }

    fn folded(songs: &[u8]) -> (Vec<ChartCell>, Vec<crate::state::charts::ChartInputs>) {
        let mut charts = fixtures::charts();
        songs.iter().for_each(|song| charts.apply(changes(*song)));
        shown(&charts)
    }

    fn shown(charts: &Charts) -> (Vec<ChartCell>, Vec<crate::state::charts::ChartInputs>) {
        let cells = charts.cells(&Filter::default()).into_iter();
        (cells.map(|cell| ChartCell { as_of: AsOf::default(), ..cell }).collect(), charts.inputs())
    }

    /// A run: the epochs that complete, in order, and the commits that are reported, in order.
    struct Scenario {
        durable: Durable,
        newest: Charts,
        epochs: Vec<(Tick, u8)>,
        cuts: Vec<CutPoint>,
        completed: usize,
        reported: usize,
    }

    impl Scenario {
        /// Two epochs of the lake, then live ones; `true` is a cut.
        fn new(epochs: &[(u8, bool)]) -> Self {
            let mut durable = Durable::default();
            durable.open(AsOf { epoch: 7, clock_us: Some(0), lake_version: Some(3), durable: false });
            let tick = |(epoch, (song, cut)): (u64, &(u8, bool))| {
                let live = epoch >= 102;
                let cut = (live && *cut).then(|| CutPoint { epoch: epoch - 1, clock_us: Some(epoch as i64 - 1) });
                let stage = if live { Stage::Live } else { Stage::Rebuild };
                (Tick { epoch, clock_us: Some(epoch as i64), stage, cut }, *song)
            };
            let epochs: Vec<_> = (100..).zip(epochs).map(tick).collect();
            let cuts = epochs.iter().filter_map(|(tick, _)| tick.cut).collect();
            Self { durable, newest: fixtures::charts(), epochs, cuts, completed: 0, reported: 0 }
        }

        fn complete(&mut self) {
            let Some((tick, song)) = self.epochs.get(self.completed) else { return };
            self.durable.advance(Some(*tick), &changes(*song), &self.newest);
            self.newest.apply(changes(*song));
            self.completed += 1;
        }

        /// A commit can be reported before the charts reach its cut.
        fn report(&mut self) {
            let Some(cut) = self.cuts.get(self.reported) else { return };
            self.durable.committed(CommittedCut { cut: *cut, version: 4 + self.reported as u64 });
            self.reported += 1;
        }

        fn check(&self) {
            let live = self.epochs.iter().position(|(tick, _)| tick.stage == Stage::Live).unwrap_or(usize::MAX);
            if self.completed <= live {
                return assert!(self.durable.charts().is_none());
            }
            let is_reached =
                |cut: &&CutPoint| self.epochs[..self.completed].iter().any(|(tick, _)| tick.cut == Some(**cut));
            let reached = self.cuts[..self.reported].iter().take_while(is_reached).last();
            let charts = self.durable.charts().unwrap();
            let as_of = match reached {
                None => AsOf { epoch: 7, clock_us: Some(0), lake_version: Some(3), durable: true },
                Some(cut) => {
                    let version = 4 + self.cuts.iter().position(|other| other == cut).unwrap() as u64;
                    AsOf { epoch: cut.epoch, clock_us: cut.clock_us, lake_version: Some(version), durable: true }
                }
            };
            assert_eq!(charts.as_of(), as_of);
            let last = reached.map_or(101, |cut| cut.epoch);
            let inside = self.epochs.iter().filter(|(tick, _)| tick.epoch <= last).map(|(_, song)| *song);
            assert!(shown(&charts) == folded(&inside.collect::<Vec<_>>()), "as of {as_of:?}");
        }
    }

    proptest! {
        /// However reports and epochs interleave, the durable charts are those of the last cut that
        /// both have reached, and a reader of earlier charts keeps them unchanged.
        #[test]
        fn durable_charts_are_those_of_the_last_commit(
            epochs in prop::collection::vec((0u8..9, prop::bool::weighted(0.3)), 0..30),
            steps in prop::collection::vec(any::<bool>(), 0..60),
        ) {
            let mut scenario = Scenario::new(&epochs);
            let mut held = Vec::new();
            for completes in steps {
                if completes { scenario.complete() } else { scenario.report() }
                scenario.check();
                held.extend(scenario.durable.charts().map(|charts| (shown(&charts), charts)));
            }
            prop_assert!(held.iter().all(|(before, charts)| shown(charts) == *before));
        }
    }

    /// A replay opens no lake for writing, so it keeps no second copy of the charts.
    #[test]
    fn without_a_lake_nothing_is_durable() {
        let mut durable = Durable::default();
        let tick = Tick { epoch: 1, clock_us: None, stage: Stage::Live, cut: None };
        durable.advance(Some(tick), &changes(1), &fixtures::charts());
        assert!(durable.charts().is_none());
    }
}
