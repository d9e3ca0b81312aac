//! Opens the store that a user names, if a lake can be kept there.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use delta_kernel::object_store::{self, local::LocalFileSystem};
use url::Url;

use super::place::Place;
use super::posix::Posix;

/// The lake that the user calls `given`: a folder, which need not exist.
///
/// # Errors
/// If it cannot be the folder of a lake: it is a URL, which would become a folder of that name, or
/// a path in which the log would not be found.
pub fn open(given: &Path) -> Result<Place> {
    refuse_object_store(given)?;
    let root = std::path::absolute(given).with_context(|| format!("there is no way to {}", given.display()))?;
    refuse_ambiguous(&root)?;
    Ok(Place::of(Arc::new(Posix::new(root))))
}

/// Refuses the address of an object store: object stores have no atomic rename and no hard links.
fn refuse_object_store(root: &Path) -> Result<()> {
    if root.to_string_lossy().contains("://") {
        bail!(
            "the lake {} is not a folder: object stores are not supported yet, give --lake a folder on a POSIX file system",
            root.display()
        );
    }
    Ok(())
}

/// Refuses a lake whose log the Delta kernel would look for elsewhere. The kernel names files by
/// URLs, and does not encode the names that it has listed: `team%20a` becomes `team a`, and `a\b`
/// becomes `a/b`.
///
/// `lake` is absolute. Symbolic links are resolved as far as the path exists.
fn refuse_ambiguous(lake: &Path) -> Result<()> {
    let existing = lake.ancestors().find(|folder| folder.exists()).unwrap_or(lake);
    let resolved = existing.canonicalize().unwrap_or_else(|_| existing.to_owned());
    let resolved = resolved.join(lake.strip_prefix(existing).unwrap_or(Path::new("")));
    let seen = as_the_kernel_sees(&resolved);
    if seen.as_deref() == Some(resolved.as_path()) {
        return Ok(());
    }
    let seen = seen.map_or_else(|| "no folder".to_owned(), |seen| format!("{seen:?}"));
    bail!(
        "{lake:?} cannot be a lake: its path{} leads readers that address files by URL to {seen}. Use a folder whose path has no \
         backslash, no % before two hexadecimal digits, no control characters, and is UTF-8",
        if resolved == lake { String::new() } else { format!(", which is {resolved:?},") },
    );
}

/// The folder that the Delta kernel reads files from after it has listed `folder`.
fn as_the_kernel_sees(folder: &Path) -> Option<PathBuf> {
    let mut url = Url::from_directory_path(folder).ok()?;
    let listed = object_store::path::Path::from_url_path(url.path()).ok()?;
    url.set_path(&format!("/{}", listed.as_ref()));
    let found = object_store::path::Path::from_url_path(url.path()).ok()?;
    LocalFileSystem::new().path_to_filesystem(&found).ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn only_folders_that_the_kernel_finds_are_lakes() {
        let long = "x".repeat(250);
        for good in [
            "a",
            "team a",
            "a#b",
            "a?b=c",
            "100%",
            "%zz",
            "ü 日本",
            "a:b;c",
            "a*b[c]{d}",
            "~",
            "a'b\"c",
            "+&=,@!$",
            long.as_str(),
        ] {
            refuse_ambiguous(&Path::new("/nowhere").join(good).join("lake")).unwrap();
        }
        for bad in ["team%20a", "a%2Fb", "%41", "a\\b", "a\nb", "a\tb"] {
            let said = refuse_ambiguous(&Path::new("/nowhere").join(bad)).unwrap_err().to_string();
            assert!(said.contains("cannot be a lake") && !said.contains(char::is_control), "{said}");
        }
    }

    #[test]
    fn an_object_store_is_refused() {
        let said = open(Path::new("s3://bucket/lake")).err().unwrap().to_string();
        assert!(said.contains("object stores"), "{said}");
    }

    /// The kernel is given the folder that the path resolves to.
    #[test]
    fn what_a_path_links_to_counts() {
        let folder = tempfile::tempdir().unwrap();
        let (target, link) = (folder.path().join("team%20a"), folder.path().join("link"));
        fs::create_dir(&target).unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        let said = refuse_ambiguous(&link.join("lake")).unwrap_err().to_string();
        assert!(said.contains("link/lake") && said.contains("team%20a/lake") && said.contains("team a/lake"), "{said}");
    }
}
