//! Why the log of a table cannot be read, in words for people: the file that is damaged, and what to do about it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use anyhow::{Error, anyhow};
use delta_kernel::KernelError;
use serde_json::Value;

use super::disk;
use super::disk::LOG;

/// Where the log says which version has the newest checkpoint, so that nobody has to look for it.
const HINT: &str = "_last_checkpoint";

/// `error` of the kernel, which never says which file it was about, with the first file of the log of `root` that is damaged.
/// Other errors say so themselves, and stay.
pub fn explained(root: &Path, error: Error) -> Error {
    let Some(kernel) = error.chain().find_map(|cause| cause.downcast_ref::<KernelError>()) else { return error };
    // The kernel adds a backtrace to what it says if RUST_BACKTRACE is set.
    let said = anyhow!("{}", kernel.without_backtrace());
    match damage(&root.join(LOG)) {
        Some(damage) => said.context(damage),
        None => said,
    }
}

/// The first damage of a log: a hint to a checkpoint that is not there, or an entry with a line that is no JSON object. What the
/// entries mean is not looked at.
fn damage(log: &Path) -> Option<String> {
    let mut names = disk::names(log).ok()?;
    if let Some(version) = hinted(log)
        && !names.iter().any(|name| name.starts_with(&format!("{version:020}.checkpoint")))
    {
        let hint = log.join(HINT);
        return Some(format!(
            "{} names a checkpoint of version {version}, and there is none. It is only a hint: delete it, and readers find their \
             way without",
            hint.display()
        ));
    }
    names.retain(|name| name.ends_with(".json"));
    names.sort();
    // The newest is the likeliest: it was being written when the power went.
    names.iter().rev().find_map(|name| damaged_line(&log.join(name)))
}

/// The version of [`HINT`].
fn hinted(log: &Path) -> Option<u64> {
    let hint: Value = serde_json::from_slice(&fs::read(log.join(HINT)).ok()?).ok()?;
    hint.get("version")?.as_u64()
}

/// Which line of an entry of the log is no JSON object.
fn damaged_line(path: &PathBuf) -> Option<String> {
    let mut lines = (1..).zip(BufReader::new(fs::File::open(path).ok()?).lines());
    let is_damaged = |line: &std::io::Result<String>| match line {
        Ok(line) => {
            !line.trim().is_empty() && !serde_json::from_str::<Value>(line).is_ok_and(|action| action.is_object())
        }
        Err(_) => true,
    };
    let (number, _) = lines.find(|(_, line)| is_damaged(line))?;
    Some(format!(
        "line {number} of {} is damaged: put back a copy of this file. Do not delete it: the versions after it stand on it",
        path.display()
    ))
}
