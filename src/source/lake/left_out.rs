//! Counts rows of a foreign lake that are no plays, or are in the wrong folder, to report them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt::{self, Display, Formatter};

use crate::intake::Rejection;
use crate::lake::store::Place;
use crate::text::grouped;

/// Rows that are no plays, by reason, and plays in folders of other hours than theirs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    rejected: BTreeMap<Rejection, LeftOutRows>,
    misfiled: Option<LeftOutRows>,
}

/// A number of rows, and the first of them by file and row.
#[derive(Clone, Debug, PartialEq, Eq)]
struct LeftOutRows {
    rows: u64,
    first: (Place, u64),
    column: &'static str,
}

impl LeftOutRows {
    fn merge(&mut self, other: Self) {
        self.rows += other.rows;
        if other.first < self.first {
            (self.first, self.column) = (other.first, other.column);
        }
    }
}

impl Display for LeftOutRows {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let (file, row) = &self.first;
        write!(formatter, "`{}` of row {row} in {file}", self.column)
    }
}

impl LeftOut {
    /// Counts a row (from 0) of a file that is no play because of the value in `column`.
    pub fn reject(&mut self, reason: Rejection, file: &Place, row: u64, column: &'static str) {
        match self.rejected.entry(reason) {
            // Rows of a file come in order, so its first one is recorded already.
            Entry::Occupied(mut known) if known.get().first.0 <= *file => known.get_mut().rows += 1,
            known => merge_into(known, LeftOutRows { rows: 1, first: (file.clone(), row), column }),
        }
    }

    /// Counts plays whose hour is not that of their file's folder. `row` locates the first of them.
    pub fn misfile(&mut self, rows: u64, file: &Place, row: u64) {
        merge(&mut self.misfiled, Some(LeftOutRows { rows, first: (file.clone(), row), column: "timestamp" }));
    }

    /// Adds the counts of another worker.
    pub fn merge(&mut self, other: Self) {
        for (reason, found) in other.rejected {
            merge_into(self.rejected.entry(reason), found);
        }
        merge(&mut self.misfiled, other.misfiled);
    }

    /// The number of rows that are no plays.
    pub fn rows(&self) -> u64 {
        self.rejected.values().map(|found| found.rows).sum()
    }

    /// Messages for the user, one line each; empty if every row is a play in the right folder.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if !self.rejected.is_empty() {
            let reasons = self
                .rejected
                .iter()
                .map(|(reason, found)| format!("{} {} (first: {found})", grouped(found.rows), reason.as_str()));
            let reasons: Vec<String> = reasons.collect();
            notes.push(format!(
                "not counted, because they break the rules for plays: {} of the lake, {}",
                rows(self.rows()),
                reasons.join(", ")
            ));
        }
        if let Some(found) = &self.misfiled {
            notes.push(format!(
                "in folders of other hours than the UTC hours of their timestamps: {} of the lake (first: {found}). They \
                 count by their timestamps; tools that filter by folder get other numbers",
                rows(found.rows)
            ));
        }
        notes
    }
}

fn merge_into(known: Entry<'_, Rejection, LeftOutRows>, found: LeftOutRows) {
    match known {
        Entry::Occupied(mut known) => known.get_mut().merge(found),
        Entry::Vacant(place) => drop(place.insert(found)),
    }
}

fn merge(known: &mut Option<LeftOutRows>, found: Option<LeftOutRows>) {
    match (known.as_mut(), found) {
        (Some(known), Some(found)) => known.merge(found),
        (None, found) => *known = found,
        (Some(_), None) => {}
    }
}

fn rows(count: u64) -> String {
    if count == 1 { "1 row".to_owned() } else { format!("{} rows", grouped(count)) }
}
