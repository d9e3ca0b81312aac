//! The settings that all processes of a cluster must have in common, and how a difference is
//! reported.

use std::collections::BTreeMap;

use reprise_dataflows::rules::definition::Definitions;
use serde::{Deserialize, Serialize};

/// Longest part of a value that is shown.
const SHOWN_CHARS_MAX: usize = 200;

/// The settings of a process: the value of each by its name as messages show it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint(BTreeMap<String, String>);

impl Fingerprint {
    /// The settings that every command has: its name, its number of `workers`, and its charts.
    pub fn new(command: &str, workers: usize, definitions: &Definitions) -> Self {
        let mut fingerprint = Self::default();
        fingerprint.set("command", command);
        fingerprint.set("number of workers (-w)", workers);
        fingerprint.set("trending window", format!("{:?}", definitions.trending));
        for chart in &definitions.charts {
            fingerprint.set(&format!("chart {:?}", chart.name), format!("{chart:?}"));
        }
        fingerprint
    }

    /// Adds or replaces a setting. `what` is its name as messages show it.
    pub fn set(&mut self, what: &str, value: impl ToString) {
        self.0.insert(what.to_owned(), value.to_string());
    }

    /// The same settings, and the number of processes in the cluster.
    pub fn of_one_among(&self, processes: usize) -> Self {
        let mut fingerprint = self.clone();
        fingerprint.set("number of processes (-n)", processes);
        fingerprint
    }

    /// The first setting whose value in `theirs` differs from ours, with both values.
    pub fn difference(&self, theirs: &Self) -> Option<Difference> {
        let what = self.0.keys().chain(theirs.0.keys()).find(|what| self.0.get(*what) != theirs.0.get(*what))?;
        let [ours, theirs] = [self, theirs].map(|fingerprint| shown(fingerprint.0.get(what)));
        Some(Difference { what: shown(Some(what)), ours, theirs })
    }
}

/// A setting that two processes have different values for. The texts are safe to print.
#[derive(Debug, PartialEq, Eq)]
pub struct Difference {
    /// The name of the setting.
    pub what: String,
    /// Our value, or `none`.
    pub ours: String,
    /// The value of the peer, or `none`.
    pub theirs: String,
}

/// A value without control characters and shortened: a peer can send any text of any length.
fn shown(value: Option<&String>) -> String {
    let Some(value) = value else { return "none".to_owned() };
    let escaped: String = value.chars().filter(|character| !character.is_control()).take(SHOWN_CHARS_MAX).collect();
    if value.chars().count() > SHOWN_CHARS_MAX { format!("{escaped}…") } else { escaped }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fingerprint(charts: &str) -> Fingerprint {
        Fingerprint::new("run", 2, &Definitions::parse(charts).unwrap())
    }

    #[test]
    fn a_difference_has_both_values() {
        let weekly = fingerprint("[[chart]]\nname = 'weekly'\nperiod = 'week'");
        assert_eq!(weekly.difference(&weekly), None);
        let found = weekly.difference(&fingerprint("[[chart]]\nname = 'weekly'\nperiod = 'month'")).unwrap();
        assert_eq!(found.what, "chart \"weekly\"");
        assert!(found.ours.contains("Week") && found.theirs.contains("Month"), "{found:?}");
        let found = weekly.difference(&fingerprint("[[chart]]\nname = 'daily'\nperiod = 'day'")).unwrap();
        assert_eq!((found.what.as_str(), found.theirs.as_str()), ("chart \"weekly\"", "none"));
        let mut other = weekly.clone();
        other.set("topic", "a\u{1b}[2Jb".repeat(100));
        let found = weekly.difference(&other).unwrap();
        assert!(found.theirs.starts_with("a[2Jb") && found.theirs.chars().count() <= SHOWN_CHARS_MAX + 1);
    }
}
