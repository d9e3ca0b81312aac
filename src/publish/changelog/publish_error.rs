//! Why an attempt to publish has failed.

use anyhow::Error;

/// Why an attempt to publish has failed.
pub enum PublishError {
    /// A failure that may pass: a later attempt may succeed.
    Passing(Error),
    /// Another producer has taken the topic over.
    Fenced,
    /// This process must not publish to the topic, now or later.
    Final(Error),
}

impl From<Error> for PublishError {
    fn from(error: Error) -> Self {
        Self::Passing(error)
    }
}
