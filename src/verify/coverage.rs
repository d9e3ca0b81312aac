//! Checks that each offset of the topic is in a lake exactly once: as a play, as a dead letter, or
//! recorded as an offset without a record (a hole) or as one that Kafka deleted before it was read
//! (missing).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use roaring::RoaringTreemap;

use crate::intake::Gap;
use crate::lake::{LakeProgress, origin_hash};
use crate::text::grouped;

/// The maximum number of ranges that a message lists.
const RANGES_MAX: usize = 5;

/// The origins of the rows that were found.
#[derive(Debug, Default)]
pub struct Rows {
    partitions: BTreeMap<i32, Offsets>,
    /// The number of rows.
    pub count: u64,
    /// The wrapping sum of [`origin_hash`] over all rows, independent of their order and files.
    pub digest: u64,
    /// Rows with a negative offset.
    impossible: u64,
}

#[derive(Debug, Default)]
struct Offsets {
    once: RoaringTreemap,
    doubled: RoaringTreemap,
}

impl Rows {
    /// Adds a row.
    pub fn add(&mut self, partition: i32, offset: i64) {
        self.count += 1;
        self.digest = self.digest.wrapping_add(origin_hash(partition, offset));
        let Ok(offset) = u64::try_from(offset) else {
            self.impossible += 1;
            return;
        };
        let offsets = self.partitions.entry(partition).or_default();
        if !offsets.once.insert(offset) {
            offsets.doubled.insert(offset);
        }
    }

    /// Adds the rows of another set.
    pub fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.digest = self.digest.wrapping_add(other.digest);
        self.impossible += other.impossible;
        for (partition, other) in other.partitions {
            let offsets = self.partitions.entry(partition).or_default();
            offsets.doubled |= other.doubled;
            offsets.doubled |= &offsets.once & &other.once;
            offsets.once |= other.once;
        }
    }
}

/// The result for a partition, or for rows that belong to none.
#[derive(Debug, PartialEq, Eq)]
pub struct Verdict {
    /// One line for people.
    pub text: String,
    /// Whether nothing is wrong.
    pub whole: bool,
}

/// Judges each partition by comparing the lake's recorded progress with its rows.
pub fn judge(topic: &str, progress: &LakeProgress, plays: Rows, letters: Rows, gaps: &[Gap]) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for (table, rows) in [("plays", &plays), ("dead letters", &letters)] {
        if rows.impossible > 0 {
            verdicts.push(Verdict { text: format!("{} {table} with offsets below 0", rows.impossible), whole: false });
        }
    }
    let (mut plays, mut letters) = (plays.partitions, letters.partitions);
    let partitions: BTreeSet<i32> = progress.offsets.keys().chain(plays.keys()).copied().collect();
    for partition in partitions {
        let partition = Partition {
            name: format!("{topic}/{partition}"),
            start: progress.starts.get(&partition).copied(),
            next: progress.offsets.get(&partition).copied(),
            holes: progress.holes.get(&partition).copied().unwrap_or(0),
            missing: progress.missing.get(&partition).copied().unwrap_or(0),
            gaps: gaps.iter().filter(|gap| gap.partition == partition).copied().collect(),
            plays: plays.remove(&partition).unwrap_or_default(),
            letters: letters.remove(&partition).unwrap_or_default(),
        };
        verdicts.push(partition.judge());
    }
    verdicts
}

struct Partition {
    name: String,
    /// `None` in lakes of older versions, which do not record it.
    start: Option<i64>,
    next: Option<i64>,
    holes: i64,
    missing: i64,
    gaps: Vec<Gap>,
    plays: Offsets,
    letters: Offsets,
}

impl Partition {
    fn judge(mut self) -> Verdict {
        let Some(next) = self.next else {
            let text =
                format!("{}: {} plays, but the log has no offsets of this partition", self.name, self.plays.once.len());
            return Verdict { text, whole: false };
        };
        // Dead letters above `next` were written before a crash; their records will be read again.
        self.letters.once.remove_range(next.unsigned_abs()..);
        self.letters.doubled.remove_range(next.unsigned_abs()..);
        let all = &self.plays.once | &self.letters.once;
        let least = all.min().map_or(next, |least| least as i64);
        let start = self.start.unwrap_or(least);
        let mut problems = Vec::new();
        let doubled = &(&self.plays.doubled | &self.letters.doubled) | &(&self.plays.once & &self.letters.once);
        if !doubled.is_empty() {
            problems.push(format!("DOUBLED {}: {}", grouped(doubled.len()), ranges(&doubled)));
        }
        let mut outside = all.clone();
        outside.remove_range(start.unsigned_abs()..next.unsigned_abs());
        if !outside.is_empty() {
            problems.push(format!("OUTSIDE {}: {}", grouped(outside.len()), ranges(&outside)));
        }
        let offsets = (next - start).max(0);
        let absent = offsets - (all.len() - outside.len()) as i64;
        let recorded = self.holes + self.missing;
        if absent > recorded && (self.start.is_some() || recorded > 0) {
            let first = self.first_absent(&all, start, next);
            let among = if self.holes > 0 { " or a hole" } else { "" };
            problems.push(format!(
                "LOST {} of {}, first{among} at {first}",
                grouped(absent - recorded),
                grouped(offsets)
            ));
        }
        if absent < recorded {
            let found = grouped(recorded - absent);
            problems.push(format!("TOO MANY: {found} offsets that are on record as holes or missing have rows"));
        }
        let whole = problems.is_empty();
        let mut text = format!("{}: {start} … {next} ", self.name);
        text += &if whole { "complete".to_owned() } else { problems.join("; ") };
        let notes = self.notes(absent, recorded);
        if !notes.is_empty() {
            let _ = write!(text, " ({})", notes.join(", "));
        }
        Verdict { text, whole }
    }

    fn notes(&self, absent: i64, recorded: i64) -> Vec<String> {
        let letters = self.letters.once.len();
        let mut notes = Vec::new();
        let mut note = |count: u64, one: &str, many: &str| {
            if count > 0 {
                notes.push(format!("{} {}", grouped(count), if count == 1 { one } else { many }));
            }
        };
        note(self.holes.unsigned_abs(), "hole", "holes");
        note(letters, "dead letter", "dead letters");
        note(self.missing.unsigned_abs(), "missing by --accept-gap", "missing by --accept-gap");
        if let (true, Some(last)) = (self.missing > 0, notes.last_mut()) {
            let mut gaps = RoaringTreemap::new();
            for gap in &self.gaps {
                gaps.insert_range(gap.first.unsigned_abs()..gap.end.unsigned_abs());
            }
            if !gaps.is_empty() {
                let _ = write!(last, ": {}", ranges(&gaps));
            }
        }
        if self.start.is_none() {
            notes.push("its start is not on record".to_owned());
            if absent > recorded && recorded == 0 {
                notes.push(format!("{} offsets have no row: holes are not on record either", grouped(absent)));
            }
        }
        notes
    }

    /// The first offset that has no row and is in no gap.
    fn first_absent(&self, all: &RoaringTreemap, start: i64, next: i64) -> i64 {
        let in_gap = |offset: i64| self.gaps.iter().find(|gap| (gap.first..gap.end).contains(&offset));
        let mut offset = start;
        while offset < next {
            if let Some(gap) = in_gap(offset) {
                offset = gap.end;
            } else if all.contains(offset.unsigned_abs()) {
                offset += 1;
            } else {
                return offset;
            }
        }
        next
    }
}

/// The first ranges of a set, such as `3, 5…9, …`.
fn ranges(set: &RoaringTreemap) -> String {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for offset in set {
        if let Some((_, last)) = ranges.last_mut()
            && *last + 1 == offset
        {
            *last = offset;
        } else if ranges.len() == RANGES_MAX {
            return texts(&ranges) + ", …";
        } else {
            ranges.push((offset, offset));
        }
    }
    texts(&ranges)
}

fn texts(ranges: &[(u64, u64)]) -> String {
    let text = |(first, last): &(u64, u64)| if first == last { first.to_string() } else { format!("{first}…{last}") };
    ranges.iter().map(text).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rows(offsets: impl IntoIterator<Item = i64>) -> Rows {
        let mut rows = Rows::default();
        offsets.into_iter().for_each(|offset| rows.add(0, offset));
        rows
    }

    fn progress(start: i64, next: i64, holes: i64, missing: i64) -> LakeProgress {
        let of = |value| BTreeMap::from([(0, value)]);
        LakeProgress {
            starts: of(start),
            offsets: of(next),
            holes: of(holes),
            missing: of(missing),
            ..LakeProgress::default()
        }
    }

    fn verdict(progress: &LakeProgress, plays: Rows, letters: Rows, gaps: &[Gap]) -> (String, bool) {
        let verdicts = judge("plays", progress, plays, letters, gaps);
        assert_eq!(verdicts.len(), 1, "{verdicts:?}");
        (verdicts[0].text.clone(), verdicts[0].whole)
    }

    #[test]
    fn what_is_on_record_is_complete() {
        let gap = Gap { partition: 0, first: 100, end: 150 };
        for (progress, plays, letters, gaps, text) in [
            (progress(0, 9, 0, 0), rows(0..9), rows([]), vec![], "plays/0: 0 … 9 complete"),
            (progress(5, 9, 1, 0), rows([5, 7]), rows([8]), vec![], "plays/0: 5 … 9 complete (1 hole, 1 dead letter)"),
            (
                progress(90, 160, 0, 50),
                rows((90..100).chain(150..160)),
                rows([]),
                vec![gap],
                "plays/0: 90 … 160 complete (50 missing by --accept-gap: 100…149)",
            ),
            // Written before a crash between the two commits of a cut.
            (progress(0, 3, 0, 0), rows(0..3), rows([4]), vec![], "plays/0: 0 … 3 complete"),
            (progress(7, 7, 0, 0), rows([]), rows([]), vec![], "plays/0: 7 … 7 complete"),
        ] {
            assert_eq!(verdict(&progress, plays, letters, &gaps), (text.to_owned(), true));
        }
    }

    #[test]
    fn faults_are_described() {
        for (progress, plays, letters, text) in [
            (progress(0, 900, 0, 0), rows((0..900).chain(5..10)), rows([]), "plays/0: 0 … 900 DOUBLED 5: 5…9"),
            (progress(0, 9, 0, 0), rows(0..9), rows([3]), "plays/0: 0 … 9 DOUBLED 1: 3 (1 dead letter)"),
            (
                progress(0, 9, 0, 0),
                rows([0, 1, 5, 6, 7]),
                rows([2]),
                "plays/0: 0 … 9 LOST 3 of 9, first at 3 (1 dead letter)",
            ),
            (progress(0, 9, 1, 0), rows(0..6), rows([]), "plays/0: 0 … 9 LOST 2 of 9, first or a hole at 6 (1 hole)"),
            (progress(2, 9, 0, 0), rows(0..12), rows([]), "plays/0: 2 … 9 OUTSIDE 5: 0…1, 9…11"),
            (
                progress(0, 9, 2, 0),
                rows(0..9),
                rows([]),
                "plays/0: 0 … 9 TOO MANY: 2 offsets that are on record as holes or missing have rows (2 holes)",
            ),
            (
                LakeProgress::default(),
                rows(0..3),
                rows([]),
                "plays/0: 3 plays, but the log has no offsets of this partition",
            ),
        ] {
            assert_eq!(verdict(&progress, plays, letters, &[]), (text.to_owned(), false));
        }
        assert!(judge("plays", &progress(0, 0, 0, 0), rows([-1]), rows([]), &[])[0].text.contains("below 0"));
    }

    /// A lake of a version that did not record its start: the verdict claims nothing about what is
    /// not recorded.
    #[test]
    fn a_start_that_is_not_on_record_is_named() {
        let old = |next| LakeProgress { offsets: [(0, next)].into(), ..LakeProgress::default() };
        let (text, whole) = verdict(&old(9), rows(4..9), rows([]), &[]);
        assert_eq!((text.as_str(), whole), ("plays/0: 4 … 9 complete (its start is not on record)", true));
        let (text, whole) = verdict(&old(9), rows([4, 8]), rows([]), &[]);
        assert!(whole && text.ends_with("3 offsets have no row: holes are not on record either)"), "{text}");
        assert!(!verdict(&old(9), rows([4, 4]), rows([]), &[]).1);
    }

    proptest! {
        /// The sets, the duplicates and the digest do not depend on how rows are spread over files
        /// and threads.
        #[test]
        fn merging_is_adding(rows in prop::collection::vec((0..3i32, -1..40i64), 0..80), pieces in 1usize..6) {
            let mut whole = Rows::default();
            rows.iter().for_each(|(partition, offset)| whole.add(*partition, *offset));
            let mut merged = Rows::default();
            for piece in 0..pieces {
                let mut part = Rows::default();
                rows.iter().skip(piece).step_by(pieces).for_each(|(partition, offset)| part.add(*partition, *offset));
                merged.merge(part);
            }
            prop_assert_eq!(format!("{whole:?}"), format!("{merged:?}"));
        }

        /// One offset more, fewer, or twice is always found.
        #[test]
        fn no_change_goes_unnoticed(next in 1..60i64, letters in prop::collection::btree_set(0..60i64, 0..10), at in 0..60i64) {
            let at = at % next;
            let is_letter = |offset: &i64| letters.contains(offset);
            let plays = || (0..next).filter(|offset| !is_letter(offset));
            let letters = || rows(letters.iter().copied());
            let progress = progress(0, next, 0, 0);
            prop_assert!(verdict(&progress, rows(plays()), letters(), &[]).1);
            prop_assert!(!verdict(&progress, rows(plays().chain([at])), letters(), &[]).1);
            prop_assert!(!verdict(&progress, rows(plays().chain([next])), letters(), &[]).1);
            if !is_letter(&at) {
                prop_assert!(!verdict(&progress, rows(plays().filter(|offset| *offset != at)), letters(), &[]).1);
            }
        }
    }
}
