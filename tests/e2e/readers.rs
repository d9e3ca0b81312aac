//! DuckDB, Polars, pyarrow and delta-rs read the lake, and count what the API says: `tests/readers.py`, in a virtual
//! environment that is made once.

use std::path::PathBuf;
use std::process::Command;

use crate::support::fixture::{folder, traffic};
use crate::support::program::Program;
use crate::support::running::{Running, replay};
use crate::support::{cache, eventually, heavy, repository};

/// Says that this test may be left out where there is no Python. Nothing else leaves it out.
const WITHOUT_PYTHON: &str = "REPRISE_TEST_WITHOUT_PYTHON";

#[test]
fn other_readers_count_the_plays_that_the_api_says() {
    if std::env::var(WITHOUT_PYTHON).is_ok_and(|value| value == "1") {
        eprintln!("LEFT OUT, because {WITHOUT_PYTHON}=1: no other reader has opened the lake");
        return;
    }
    let python = python();
    let traffic = traffic();
    let folder = folder();
    let _heavy = heavy();
    // Commits in between make several files of an hour.
    let running = Running::start(&traffic.topic, folder.path(), &["-w", "2", "--commit-interval", "500ms"]);
    running.caught_up(&traffic.topic);
    let plays = eventually("everything is in the lake", || {
        let status = running.status();
        (status["lake_plays"] == status["accepted"]).then(|| status["lake_plays"].to_string())
    });
    assert_eq!(plays, traffic.plays.len().to_string());
    running.stop();
    let dead_letters = traffic.bad.len().to_string();
    let mut readers = Command::new(python);
    readers.arg(repository().join("tests/readers.py")).arg(folder.path()).args([&plays, &dead_letters]);
    eprint!("{}", Program::spawn(&mut readers).succeed().stdout);
    assert!(!replay(folder.path(), &[]).lines.is_empty());
}

/// The Python of the environment, which is named after its requirements: other ones are another environment.
fn python() -> PathBuf {
    let requirements = repository().join("tests/requirements.txt");
    let text = std::fs::read_to_string(&requirements).expect("the requirements are there");
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

fn install(folder: &std::path::Path, python: &std::path::Path, requirements: &std::path::Path) {
    eprintln!("installing {} from PyPI into {}", requirements.display(), folder.display());
    let advice = format!("install Python 3.10 or newer with venv, or set {WITHOUT_PYTHON}=1 to leave this test out");
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
