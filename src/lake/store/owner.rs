//! Lakes that belong to another user of this machine.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::Error;

/// A sentence with advice if the folder `lake` belongs to another user than this process's.
pub fn foreign(lake: &Path) -> Option<String> {
    let owner = fs::metadata(lake).ok()?.uid();
    described(lake, owner, rustix::process::geteuid().as_raw())
}

/// Returns `error`, with the sentence of [`foreign`] as context if a denied permission caused it.
pub fn advised(error: Error, lake: &Path) -> Error {
    let is_denied = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::PermissionDenied)
    };
    match foreign(lake).filter(|_| error.chain().any(is_denied)) {
        Some(foreign) => error.context(foreign),
        None => error,
    }
}

fn described(lake: &Path, owner: u32, me: u32) -> Option<String> {
    let advice = match me {
        _ if owner == me => return None,
        0 => "that user may be unable to change files that this process writes; run it as that user".to_owned(),
        _ => format!("run it as that user, or give the lake to this one: chown -R {me} {}", lake.display()),
    };
    Some(format!("the lake {} belongs to user {owner}, and this process is user {me}: {advice}", lake.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_depends_on_the_user() {
        let lake = Path::new("/lake");
        assert_eq!(described(lake, 878, 878), None);
        let as_root = described(lake, 878, 0).unwrap();
        assert!(as_root.contains("belongs to user 878, and this process is user 0") && !as_root.contains("chown"));
        assert!(described(lake, 878, 1000).unwrap().ends_with("chown -R 1000 /lake"));
    }

    /// The root folder belongs to another user, unless the test runs as root.
    #[test]
    fn only_a_permission_is_explained() {
        let denied = || Error::from(io::Error::from(ErrorKind::PermissionDenied)).context("cannot write");
        let absent = || Error::from(io::Error::from(ErrorKind::NotFound)).context("cannot write");
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(advised(denied(), folder.path()).to_string(), "cannot write", "our own folder");
        let (root, is_foreign) = (Path::new("/"), foreign(Path::new("/")).is_some());
        assert_eq!(advised(denied(), root).to_string().contains("belongs to user"), is_foreign);
        assert_eq!(advised(absent(), root).to_string(), "cannot write");
    }
}
