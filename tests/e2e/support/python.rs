//! A Python virtual environment with third-party readers of the lake, created once.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::{cache, repository};

/// If set to 1, the tests with third-party readers are skipped. Nothing else skips them.
const WITHOUT_PYTHON: &str = "REPRISE_TEST_WITHOUT_PYTHON";

/// The Python of the environment; `None` if these tests are to be skipped.
pub fn environment() -> Option<&'static Path> {
    static PYTHON: OnceLock<Option<PathBuf>> = OnceLock::new();
    let is_unwanted = std::env::var(WITHOUT_PYTHON).is_ok_and(|value| value == "1");
    PYTHON.get_or_init(|| (!is_unwanted).then(python)).as_deref()
}

/// The environment's folder is named after its requirements, so changed requirements create a new
/// one. `scripts/common.py` computes the same name.
fn python() -> PathBuf {
    let requirements = repository().join("tests/requirements.txt");
    let text = std::fs::read_to_string(&requirements).expect("the requirements can be read");
    let pins: Vec<&str> = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    let folder = cache().join("venv").join(pins.join("_").replace("==", "-"));
    let python = folder.join("bin/python");
    if !folder.join("complete").exists() {
        std::fs::create_dir_all(&folder).expect("the cache can be written");
        install(&folder, &python, &requirements);
        std::fs::write(folder.join("complete"), "").expect("the cache can be written");
    }
    python
}

fn install(folder: &Path, python: &Path, requirements: &Path) {
    eprintln!("installing {} from PyPI into {}", requirements.display(), folder.display());
    let advice = format!("install Python 3.10 or newer with venv, or set {WITHOUT_PYTHON}=1 to skip this test");
    let made = Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder).output();
    match made {
        Err(error) => panic!("python3 does not run ({error}); {advice}"),
        Ok(made) if !made.status.success() => {
            panic!(
                "python3 -m venv: {}{}\n{advice}",
                String::from_utf8_lossy(&made.stdout),
                String::from_utf8_lossy(&made.stderr)
            )
        }
        Ok(_) => {}
    }
    let mut pip = Command::new(python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:", "-r"]);
    let installed = pip.arg(requirements).output().expect("the environment has a Python");
    assert!(installed.status.success(), "pip: {}\n{advice}", String::from_utf8_lossy(&installed.stderr));
}
