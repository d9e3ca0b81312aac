//! Why nothing could be published.

use anyhow::Error;

/// Why the topic is behind.
pub enum Setback {
    /// It may pass.
    Passing(Error),
    /// Another producer has taken the topic over.
    Fenced,
    /// It is not for us to publish.
    Final(Error),
}

impl From<Error> for Setback {
    fn from(error: Error) -> Self {
        Self::Passing(error)
    }
}
