//! A copy of what was sent, in files: for tests that compute the charts by brute force, without our
//! decoder.
//!
//! `FILE` has the value of every play, one a line, in the order sent, and duplicates as often as
//! they were sent. So each of its lines is a valid play. Malformed records are in `FILE.bad`, one
//! JSON object a line: `{"reason":"not_utf8","partition":2,"key":"S000001","base64":"…"}`, with
//! `"base64":null` for a record without a value.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::json;

use super::plays::RecordKind;

const BUFFER_BYTES: usize = 1 << 20;

/// The two files of a transcript.
pub struct Transcript {
    plays: Output,
    bad: Output,
}

struct Output {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Transcript {
    /// Creates `path` and `path.bad`, or empties them, so that a file of an earlier run is not
    /// taken for one of this run.
    ///
    /// # Errors
    /// If a file cannot be created.
    pub fn create(path: &Path) -> Result<Self> {
        let mut bad = path.as_os_str().to_owned();
        bad.push(".bad");
        Ok(Self { plays: Output::create(path.to_owned())?, bad: Output::create(bad.into())? })
    }

    /// Writes a record to the file for its kind.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn record(&mut self, kind: RecordKind, partition: usize, key: &[u8], value: &[u8]) -> Result<()> {
        let (reason, base64) = match kind {
            RecordKind::Play | RecordKind::Late | RecordKind::Duplicate => return self.plays.line(value),
            RecordKind::Malformed(rejection) => (rejection.as_str(), Some(BASE64_STANDARD.encode(value))),
            RecordKind::Tombstone => ("empty", None),
        };
        let key = String::from_utf8_lossy(key);
        let line = json!({ "reason": reason, "partition": partition, "key": key, "base64": base64 });
        self.bad.line(line.to_string().as_bytes())
    }

    /// Flushes both files.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn finish(mut self) -> Result<()> {
        self.plays.flush()?;
        self.bad.flush()
    }
}

impl Output {
    fn create(path: PathBuf) -> Result<Self> {
        let file = File::create(&path).with_context(|| {
            format!("cannot create {}; give --out a file in a folder that can be written", path.display())
        })?;
        Ok(Self { path, file: BufWriter::with_capacity(BUFFER_BYTES, file) })
    }

    fn line(&mut self, line: &[u8]) -> Result<()> {
        let written = self.file.write_all(line).and_then(|()| self.file.write_all(b"\n"));
        written.with_context(|| self.failure())
    }

    fn flush(&mut self) -> Result<()> {
        self.file.flush().with_context(|| self.failure())
    }

    fn failure(&self) -> String {
        format!("cannot write {}; is the disk full?", self.path.display())
    }
}
