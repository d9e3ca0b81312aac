//! A look at the log now and then, by which a process learns that another one has taken over its lake.
//!
//! Commits find that out by themselves, but the next one may be a minute away, or never come while nothing is played. A look
//! reads only the entries that came since the last one, so it costs next to nothing however long the log is.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::writer_process::recorded_other;
use anyhow::{Context, Error, Result, anyhow};
use serde::Deserialize;

use super::disk::LOG;
use super::table::{self, INCARNATION, PLAYS, Table, entry_name};

/// How far a process has read the log of a lake that it writes to.
pub struct SuccessorWatch {
    lake: PathBuf,
    /// The last version that was looked at.
    version: u64,
    incarnation: i64,
}

/// What is of interest in a line of the log.
#[derive(Deserialize)]
struct Action {
    txn: Option<Transaction>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Transaction {
    app_id: String,
    version: i64,
}

impl SuccessorWatch {
    /// A watch for the writer of `lake` with this `incarnation`, behind `version`.
    pub fn new(lake: &Path, version: u64, incarnation: i64) -> Self {
        Self { lake: lake.to_owned(), version, incarnation }
    }

    /// Says so if another process has taken over the lake, in the words of an error.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn look(&mut self) -> Result<Option<Error>> {
        let log = self.lake.join(PLAYS.folder).join(LOG);
        loop {
            let path = log.join(entry_name(self.version + 1));
            match fs::read_to_string(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => break,
                read => {
                    let found = read.map_err(Error::from).and_then(|entry| incarnation_in(&entry));
                    let found = found.with_context(|| format!("cannot read {}", path.display()))?;
                    if let Some(overtaken) = found.and_then(|found| self.compare(found)) {
                        return Ok(Some(overtaken));
                    }
                    self.version += 1;
                }
            }
        }
        if log.join(entry_name(self.version)).exists() {
            return Ok(None);
        }
        // While this process was frozen the log was cleaned up beyond its place.
        let newest = Table::open(&self.lake, &PLAYS, table::engine()?, None)?.progress()?;
        self.version = newest.version;
        Ok(self.compare(newest.incarnation))
    }

    fn compare(&self, found: i64) -> Option<Error> {
        (found > self.incarnation).then(|| overtaken(&self.lake, found))
    }
}

/// Why a process with this `incarnation` has failed to write to `lake`: that another one has taken over, if it has, and removed
/// what was staged. Otherwise the `error` itself.
pub fn or_overtaken(lake: &Path, incarnation: i64, error: Error) -> Error {
    match super::incarnation(lake) {
        Ok(found) if found > incarnation => overtaken(lake, found),
        _ => error,
    }
}

/// The incarnation that an entry of the log is of; none if it is not of a writer, as that of a compaction.
fn incarnation_in(entry: &str) -> Result<Option<i64>> {
    for line in entry.lines().filter(|line| line.contains(INCARNATION)) {
        let action: Action = serde_json::from_str(line)?;
        if let Some(transaction) = action.txn.filter(|transaction| transaction.app_id == INCARNATION) {
            return Ok(Some(transaction.version));
        }
    }
    Ok(None)
}

/// Another process has become the writer of `lake`, by the `incarnation` that its log says.
pub fn overtaken(lake: &Path, incarnation: i64) -> Error {
    let by = recorded_other(lake).map_or_else(String::new, |writer| format!(" ({writer})"));
    anyhow!(
        "another instance (incarnation {incarnation}) has taken over this lake, {}{by}; nothing more was committed. Let only one \
         `reprise run` write to a lake",
        lake.display()
    )
}
