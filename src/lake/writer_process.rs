//! Which process writes to a lake, on record in a file of it, for people.

use super::disk::STAGING;
use super::table::PLAYS;
use crate::process::host::host_name;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt::{self, Display, Formatter};
use std::path::Path;

pub const NAME: &str = "writer.lock";

/// Of the record. What is longer was not written by us.
pub const RECORD_BYTES_MAX: usize = 4096;

/// A process that writes to a lake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriterProcess {
    /// The name of its machine, or of its container.
    pub host: String,
    pub pid: u32,
    /// Where it answers HTTP, as a URL.
    pub address: String,
    /// In RFC 3339.
    pub started: String,
}

impl WriterProcess {
    /// This process, which answers at `address`.
    pub fn this(address: String) -> Self {
        let started = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        Self { host: this_host(), pid: std::process::id(), address, started }
    }

    fn is_this(&self) -> bool {
        self.pid == std::process::id() && self.host == this_host()
    }
}

impl Display for WriterProcess {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { host, pid, address, started } = self;
        write!(f, "process {pid} on {host}, which answers at {address} and was started {started}")
    }
}

pub fn this_host() -> String {
    host_name().map_or_else(|_| "an unknown host".to_owned(), |name| name.trim().to_owned())
}

/// A record, but for control characters: it is printed, and others may have written it.
pub fn parse(record: &[u8]) -> Option<WriterProcess> {
    let record = std::str::from_utf8(record).ok()?;
    serde_json::from_str(record).ok().filter(|writer: &WriterProcess| !writer.to_string().contains(char::is_control))
}

/// The process that is recorded as the writer of `lake`, if it is another than this one.
pub fn recorded_other(lake: &Path) -> Option<WriterProcess> {
    let record = std::fs::read(lake.join(PLAYS.folder).join(STAGING).join(NAME)).ok()?;
    parse(&record).filter(|writer| !writer.is_this())
}
