//! Alternatives to an empty cell: a response without entries names periods and scopes that have
//! some.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Periods and scopes of a chart that have entries; not all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Available {
    /// The newest periods, newest first: those of the requested scope if it has any.
    pub periods: Vec<String>,
    /// The first scopes: those of the requested period if it has any.
    pub scopes: Vec<String>,
}

/// A clause for people: `there are lists of 2026-W47, 2026-W46; for global, DE`.
impl fmt::Display for Available {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.periods.is_empty() && self.scopes.is_empty() {
            return formatter.write_str("there are no lists with plays yet");
        }
        write!(formatter, "there are lists of {}; for {}", self.periods.join(", "), self.scopes.join(", "))
    }
}
