//! The cells that may have changed between two states of the charts.
//!
//! Copies share unchanged tops, so most cells are compared by pointer, without reading them. There
//! may be many thousands, of which a commit changes a few hundred.

use std::collections::HashSet;
use std::sync::Arc;

use reprise_dataflows::rules::definition::TRENDING;

use super::folded::{CellKey, Charts, Top};

impl Charts {
    /// The keys of the cells that may differ from those of `earlier`, removed cells included. These
    /// charts must be a later state of `earlier`. In all other cells only `as_of` differs.
    pub fn changed_since(&self, earlier: &Self) -> Vec<CellKey> {
        // The window moves with the clock.
        let has_moved = self.period(TRENDING, Some(0)) != earlier.period(TRENDING, Some(0));
        let renamed = self.renamed_since(earlier);
        let is_same = |place: &CellKey, top: &Arc<Top>| {
            let shared = earlier.tops.get(place).is_some_and(|earlier| Arc::ptr_eq(earlier, top));
            let named = renamed.is_empty() || !top.keys().any(|item| renamed.contains(&**item));
            shared && named && !(has_moved && place.0 == TRENDING)
        };
        let changed = self.tops.iter().filter(|(place, top)| !is_same(place, top)).map(|(place, _)| place);
        let gone = earlier.tops.keys().filter(|place| !self.tops.contains_key(*place));
        changed.chain(gone).cloned().collect()
    }

    /// The tracks whose title or artist differs, or is known to only one of the two states.
    fn renamed_since<'a>(&'a self, earlier: &'a Self) -> HashSet<&'a str> {
        let is_same = |track: &str, info| earlier.titles.get(track).is_some_and(|earlier| Arc::ptr_eq(earlier, info));
        let other = self.titles.iter().filter(|(track, info)| !is_same(track, info)).map(|(track, _)| &**track);
        let gone = earlier.titles.keys().filter(|track| !self.titles.contains_key(*track));
        other.chain(gone.map(|track| &**track)).collect()
    }
}
