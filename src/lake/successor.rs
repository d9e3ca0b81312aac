//! Reads the log periodically, so that a process learns when another one has taken over its lake.
//!
//! A commit detects that as well, but the next commit may be a minute away, or may never come while
//! nothing is played. Each check reads only the log entries added since the last one, so its cost
//! does not grow with the log.

use super::writer_process::recorded_other;
use anyhow::{Context, Error, Result, anyhow};
use serde::Deserialize;

use super::layout::LOG;
use super::store::Place;
use super::table::{INCARNATION, PLAYS, Table, entry_name};

/// The position of a writing process in the log of its lake.
pub struct SuccessorWatch {
    lake: Place,
    /// The last version that was read.
    version: u64,
    incarnation: i64,
}

/// The part of a log line that is deserialized.
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
    /// Watches the log of `lake` from the entry after `version` on, for the writer with this
    /// `incarnation`.
    pub fn new(lake: &Place, version: u64, incarnation: i64) -> Self {
        Self { lake: lake.clone(), version, incarnation }
    }

    /// Returns the error to end with if another process has taken over the lake.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub fn look(&mut self) -> Result<Option<Error>> {
        let log = self.lake.join(PLAYS.folder).join(LOG);
        loop {
            let entry = log.join(&entry_name(self.version + 1));
            let context = || format!("cannot read {entry}");
            let Some(text) = entry.read_if_there().with_context(context)? else { break };
            let found =
                incarnation_in(&std::io::read_to_string(&*text).with_context(context)?).with_context(context)?;
            if let Some(overtaken) = found.and_then(|found| self.compare(found)) {
                return Ok(Some(overtaken));
            }
            self.version += 1;
        }
        if log.join(&entry_name(self.version)).exists() {
            return Ok(None);
        }
        // The log was cleaned up past this version while the process was suspended.
        let newest = Table::open(&self.lake, &PLAYS, self.lake.engine()?, None)?.progress()?;
        self.version = newest.version;
        Ok(self.compare(newest.incarnation))
    }

    fn compare(&self, found: i64) -> Option<Error> {
        (found > self.incarnation).then(|| overtaken(&self.lake, found))
    }
}

/// The reason why a process with this `incarnation` failed to write to `lake`: if another process
/// has taken over and therefore removed the staged files, an error that says so, otherwise `error`
/// itself.
pub fn or_overtaken(lake: &Place, incarnation: i64, error: Error) -> Error {
    match super::incarnation(lake) {
        Ok(found) if found > incarnation => overtaken(lake, found),
        _ => error,
    }
}

/// The incarnation of a log entry; `None` if no writer wrote the entry, for example if it is a
/// compaction.
fn incarnation_in(entry: &str) -> Result<Option<i64>> {
    for line in entry.lines().filter(|line| line.contains(INCARNATION)) {
        let action: Action = serde_json::from_str(line)?;
        if let Some(transaction) = action.txn.filter(|transaction| transaction.app_id == INCARNATION) {
            return Ok(Some(transaction.version));
        }
    }
    Ok(None)
}

/// The error that another process has become the writer of `lake`, with the `incarnation` that the
/// log has.
pub fn overtaken(lake: &Place, incarnation: i64) -> Error {
    let by = recorded_other(lake).map_or_else(String::new, |writer| format!(" ({writer})"));
    anyhow!(
        "another instance (incarnation {incarnation}) has taken over this lake, {lake}{by}; nothing more was committed. Let only one \
         `reprise run` write to a lake"
    )
}
