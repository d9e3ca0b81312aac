//! Rules of this repository that neither the compiler nor clippy checks.
//!
//! Only rules that allow no exception are tests. Matters of judgement are left to reviews.

mod imports;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The most lines of a source file.
const LINES_MAX: usize = 400;

/// Names that the dataflow's crate must not use: files, the network, and the current time. Live and
/// replayed charts can only agree if all input arrives through `build`.
const OUTSIDE_WORLD: &[&str] =
    &["std::fs", "std::net", "std::env", "std::process", "SystemTime", "Instant::now", "Timestamp::now", "Zoned::now"];

/// Every source file of the project, with its text.
fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders: Vec<PathBuf> =
        ["src", "tests", "benches", "dataflows", "kafka"].map(|folder| root.join(folder)).into();
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        // Some of these folders may not exist.
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

/// Fails with every complaint about a source file.
fn check(complaint: impl Fn(&Path, &str) -> Option<String>) {
    let complaints = sources()
        .into_iter()
        .filter_map(|(path, text)| complaint(&path, &text).map(|complaint| format!("{}: {complaint}", path.display())));
    let complaints: Vec<String> = complaints.collect();
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn every_file_starts_with_its_purpose() {
    check(|_, text| (!text.starts_with("//! ")).then(|| "does not begin with `//! ` and its purpose".to_owned()));
}

#[test]
fn no_file_is_too_long() {
    check(|_, text| {
        let lines = text.lines().count();
        (lines > LINES_MAX).then(|| format!("has {lines} lines; the limit is {LINES_MAX}: split it"))
    });
}

#[test]
fn the_dataflow_uses_no_files_network_or_time() {
    check(|path, text| {
        let named = OUTSIDE_WORLD.iter().filter(|name| path.starts_with("dataflows/src") && text.contains(**name));
        let named: Vec<&str> = named.copied().collect();
        (!named.is_empty()).then(|| format!("uses {}, which belong in src/", named.join(", ")))
    });
}

/// Uses of `bincode` 1 to decode bytes; it is unmaintained (RUSTSEC-2025-0141). Timely may use it
/// for messages between its own workers, behind the cluster's handshake. Our code must not, because
/// bytes from a file or a topic are untrusted.
const BINCODE_DECODING: &[&str] = &["bincode::", "EventReader", "EventWriter", "Bincode("];

#[test]
fn no_untrusted_bytes_reach_bincode() {
    check(|path, text| {
        let is_shipped = ["src", "dataflows/src", "kafka/src"].iter().any(|folder| path.starts_with(folder));
        let named: Vec<&str> = BINCODE_DECODING.iter().filter(|name| text.contains(**name)).copied().collect();
        (is_shipped && !named.is_empty()).then(|| format!("uses {}: see deny.toml", named.join(", ")))
    });
    let manifests = ["Cargo.toml", "dataflows/Cargo.toml", "kafka/Cargo.toml"];
    for manifest in manifests.map(|name| Path::new(env!("CARGO_MANIFEST_DIR")).join(name)) {
        let text = fs::read_to_string(&manifest).unwrap();
        assert!(!text.contains("\nbincode"), "{} depends on bincode: see deny.toml", manifest.display());
    }
}

/// Folders whose code knows the files of a lake only as places in a store, so that a lake need not
/// lie in a file system. The store itself is the one exception.
const WITHOUT_PATHS: &[&str] = &["src/lake", "src/checkpoint", "src/verify", "src/source/lake"];
const STORE: &str = "src/lake/store";
/// Words of the standard library's files and paths.
const OF_FILES: &[&str] =
    &["fs", "File", "OpenOptions", "FileExt", "MetadataExt", "Path", "PathBuf", "OsStr", "OsString"];

/// The words of [`OF_FILES`] in the code of a file, without its comments and tests.
fn words_of_files(text: &str) -> BTreeSet<&'static str> {
    let code = imports::code_of(text);
    let words: BTreeSet<&str> = code.split(|letter: char| !letter.is_alphanumeric() && letter != '_').collect();
    OF_FILES.iter().copied().filter(|word| words.contains(word)).collect()
}

#[test]
fn only_the_store_knows_files() {
    let is_test = |path: &Path| path.ends_with("tests.rs") || path.components().any(|part| part.as_os_str() == "tests");
    check(|path, text| {
        let is_bound = WITHOUT_PATHS.iter().any(|folder| path.starts_with(folder)) && !path.starts_with(STORE);
        let named = if is_bound && !is_test(path) { words_of_files(text) } else { BTreeSet::new() };
        (!named.is_empty()).then(|| format!("names {named:?}: ask the store, by way of a `Place`"))
    });
}

/// The rule can fail: it finds every spelling, and the words in the store.
#[test]
fn words_of_files_are_found() {
    for (code, expected) in [
        ("use std::fs;\n", &["fs"][..]),
        ("use std::{fs::{self, File}, path::{Path, PathBuf}};\n", &["File", "Path", "PathBuf", "fs"]),
        ("fn read(path: &std::path::Path) {}\n", &["Path"]),
        ("let text = std::fs::read(place.to_string());\n", &["fs"]),
        ("/// A File.\nstruct LakeFile;\n", &[]),
        ("struct Known;\n#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n", &[]),
    ] {
        assert_eq!(words_of_files(code), expected.iter().copied().collect(), "{code}");
    }
    let text = |path: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(STORE).join(path)).unwrap();
    assert!(
        words_of_files(&text("posix/mod.rs")).contains("File") && words_of_files(&text("address.rs")).contains("Path")
    );
}

/// Open work belongs in the issue tracker, where others can find it.
#[test]
fn no_todo_comments() {
    let left: Vec<String> = ["TODO", "FIXME", "XXX"].iter().map(|word| format!("{word}:")).collect();
    check(|_, text| {
        let found: Vec<&str> = left.iter().filter(|word| text.contains(*word)).map(String::as_str).collect();
        (!found.is_empty()).then(|| format!("contains {}: do it, or file an issue", found.join(", ")))
    });
}

/// The modules of `src/`, from the top down: each may import only those below it.
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
/// The modules of `dataflows/src/`, in the same order.
const DATAFLOW_LAYERS: &[&str] = &[
    "tops",
    "window",
    "count",
    "query",
    "rank",
    "reference",
    "names",
    "rules",
    "operators",
    "keys",
    "time",
    "play",
    "tick",
];

#[test]
fn imports_go_down_and_have_no_cycles() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (lib, layers) in [("src/lib.rs", LAYERS), ("dataflows/src/lib.rs", DATAFLOW_LAYERS)] {
        let graph = imports::Graph::read(&root.join(lib));
        let layer = |module: &[String]| layers.iter().position(|layer| *layer == module[0]);
        let unknown: Vec<_> = graph.modules().filter(|module| layer(module).is_none()).collect();
        assert!(unknown.is_empty(), "{lib}: {unknown:?} are in no layer: add them to the list in tests/tidy");
        let up: Vec<String> = (graph.imports.iter())
            .filter(|(from, to)| layer(from) > layer(to))
            .map(|(from, to)| format!("{} imports {}", from.join("::"), to.join("::")))
            .collect();
        assert!(up.is_empty(), "{lib}: upward imports:\n{}", up.join("\n"));
        let cycles = imports::cycles(&graph.imports);
        assert!(cycles.is_empty(), "{lib}: import cycles: {cycles:?}");
        let between: BTreeSet<(&str, &str)> = graph.imports.iter().map(|(from, to)| (&*from[0], &*to[0])).collect();
        let between = between.iter().filter(|(from, to)| from != to).count();
        let (files, edges) = (graph.modules().count(), graph.imports.len());
        assert!(edges > files, "{lib}: only {edges} imports of {files} files were found");
        eprintln!("{lib}: {files} files, {edges} imports; {} modules, {between} imports between them", layers.len());
    }
}

/// Handling timely's capabilities is error-prone, so only the wrappers in `operators/` hold them.
#[test]
fn only_operator_wrappers_hold_capabilities() {
    check(|path, text| {
        let is_wrapper = path.starts_with("dataflows/src/operators");
        let is_shipped = ["src", "dataflows/src"].iter().any(|folder| path.starts_with(folder));
        (is_shipped && !is_wrapper && text.contains("retain_least("))
            .then(|| "holds a capability: write a fold, and build the operator with `operators/`".to_owned())
    });
}

/// The map in ARCHITECTURE.md names every folder of the sources, and only existing ones.
#[test]
fn the_architecture_map_matches_the_tree() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let links =
        links.map(|link| link.split('#').next().unwrap()).filter(|link| !link.contains(":") && !link.is_empty());
    let dead: Vec<&str> = links.filter(|link| !root.join(link).exists()).collect();
    assert!(dead.is_empty(), "ARCHITECTURE.md has dead links: {dead:?}");
    let map = text.split("```").find(|block| block.contains("crate reprise-dataflows")).unwrap();
    for (crate_src, layers) in [("src", LAYERS), ("dataflows/src", DATAFLOW_LAYERS)] {
        for layer in layers {
            let name =
                if root.join(crate_src).join(layer).is_dir() { format!("{layer}/") } else { format!("{layer}.rs") };
            assert!(map.contains(&format!(" {name}")), "the map in ARCHITECTURE.md lacks {crate_src}/{name}");
        }
    }
    let mut folder = "";
    for line in map.lines() {
        // Folders are at the margin and their contents are indented by two columns. Deeper lines
        // continue the line before.
        let name = line.split_whitespace().next().unwrap_or_default();
        let path = match line.len() - line.trim_start().len() {
            0 => root.join(name),
            2 => root.join(folder).join(name),
            _ => continue,
        };
        assert!(path.exists(), "the map in ARCHITECTURE.md has {}, which does not exist", path.display());
        if !line.starts_with(' ') {
            folder = name;
        }
    }
}
