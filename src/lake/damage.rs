//! Explains to people why the log of a table cannot be read: which file is damaged, and what to do
//! about it.

use std::io::BufRead;

use anyhow::{Error, anyhow};
use delta_kernel::KernelError;
use serde_json::Value;

use super::layout::LOG;
use super::store::Place;

/// The file of the log that names the version of the newest checkpoint, so that readers need not
/// search for it.
const HINT: &str = "_last_checkpoint";

/// Adds the first damaged file of the log of `root` to an `error` of the kernel, which never names
/// a file. Other errors name their file, and are returned unchanged.
pub fn explained(root: &Place, error: Error) -> Error {
    let Some(kernel) = error.chain().find_map(|cause| cause.downcast_ref::<KernelError>()) else { return error };
    // The kernel adds a backtrace to its message if RUST_BACKTRACE is set.
    let said = anyhow!("{}", kernel.without_backtrace());
    match damage(&root.join(LOG)) {
        Some(damage) => said.context(damage),
        None => said,
    }
}

/// The first damage of a log: a hint that names a missing checkpoint, or an entry with a line that
/// is not a JSON object. The meaning of the entries is not checked.
fn damage(log: &Place) -> Option<String> {
    let mut names = log.names().ok()?;
    if let Some(version) = hinted(log)
        && !names.iter().any(|name| name.starts_with(&format!("{version:020}.checkpoint")))
    {
        let hint = log.join(HINT);
        return Some(format!(
            "{hint} names a checkpoint of version {version}, and there is none. It is only a hint: delete it"
        ));
    }
    names.retain(|name| name.ends_with(".json"));
    names.sort();
    // The newest entry is the most likely: it was being written when the power failed.
    names.iter().rev().find_map(|name| damaged_line(&log.join(name)))
}

/// The version that [`HINT`] names.
fn hinted(log: &Place) -> Option<u64> {
    let hint: Value = serde_json::from_slice(&log.join(HINT).read().ok()?).ok()?;
    hint.get("version")?.as_u64()
}

/// Describes the first line of a log entry that is not a JSON object.
fn damaged_line(entry: &Place) -> Option<String> {
    let mut lines = (1..).zip(entry.open().ok()?.reader(0).lines());
    let is_damaged = |line: &std::io::Result<String>| match line {
        Ok(line) => {
            !line.trim().is_empty() && !serde_json::from_str::<Value>(line).is_ok_and(|action| action.is_object())
        }
        Err(_) => true,
    };
    let (number, _) = lines.find(|(_, line)| is_damaged(line))?;
    Some(format!(
        "line {number} of {entry} is damaged: put back a copy of this file. Do not delete it: all later versions need it"
    ))
}
