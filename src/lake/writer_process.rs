//! The record of the process that writes to a lake, kept in a file of the lake for people.

use super::layout::STAGING;
use super::store::Place;
use super::table::PLAYS;
use crate::process::host::host_name;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt::{self, Display, Formatter};

/// The name of the file with the record, in the staging folder of the plays.
pub const NAME: &str = "writer.lock";

/// The greatest size of a record. A longer one was not written by us.
pub const RECORD_BYTES_MAX: usize = 4096;

/// A process that writes to a lake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriterProcess {
    /// The name of its machine or container.
    pub host: String,
    /// Its process id.
    pub pid: u32,
    /// The URL at which it serves HTTP.
    pub address: String,
    /// When it started, as RFC 3339.
    pub started: String,
}

impl WriterProcess {
    /// This process, which serves HTTP at `address`.
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

/// The name of this machine or container.
pub fn this_host() -> String {
    host_name().map_or_else(|_| "an unknown host".to_owned(), |name| name.trim().to_owned())
}

/// Parses a record. A record with control characters is rejected, because it is printed and any
/// program may have written it.
pub fn parse(record: &[u8]) -> Option<WriterProcess> {
    let record = std::str::from_utf8(record).ok()?;
    serde_json::from_str(record).ok().filter(|writer: &WriterProcess| !writer.to_string().contains(char::is_control))
}

/// The process that is recorded as the writer of `lake`; `None` if that is this process or there is
/// no record.
pub fn recorded_other(lake: &Place) -> Option<WriterProcess> {
    let record = lake.join(PLAYS.folder).join(STAGING).join(NAME).read().ok()?;
    parse(&record).filter(|writer| !writer.is_this())
}
