//! Checks a lake against its own log: every file, the origin of every row, and whether each offset
//! of the topic is there exactly once.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, anyhow};
use reprise_dataflows::rules::definition::Definitions;
use reprise_dataflows::rules::plan::Plan;

use super::coverage::{self, Rows, Verdict};
use super::files;
use crate::lake::Snapshot;
use crate::lake::log_audit::LogAudit;
use crate::lake::store::Place;
use crate::source::lake::{LeftOut, Reader, Selection};
use crate::text::grouped;

/// The maximum number of problems that are listed. With more, the damage is not limited to single
/// files.
const PROBLEMS_MAX: usize = 100;
/// Up to this many files with the same problem are listed one by one; more are summarised in one
/// line that names the first.
const SAME_PROBLEM_MAX: usize = 5;

/// The result of a check.
pub struct Checked {
    /// Lines for people.
    pub report: String,
    /// The number of problems, those that the report omits included.
    pub problems: usize,
}

/// Reads all files of `lake`, with `threads` threads.
///
/// # Errors
/// If there is no lake, or its log cannot be read at all.
pub fn check(lake: &Place, threads: usize) -> Result<Checked> {
    // In this order: a cut commits its dead letters first, so the dead letters that belong to these
    // plays are there.
    let plays = LogAudit::of_plays(lake)?;
    let letters = LogAudit::of_dead_letters(lake)?;
    let mut problems = plays.problems.clone();
    problems.extend(letters.iter().flat_map(|letters| letters.problems.clone()));
    let mut report = String::new();
    let mut verdicts = Vec::new();
    match &plays.topic {
        Some(topic) => {
            let play_rows = read(&plays, threads, &mut problems)?;
            report += &summary(&plays, &play_rows);
            let letter_rows = letters.as_ref().map(|letters| read(letters, threads, &mut problems)).transpose()?;
            report += &letters.iter().zip(&letter_rows).map(|(audit, rows)| summary(audit, rows)).collect::<String>();
            // Not if the log names files: a file that cannot be read may hold plays.
            if play_rows.count == 0 && plays.files.is_empty() {
                report += "the lake holds no play yet\n";
            }
            verdicts = coverage::judge(topic, &plays.progress, play_rows, letter_rows.unwrap_or_default(), &plays.gaps);
        }
        None => report += &imported(&plays, lake, threads, &mut problems)?,
    }
    for Verdict { text, .. } in &verdicts {
        report += &format!("{text}\n");
    }
    let count = problems.len() + verdicts.iter().filter(|verdict| !verdict.whole).count();
    for problem in problems.iter().take(PROBLEMS_MAX) {
        report += &format!("{problem}\n");
    }
    if problems.len() > PROBLEMS_MAX {
        report += &format!("… and {} more problems\n", problems.len() - PROBLEMS_MAX);
    }
    Ok(Checked { report, problems: count })
}

fn summary(audit: &LogAudit, rows: &Rows) -> String {
    format!(
        "{}: version {}, {} files, {} rows, digest of their offsets {:016x}\n",
        audit.name,
        audit.progress.version,
        grouped(audit.files.len() as u64),
        grouped(rows.count),
        rows.digest
    )
}

/// Reads the plays of a lake that another tool wrote, as a replay with the built-in charts does.
/// Such a lake records no offsets, but every file must be readable and have as many rows as the log
/// says.
fn imported(plays: &LogAudit, lake: &Place, threads: usize, problems: &mut Vec<String>) -> Result<String> {
    let snapshot = Snapshot::open(lake, None)?;
    let (plan, files) = (Plan::new(&Definitions::builtin()), snapshot.files());
    let read_file = |index: usize, found: &mut (u64, LeftOut)| {
        let mut reader = Reader::new(vec![files[index].clone()], plan.clone(), Selection::with_all_times());
        let outcome = loop {
            match reader.next_piece() {
                Ok(Some(piece)) => found.0 += piece.rows,
                Ok(None) => break Vec::new(),
                Err(error) => break vec![format!("{error:#}")],
            }
        };
        found.1.merge(reader.take_left_out());
        outcome
    };
    let (mut rows, mut left_out) = (0, LeftOut::default());
    let places: Vec<&Place> = files.iter().map(|file| &file.place).collect();
    for (count, others) in each(&places, threads, read_file, problems)? {
        rows += count;
        left_out.merge(others);
    }
    let mut report = format!(
        "{}: version {}, {} files, {} rows, {} of them plays\n\
         the lake was imported: its log does not record Kafka offsets\n",
        plays.name,
        snapshot.version(),
        grouped(files.len() as u64),
        grouped(rows),
        grouped(rows - left_out.rows())
    );
    left_out.notes().iter().for_each(|note| report += &format!("{note}\n"));
    Ok(report)
}

/// The rows of all files of a table.
fn read(audit: &LogAudit, threads: usize, problems: &mut Vec<String>) -> Result<Rows> {
    let read_file = |index: usize, rows: &mut Rows| {
        let (of_file, found_problems) = files::check(audit, &audit.files[index]);
        rows.merge(of_file);
        found_problems
    };
    let mut all = Rows::default();
    let places: Vec<&Place> = audit.files.iter().map(|file| &file.place).collect();
    each(&places, threads, read_file, problems)?.into_iter().for_each(|rows| all.merge(rows));
    Ok(all)
}

/// Checks the files at `places` on `threads` threads. `check` adds to its thread's result and
/// returns the problems of a file.
fn each<T: Default + Send>(
    places: &[&Place],
    threads: usize,
    check: impl Fn(usize, &mut T) -> Vec<String> + Sync,
    problems: &mut Vec<String>,
) -> Result<Vec<T>> {
    let next = AtomicUsize::new(0);
    let found_problems = Mutex::new(Vec::new());
    let work = || {
        let mut found = T::default();
        while let Some(index) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|index| *index < places.len()) {
            let problems = check(index, &mut found).into_iter().map(|problem| (index, problem));
            found_problems.lock().unwrap_or_else(PoisonError::into_inner).extend(problems);
        }
        found
    };
    let found = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let joined = workers.into_iter().map(|worker| worker.join().map_err(|_| anyhow!("a thread has panicked")));
        joined.collect::<Result<Vec<_>>>()
    });
    let mut found_problems = found_problems.into_inner().unwrap_or_else(PoisonError::into_inner);
    found_problems.sort();
    problems.extend(summarised(places, found_problems));
    found.context("the files cannot be read")
}

/// The problems of the files at `places`, given by their indices. The same problem of many files
/// becomes one line.
fn summarised(places: &[&Place], found_problems: Vec<(usize, String)>) -> Vec<String> {
    let mut same = HashMap::<String, Vec<usize>>::new();
    for (place, (index, text)) in found_problems.iter().enumerate() {
        same.entry(text.replace(&places[*index].to_string(), "")).or_default().push(place);
    }
    let mut lines: Vec<(usize, String)> = Vec::new();
    for places in same.into_values() {
        match places[..] {
            [first, ..] if places.len() > SAME_PROBLEM_MAX => {
                let more = grouped(places.len() as u64 - 1);
                lines.push((first, format!("{}; {more} more files have the same problem", found_problems[first].1)));
            }
            _ => lines.extend(places.into_iter().map(|place| (place, found_problems[place].1.clone()))),
        }
    }
    lines.sort();
    lines.into_iter().map(|(_, line)| line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lake::store;

    /// A column that a table lacks is missing from each of its files, and the problems come in any
    /// order.
    #[test]
    fn the_same_problem_of_many_files_is_one_line() {
        let lake = store::open("/lake".as_ref()).unwrap();
        let places: Vec<Place> = (0..100).map(|number| lake.join(&format!("{number}.parquet"))).collect();
        let places: Vec<&Place> = places.iter().collect();
        let missing = |index: usize| (index, format!("cannot read {}: no column country", places[index]));
        let mut found_problems: Vec<_> = (0..100).map(missing).collect();
        found_problems.insert(1, (0, "/lake/0.parquet: it has no rows".to_owned()));
        assert_eq!(
            summarised(&places, found_problems),
            [
                "cannot read /lake/0.parquet: no column country; 99 more files have the same problem",
                "/lake/0.parquet: it has no rows"
            ]
        );
        let few: Vec<_> = (0..SAME_PROBLEM_MAX).map(missing).collect();
        assert_eq!(summarised(&places, few.clone()), few.into_iter().map(|(_, text)| text).collect::<Vec<_>>());
    }
}
