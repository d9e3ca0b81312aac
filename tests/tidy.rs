//! Rules of the house that no compiler knows, kept by a test rather than by asking.
//!
//! A rule is here if breaking it is a mistake each time; what is a matter of judgement is left to those who read.

use std::fs;
use std::path::{Path, PathBuf};

/// Longer files want to be two.
const LINES_MAX: usize = 400;

/// What the dataflow's crate must not know: files, the network, and what time it is. Live and replay can only agree if
/// all of these come in through `build`.
const OUTSIDE_WORLD: &[&str] =
    &["std::fs", "std::net", "std::env", "std::process", "SystemTime", "Instant::now", "Timestamp::now", "Zoned::now"];

/// Every source file of the project, with its text.
fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders: Vec<PathBuf> =
        ["src", "tests", "benches", "dataflows", "kafka"].map(|folder| root.join(folder)).into();
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        // Not every kind of room is there from the beginning.
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                sources.push((path.strip_prefix(root).unwrap().to_owned(), text));
            }
        }
    }
    assert!(sources.len() > 50, "only {} files were found below {}", sources.len(), root.display());
    sources.sort();
    sources
}

/// Fails with all that `complaint` says of the sources.
fn check(complaint: impl Fn(&Path, &str) -> Option<String>) {
    let complaints = sources()
        .into_iter()
        .filter_map(|(path, text)| complaint(&path, &text).map(|complaint| format!("{}: {complaint}", path.display())));
    let complaints: Vec<String> = complaints.collect();
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn every_file_says_what_it_is_for() {
    check(|_, text| (!text.starts_with("//! ")).then(|| "does not begin with `//! ` and what it is for".to_owned()));
}

#[test]
fn no_file_needs_a_table_of_contents() {
    check(|_, text| {
        let lines = text.lines().count();
        (lines > LINES_MAX).then(|| format!("{lines} lines, and {LINES_MAX} are the limit: make it two files"))
    });
}

#[test]
fn the_dataflow_knows_nothing_of_the_outside_world() {
    check(|path, text| {
        let named = OUTSIDE_WORLD.iter().filter(|name| path.starts_with("dataflows/src") && text.contains(**name));
        let named: Vec<&str> = named.copied().collect();
        (!named.is_empty()).then(|| format!("names {}, which belong into src/", named.join(", ")))
    });
}

/// What unpacks bytes by `bincode` 1, which nobody maintains any more (RUSTSEC-2025-0141): timely may, of what its own workers
/// send each other behind the cluster's handshake, and nothing of ours, since bytes from a file or a topic are a stranger's.
const UNPACKS_BY_BINCODE: &[&str] = &["bincode::", "EventReader", "EventWriter", "Bincode("];

#[test]
fn no_foreign_bytes_reach_bincode() {
    check(|path, text| {
        let is_shipped = ["src", "dataflows/src", "kafka/src"].iter().any(|folder| path.starts_with(folder));
        let named: Vec<&str> = UNPACKS_BY_BINCODE.iter().filter(|name| text.contains(**name)).copied().collect();
        (is_shipped && !named.is_empty()).then(|| format!("names {}: see deny.toml", named.join(", ")))
    });
    let manifests = ["Cargo.toml", "dataflows/Cargo.toml", "kafka/Cargo.toml"];
    for manifest in manifests.map(|name| Path::new(env!("CARGO_MANIFEST_DIR")).join(name)) {
        let text = fs::read_to_string(&manifest).unwrap();
        assert!(!text.contains("\nbincode"), "{} depends on bincode: see deny.toml", manifest.display());
    }
}

/// What is left to do is an issue, where others look for it.
#[test]
fn nothing_is_left_to_be_written() {
    let left: Vec<String> = ["TODO", "FIXME", "XXX"].iter().map(|word| format!("{word}:")).collect();
    check(|_, text| {
        let found: Vec<&str> = left.iter().filter(|word| text.contains(*word)).map(String::as_str).collect();
        (!found.is_empty()).then(|| format!("has {}: do it, or make an issue of it", found.join(", ")))
    });
}
