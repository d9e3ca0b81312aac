//! Failpoints: named steps at which a test can abort the process, make a thread panic, or simulate
//! a full disk.
//!
//! `REPRISE_FAILPOINT=renaming*3` aborts the process when it reaches `renaming` for the third time,
//! as if it had been killed there. `REPRISE_FAILPOINT=intended=full` makes that step, each time it
//! is reached, fail as on a full disk, until the file that `REPRISE_FAILPOINT_UNTIL` names exists.
//! `=panic` makes the thread panic. While the variable is unset, a failpoint costs one load and a
//! branch.

use std::io::{Error, ErrorKind, Result};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The names of all failpoints.
pub const NAMES: [&str; 20] = [
    "staged",
    "intended",
    "renaming",
    "renamed",
    "appended",
    "compact-staged",
    "compact-intended",
    "compact-renaming",
    "compact-renamed",
    "compact-appended",
    "publish-linked",
    "publish-deleted",
    "publish-appended",
    "vacuum",
    "checkpoint-writing",
    "checkpoint-written",
    "checkpoint-renamed",
    "link",
    "changelog-sent",
    "changelog-committed",
];

/// The failpoint that is set, and what happens there.
#[derive(Debug)]
struct Failpoint {
    name: String,
    /// The arrival at which the action happens, counted from 1. A full disk stays full at later
    /// arrivals.
    time: u64,
    action: Action,
    /// How often the failpoint has been reached.
    reached: AtomicU64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Crash,
    Full,
    Panic,
}

/// Marks that the step `name` is reached, and does what is set for it: it may abort the process or
/// panic.
///
/// # Errors
/// `StorageFull`, if a full disk is simulated.
pub fn reach(name: &str) -> Result<()> {
    match set() {
        Some(point) if point.name == name => point.reach(),
        _ => Ok(()),
    }
}

/// Logs a warning if a failpoint is set, so that the log of a process that died there shows why.
pub fn warn_if_set() {
    if let Some(point) = set() {
        tracing::warn!(?point, "REPRISE_FAILPOINT is set, for tests only");
    }
}

fn set() -> Option<&'static Failpoint> {
    static SET: OnceLock<Option<Failpoint>> = OnceLock::new();
    SET.get_or_init(|| {
        let text = std::env::var("REPRISE_FAILPOINT").ok().filter(|text| !text.is_empty())?;
        // A misspelt failpoint is fatal: otherwise a test could pass without testing anything.
        let parsed = text.parse().inspect_err(|error| {
            eprintln!("error: REPRISE_FAILPOINT={text}: {error}");
            std::process::exit(2);
        });
        parsed.ok()
    })
    .as_ref()
}

impl Failpoint {
    #[expect(clippy::panic, reason = "it is what the test asks for")]
    fn reach(&self) -> Result<()> {
        let time = self.reached.fetch_add(1, Ordering::Relaxed) + 1;
        match self.action {
            Action::Crash if time == self.time => {
                eprintln!("failpoint {}: the process dies", self.name);
                std::process::abort()
            }
            Action::Panic if time == self.time => panic!("the failpoint {} is set", self.name),
            Action::Full if time >= self.time && !has_room() => {
                Err(Error::new(ErrorKind::StorageFull, format!("the failpoint {} is set", self.name)))
            }
            _ => Ok(()),
        }
    }
}

fn has_room() -> bool {
    std::env::var_os("REPRISE_FAILPOINT_UNTIL").is_some_and(|path| PathBuf::from(path).exists())
}

impl FromStr for Failpoint {
    type Err = String;

    /// Reads `NAME[*N][=crash|full|panic]`.
    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (point, action) = match text.split_once('=') {
            None | Some((_, "crash")) => (text.strip_suffix("=crash").unwrap_or(text), Action::Crash),
            Some((point, "full")) => (point, Action::Full),
            Some((point, "panic")) => (point, Action::Panic),
            Some((_, other)) => {
                return Err(format!("there is no action {other:?}: crash, full and panic are possible"));
            }
        };
        let (name, time) = match point.split_once('*') {
            None => (point, 1),
            Some((name, time)) => match time.parse() {
                Ok(time @ 1..) => (name, time),
                _ => return Err(format!("{time:?} is not a number from 1")),
            },
        };
        if !NAMES.contains(&name) {
            return Err(format!("there is no point {name:?}; there are {}", NAMES.join(", ")));
        }
        Ok(Self { name: name.to_owned(), time, action, reached: AtomicU64::new(0) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> std::result::Result<(String, u64, Action), String> {
        text.parse().map(|Failpoint { name, time, action, .. }| (name, time, action))
    }

    #[test]
    fn is_a_name_and_perhaps_a_number_and_an_action() {
        assert_eq!(parse("renaming"), Ok(("renaming".to_owned(), 1, Action::Crash)));
        assert_eq!(parse("renaming*3"), Ok(("renaming".to_owned(), 3, Action::Crash)));
        assert_eq!(parse("vacuum*2=crash"), Ok(("vacuum".to_owned(), 2, Action::Crash)));
        assert_eq!(parse("intended=full"), Ok(("intended".to_owned(), 1, Action::Full)));
        assert_eq!(parse("link*9=panic"), Ok(("link".to_owned(), 9, Action::Panic)));
    }

    #[test]
    fn failpoints_without_effect_are_refused() {
        for (text, complaint) in [
            ("renamed!", "no point"),
            ("renaming*0", "from 1"),
            ("renaming*x", "from 1"),
            ("renaming=explode", "no action"),
            ("", "no point"),
        ] {
            let message = parse(text).unwrap_err();
            assert!(message.contains(complaint), "{text}: {message}");
        }
    }

    #[test]
    fn a_full_disk_is_full_from_its_time_on() {
        let point: Failpoint = "staged*2=full".parse().unwrap();
        assert!(point.reach().is_ok());
        for _ in 0..2 {
            assert_eq!(point.reach().unwrap_err().kind(), ErrorKind::StorageFull);
        }
    }
}
