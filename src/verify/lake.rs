//! A lake beside its own log: every file, every row's origin, and whether each offset of the topic is there once.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, anyhow};

use super::coverage::{self, Rows, Verdict};
use super::files;
use crate::lake::claims::Claims;
use crate::output::table::grouped;

/// Problems that are listed; with more it is not one file that is damaged.
const PROBLEMS_MAX: usize = 100;

/// What was found, for people.
pub struct Checked {
    pub report: String,
    pub problems: usize,
}

/// Reads all files of the lake in the folder `lake`, on so many threads.
///
/// # Errors
/// If there is no lake, or its log cannot be read at all.
pub fn check(lake: &Path, threads: usize) -> Result<Checked> {
    // In this order: dead letters are committed first, so those of these plays are there.
    let plays = Claims::of_plays(lake)?;
    let letters = Claims::of_dead_letters(lake)?;
    let mut problems = plays.problems.clone();
    problems.extend(letters.iter().flat_map(|letters| letters.problems.clone()));
    let mut report = String::new();
    let mut found = Vec::new();
    for claims in [Some(&plays), letters.as_ref()].into_iter().flatten() {
        let rows = read(claims, threads, &mut problems)?;
        report += &format!(
            "{}: version {}, {} files, {} rows, digest of their offsets {:016x}\n",
            claims.name,
            claims.progress.version,
            grouped(claims.files.len() as u64),
            grouped(rows.count),
            rows.digest
        );
        found.push(rows);
    }
    let mut found = found.into_iter();
    let (play_rows, letter_rows) = (found.next().unwrap_or_default(), found.next().unwrap_or_default());
    let verdicts = match &plays.topic {
        Some(topic) => coverage::judge(topic, &plays.progress, play_rows, letter_rows, &plays.gaps),
        None => {
            report += "the lake was imported: which offsets it should have is not on record\n";
            Vec::new()
        }
    };
    for Verdict { text, .. } in &verdicts {
        report += &format!("{text}\n");
    }
    let count = problems.len() + verdicts.iter().filter(|verdict| !verdict.whole).count();
    for problem in problems.iter().take(PROBLEMS_MAX) {
        report += &format!("{problem}\n");
    }
    if problems.len() > PROBLEMS_MAX {
        report += &format!("… and {} problems more\n", problems.len() - PROBLEMS_MAX);
    }
    Ok(Checked { report, problems: count })
}

/// The rows of all files of a table.
fn read(claims: &Claims, threads: usize, problems: &mut Vec<String>) -> Result<Rows> {
    let next = AtomicUsize::new(0);
    let found = Mutex::new(Vec::new());
    let work = || {
        let mut rows = Rows::default();
        while let Some(index) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|index| *index < claims.files.len()) {
            let (of_file, told) = files::check(claims, &claims.files[index]);
            rows.merge(of_file);
            let told = told.into_iter().map(|problem| (index, problem));
            found.lock().unwrap_or_else(PoisonError::into_inner).extend(told);
        }
        rows
    };
    let rows = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let joined = workers.into_iter().map(|worker| worker.join().map_err(|_| anyhow!("a thread has died")));
        joined.collect::<Result<Vec<_>>>()
    });
    let mut all = Rows::default();
    rows.context("the files cannot be read")?.into_iter().for_each(|rows| all.merge(rows));
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.sort();
    problems.extend(found.into_iter().map(|(_, problem)| problem));
    Ok(all)
}
