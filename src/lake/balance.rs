//! Checks that a lake adds up: that the number of its rows agrees with its offsets.
//!
//! The two are written in the same commit but stored separately, as transaction ids and as
//! statistics of files. Comparing them detects a corrupted digit in either, and rows that somebody
//! has deleted or added. A run that trusted a wrong offset would read records twice, or never.

use anyhow::{Result, bail};

use super::entries::entries;
use super::store::Place;
use super::table::{DEAD_LETTERS, PLAYS, Table};
use super::{LakeProgress, Snapshot, create};

/// Refuses a lake whose number of rows does not agree with its offsets. Passes if there is no lake.
/// Reads only the log; `verify` reads every row. Another process may write to the lake meanwhile.
///
/// # Errors
/// If the lake does not add up, or its log cannot be read.
pub fn check(lake: &Place) -> Result<()> {
    if !create::exists(lake, &PLAYS)? {
        return Ok(());
    }
    let snapshot = Snapshot::open(lake, None)?;
    // Read after the plays: a cut commits its dead letters first, so those of all these plays are
    // in the log by now. The table may be missing in a lake whose first start was killed.
    let letters: u64 = if create::exists(lake, &DEAD_LETTERS)? {
        let letters = Table::open(lake, &DEAD_LETTERS, lake.engine()?, None)?;
        entries(&letters)?.iter().filter_map(|entry| entry.rows).sum()
    } else {
        0
    };
    let plays: u64 = snapshot.files().iter().map(|file| file.rows).sum();
    let records = records(snapshot.progress());
    // The table may also have dead letters of records that the plays' offsets have not reached.
    if adds_up(records, plays, letters) {
        return Ok(());
    }
    bail!(
        "the lake {lake} does not add up: by its offsets it has {records} plays and dead letters, and by its files {plays} plays and \
         {letters} dead letters. Its log is damaged, or somebody has added or deleted rows: `reprise lake check --lake {lake}` says \
         more. Nothing was read or changed"
    )
}

/// How many dead letters a lake has among the records that its offsets have passed.
pub fn dead_letters(snapshot: &Snapshot) -> u64 {
    let plays: u64 = snapshot.files().iter().map(|file| file.rows).sum();
    records(snapshot.progress()).unsigned_abs().saturating_sub(plays)
}

/// How many offsets are plays or dead letters, by the account in the commits.
fn records(progress: &LakeProgress) -> i64 {
    let of =
        |values: &std::collections::BTreeMap<i32, i64>| values.values().fold(0i64, |sum, n| sum.saturating_add(*n));
    let passed = of(&progress.offsets).saturating_sub(of(&progress.starts));
    passed.saturating_sub(of(&progress.holes)).saturating_sub(of(&progress.missing))
}

fn adds_up(records: i64, plays: u64, letters: u64) -> bool {
    let rejected = i128::from(records) - i128::from(plays);
    (0..=i128::from(letters)).contains(&rejected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_plays_dead_letters_holes_or_missing() {
        let of = |values: &[i64]| (0..).zip(values.iter().copied()).collect();
        let progress = LakeProgress {
            offsets: of(&[100, 50]),
            starts: of(&[10, 0]),
            holes: of(&[3]),
            missing: of(&[0, 20]),
            ..LakeProgress::default()
        };
        assert_eq!(records(&progress), 117);
        assert!(adds_up(117, 117, 0) && adds_up(117, 110, 7) && adds_up(117, 110, 9));
        assert!(!adds_up(117, 118, 5) && !adds_up(117, 110, 6) && !adds_up(-5, 0, 9));
    }
}
