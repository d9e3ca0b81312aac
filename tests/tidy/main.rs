//! Rules of the house that no compiler knows, kept by a test rather than by asking.
//!
//! A rule is here if breaking it is a mistake each time; what is a matter of judgement is left to those who read.

mod imports;

use std::collections::BTreeSet;
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

/// The modules of `src/`, from the top down: each may import those below it.
const LAYERS: &[&str] = &[
    "cli",
    "run",
    "verify",
    "serve",
    "publish",
    "terminal",
    "checkpoint",
    "generate",
    "state",
    "cluster",
    "source",
    "lake",
    "report",
    "intake",
    "kafka",
    "process",
    "text",
];
/// Those of `dataflows/src/`.
const DATAFLOW_LAYERS: &[&str] =
    &["tops", "window", "count", "query", "rank", "names", "rules", "operators", "keys", "time", "play", "tick"];

#[test]
fn imports_go_down_and_no_files_import_each_other_in_a_circle() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (lib, layers) in [("src/lib.rs", LAYERS), ("dataflows/src/lib.rs", DATAFLOW_LAYERS)] {
        let graph = imports::Graph::read(&root.join(lib));
        let layer = |module: &[String]| layers.iter().position(|layer| *layer == module[0]);
        let unknown: Vec<_> = graph.modules().filter(|module| layer(module).is_none()).collect();
        assert!(unknown.is_empty(), "{lib}: in no layer are {unknown:?}: say in tests/tidy where they belong");
        let up: Vec<String> = (graph.imports.iter())
            .filter(|(from, to)| layer(from) > layer(to))
            .map(|(from, to)| format!("{} imports {}", from.join("::"), to.join("::")))
            .collect();
        assert!(up.is_empty(), "{lib}: upward imports:\n{}", up.join("\n"));
        let circles = imports::circles(&graph.imports);
        assert!(circles.is_empty(), "{lib}: circles of files: {circles:?}");
        let between: BTreeSet<(&str, &str)> = graph.imports.iter().map(|(from, to)| (&*from[0], &*to[0])).collect();
        let between = between.iter().filter(|(from, to)| from != to).count();
        let (files, edges) = (graph.modules().count(), graph.imports.len());
        assert!(edges > files, "{lib}: only {edges} imports of {files} files were found");
        eprintln!("{lib}: {files} files, {edges} imports; {} modules, {between} imports between them", layers.len());
    }
}

/// Timely's capabilities are where operators go wrong, so the shells in `operators/` hold them for all.
#[test]
fn capabilities_are_held_by_the_shells() {
    check(|path, text| {
        let is_shell = path.starts_with("dataflows/src/operators");
        let is_shipped = ["src", "dataflows/src"].iter().any(|folder| path.starts_with(folder));
        (is_shipped && !is_shell && text.contains("retain_least("))
            .then(|| "holds a capability: write a fold, and let `operators/` make an operator of it".to_owned())
    });
}

/// The map in ARCHITECTURE.md names every folder of the sources, and nothing that is not there.
#[test]
fn the_map_is_that_of_the_tree() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let links =
        links.map(|link| link.split('#').next().unwrap()).filter(|link| !link.contains(":") && !link.is_empty());
    let dead: Vec<&str> = links.filter(|link| !root.join(link).exists()).collect();
    assert!(dead.is_empty(), "ARCHITECTURE.md links to what is not there: {dead:?}");
    let map = text.split("```").find(|block| block.contains("crate reprise-dataflows")).unwrap();
    for (crate_src, layers) in [("src", LAYERS), ("dataflows/src", DATAFLOW_LAYERS)] {
        for layer in layers {
            let name =
                if root.join(crate_src).join(layer).is_dir() { format!("{layer}/") } else { format!("{layer}.rs") };
            assert!(map.contains(&format!(" {name}")), "the map of ARCHITECTURE.md lacks {crate_src}/{name}");
        }
    }
    let mut folder = "";
    for line in map.lines() {
        // A folder at the margin, and two columns in what is in it. Anything further in goes on with the line before.
        let name = line.split_whitespace().next().unwrap_or_default();
        let path = match line.len() - line.trim_start().len() {
            0 => root.join(name),
            2 => root.join(folder).join(name),
            _ => continue,
        };
        assert!(path.exists(), "the map of ARCHITECTURE.md has {}, which is not there", path.display());
        if !line.starts_with(' ') {
            folder = name;
        }
    }
}
