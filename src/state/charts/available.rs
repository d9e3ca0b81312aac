//! What there is in the place of a cell that is empty, or cannot be: so that an answer without entries says what has some.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Some of the periods and scopes of a chart that have entries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Available {
    /// The newest ones, newest first: of the scope that was asked for, if that has any.
    pub periods: Vec<String>,
    /// The first ones: of the period that was asked for, if that has any.
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
