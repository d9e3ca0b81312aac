//! Wrong usage: what is known to be wrong from the command line, and from the files that it names, alone. It ends the
//! process with status 2, as clap's own errors do; what fails for another reason ends it with 1.

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

/// Marks what has failed as wrong usage.
pub trait WrongUsage<T> {
    /// The same, with an error that ends the process with status 2.
    fn wrong_usage(self) -> Result<T>;
}

impl<T> WrongUsage<T> for Result<T> {
    fn wrong_usage(self) -> Result<T> {
        self.map_err(|error| Error::new(Wrong(error)))
    }
}

/// An error that says why the usage is wrong.
pub fn wrong(why: impl fmt::Display + fmt::Debug + Send + Sync + 'static) -> Error {
    Error::new(Wrong(Error::msg(why)))
}
