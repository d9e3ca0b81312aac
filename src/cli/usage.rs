//! Wrong usage: errors that follow from the command line, and the files that it names, alone. They
//! end the process with status 2, as clap's own errors do; all other errors end it with status 1.

use std::fmt;

use anyhow::{Error, Result};

/// An error in the command line, or in a file that it names.
#[derive(Debug)]
pub struct Wrong(Error);

impl fmt::Display for Wrong {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:#}", self.0)
    }
}

impl std::error::Error for Wrong {}

/// Marks errors as wrong usage.
pub trait WrongUsage<T> {
    /// Turns an error into one that ends the process with status 2.
    ///
    /// # Errors
    /// The marked error, if there was one.
    fn wrong_usage(self) -> Result<T>;
}

impl<T> WrongUsage<T> for Result<T> {
    fn wrong_usage(self) -> Result<T> {
        self.map_err(|error| Error::new(Wrong(error)))
    }
}

/// An error of wrong usage with the message `why`.
pub fn wrong(why: impl fmt::Display + fmt::Debug + Send + Sync + 'static) -> Error {
    Error::new(Wrong(Error::msg(why)))
}
