//! The import graph of a crate: which file uses items of which other file.
//!
//! The graph is parsed from the text: `use` trees, and paths that begin with `crate`, `super`,
//! `self`, a child module or an imported module. A re-exported name counts as defined in its
//! original file. Test code is left out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The path of a module: `["lake", "table"]` is `lake::table`.
pub type Module = Vec<String>;

/// The files of a crate, as modules, and their imports. Imports by the root are left out, because
/// it imports everything.
pub struct Graph {
    files: Files,
    /// Pairs of the importing and the imported module.
    pub imports: BTreeSet<(Module, Module)>,
}

struct Files(BTreeMap<Module, File>);

struct File {
    code: String,
    /// The names that its `use` lines import, with their paths from the root.
    imported: BTreeMap<String, Vec<String>>,
}

impl Graph {
    /// Reads the crate whose root file is `root`.
    pub fn read(root: &Path) -> Self {
        let mut files = BTreeMap::new();
        read_module(root, root.parent().unwrap(), Vec::new(), &mut files);
        let mut files = Files(files);
        let modules: Vec<Module> = files.0.keys().cloned().collect();
        for module in &modules {
            let leaves = uses(&files.0[module].code).iter().flat_map(|tree| leaves(tree)).collect::<Vec<_>>();
            let imported = leaves.into_iter().filter_map(|(name, path)| Some((name, files.absolute(module, &path)?)));
            let imported = imported.collect();
            files.0.get_mut(module).unwrap().imported = imported;
        }
        let mut imports = BTreeSet::new();
        for (module, file) in &files.0 {
            let inline = inline_paths(&without_uses(&file.code));
            let inline = inline.iter().filter_map(|path| files.absolute(module, path));
            let named = file.imported.values().cloned().chain(inline).map(|path| files.defining(path, 0));
            let others = named.filter(|to| to != module && !to.is_empty() && !module.is_empty());
            imports.extend(others.map(|to| (module.clone(), to)));
        }
        Self { files, imports }
    }

    /// Every module except the root.
    pub fn modules(&self) -> impl Iterator<Item = &[String]> {
        self.files.0.keys().filter(|module| !module.is_empty()).map(Vec::as_slice)
    }
}

impl Files {
    /// The path from the root of `path` in `module`; `None` if it belongs to another crate.
    fn absolute(&self, module: &[String], path: &[String]) -> Option<Vec<String>> {
        let (first, rest) = path.split_first()?;
        let mut base: Vec<String> = match first.as_str() {
            "crate" => Vec::new(),
            "self" => module.to_vec(),
            "super" => module.split_last()?.1.to_vec(),
            name => {
                let mut child = module.to_vec();
                child.push(name.to_owned());
                match self.0.get(module).and_then(|file| file.imported.get(name)) {
                    Some(imported) => imported.clone(),
                    None if self.0.contains_key(&child) => child,
                    None => return None,
                }
            }
        };
        for segment in rest {
            if segment == "super" {
                base.pop();
            } else {
                base.push(segment.clone());
            }
        }
        Some(base)
    }

    /// The module whose file defines the item at `path`.
    fn defining(&self, path: Vec<String>, depth: usize) -> Vec<String> {
        let known = (0..=path.len()).rev().find(|length| self.0.contains_key(&path[..*length])).unwrap_or(0);
        let (module, rest) = path.split_at(known);
        let Some((name, behind)) = rest.split_first() else { return path };
        match self.0[module].imported.get(name) {
            Some(there) if depth < 8 => {
                let mut there = there.clone();
                there.extend_from_slice(behind);
                self.defining(there, depth + 1)
            }
            _ => module.to_vec(),
        }
    }
}

fn read_module(path: &Path, children: &Path, module: Module, files: &mut BTreeMap<Module, File>) {
    let text = fs::read_to_string(path).unwrap();
    let code = code_of(&text);
    for name in declared(&code) {
        let (beside, inside) = (children.join(format!("{name}.rs")), children.join(&name).join("mod.rs"));
        let child = if beside.exists() { beside } else { inside };
        let mut names = module.clone();
        names.push(name.clone());
        read_module(&child, &children.join(&name), names, files);
    }
    files.insert(module, File { code, imported: BTreeMap::new() });
}

/// The text without comments and tests.
pub fn code_of(text: &str) -> String {
    let mut code = String::new();
    let mut is_test = false;
    for line in text.lines() {
        let bare = line.trim_start();
        if line.starts_with("#[cfg(test)]") {
            is_test = true;
            continue;
        }
        if bare.starts_with("//") || bare.starts_with("#[") && is_test {
            continue;
        }
        if is_test {
            // A test module inside the file ends the shipped code; one in another file is a single
            // line.
            if line.ends_with('{') && line.contains("mod ") {
                break;
            }
            is_test = !line.ends_with(';') && !line.ends_with('}');
            continue;
        }
        code.push_str(line.split(" // ").next().unwrap_or(line));
        code.push('\n');
    }
    code
}

/// The names of the modules that `code` declares in files of their own.
fn declared(code: &str) -> Vec<String> {
    let declarations = code.lines().filter_map(|line| line.strip_suffix(';')?.rsplit_once("mod "));
    let declarations = declarations.filter(|(before, _)| before.is_empty() || before.starts_with("pub"));
    declarations.map(|(_, name)| name.to_owned()).collect()
}

/// The text between each `use` and its semicolon, on one line.
fn uses(code: &str) -> Vec<String> {
    uses_verbatim(code).iter().map(|tree| tree.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

fn uses_verbatim(code: &str) -> Vec<String> {
    let mut uses = Vec::new();
    let mut rest = code;
    while let Some(at) = rest.find("use ") {
        let begins = rest[..at].chars().next_back().is_none_or(char::is_whitespace);
        let line_start = rest[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let before = rest[line_start..at].trim();
        rest = &rest[at + 4..];
        let is_use = begins && (before.is_empty() || before.starts_with("pub") && !before.contains("fn"));
        if let (true, Some(end)) = (is_use, rest.find(';')) {
            uses.push(rest[..end].to_owned());
        }
    }
    uses
}

/// The leaves of a `use` tree: each imported name and its path.
fn leaves(tree: &str) -> Vec<(String, Vec<String>)> {
    let tree = tree.trim();
    if let Some(open) = tree.find('{') {
        let prefix = &tree[..open];
        let inside = &tree[open + 1..tree.rfind('}').unwrap_or(tree.len())];
        let mut depth = 0;
        let parts = inside.split(|character| {
            depth += i32::from(character == '{') - i32::from(character == '}');
            character == ',' && depth == 0
        });
        return parts
            .filter(|part| !part.trim().is_empty())
            .flat_map(|part| leaves(&format!("{prefix}{}", part.trim())))
            .collect();
    }
    let (path, alias) = tree.split_once(" as ").map_or((tree, None), |(path, alias)| (path, Some(alias)));
    let mut path: Vec<String> = path.split("::").map(|segment| segment.trim().to_owned()).collect();
    if path.len() > 1 && path.last().is_some_and(|last| last == "self" || last == "*") {
        path.pop();
    }
    let name = alias.map(str::to_owned).or_else(|| path.last().cloned()).unwrap_or_default();
    vec![(name, path)]
}

/// `code` without its `use` lines.
fn without_uses(code: &str) -> String {
    let mut rest = code.to_owned();
    for tree in uses_verbatim(code) {
        rest = rest.replacen(&tree, "", 1);
    }
    rest
}

/// Every path of at least two segments in `code`.
fn inline_paths(code: &str) -> Vec<Vec<String>> {
    let is_word = |character: char| character.is_alphanumeric() || character == '_';
    let mut paths = Vec::new();
    let mut rest = code;
    while let Some(at) = rest.find("::") {
        let start = rest[..at].rfind(|character| !is_word(character)).map_or(0, |before| before + 1);
        let is_first = !rest[..start].ends_with("::");
        let mut path = vec![rest[start..at].to_owned()];
        let mut behind = &rest[at + 2..];
        loop {
            let end = behind.find(|character| !is_word(character)).unwrap_or(behind.len());
            if end == 0 {
                break;
            }
            path.push(behind[..end].to_owned());
            match behind[end..].strip_prefix("::") {
                Some(next) => behind = next,
                None => {
                    behind = &behind[end..];
                    break;
                }
            }
        }
        if is_first && !path[0].is_empty() && path.len() > 1 {
            paths.push(path);
        }
        rest = behind;
    }
    paths
}

/// The cycles of a graph, as groups of nodes that can all reach each other.
pub fn cycles<T: Clone + Ord>(edges: &BTreeSet<(T, T)>) -> Vec<Vec<T>> {
    let mut next = BTreeMap::<&T, Vec<&T>>::new();
    for (from, to) in edges {
        next.entry(from).or_default().push(to);
    }
    let reached = |from: &T| {
        let mut seen = BTreeSet::new();
        let mut left: Vec<T> = next.get(from).into_iter().flatten().map(|to| (*to).clone()).collect();
        while let Some(node) = left.pop() {
            if seen.insert(node.clone()) {
                left.extend(next.get(&node).into_iter().flatten().map(|to| (*to).clone()));
            }
        }
        seen
    };
    let reach: BTreeMap<T, BTreeSet<T>> = next.keys().map(|node| ((*node).clone(), reached(node))).collect();
    let mut cycles = BTreeSet::new();
    for (node, reached) in &reach {
        let with: Vec<T> =
            reached.iter().filter(|other| reach.get(*other).is_some_and(|back| back.contains(node))).cloned().collect();
        if !with.is_empty() {
            cycles.insert(with);
        }
    }
    cycles.into_iter().collect()
}
