//! One process of a cluster as its supervisor has it: what it logs is passed on with its number, and it does not outlive us.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;

use anyhow::{Context, Result};

/// Longer lines of a log are passed on in pieces.
const LINE_BYTES_MAX: u64 = 64 << 10;

/// A process that runs, or has ended. It is killed when dropped.
pub struct Member {
    pub process: usize,
    child: Child,
    /// It stops when this is closed.
    stdin: Option<ChildStdin>,
    log: Option<JoinHandle<()>>,
}

impl Member {
    pub fn start(program: &Path, arguments: &[OsString], process: usize) -> Result<Self> {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stderr(Stdio::piped());
        // Process 0 alone has results to print.
        command.stdout(if process == 0 { Stdio::inherit() } else { Stdio::null() });
        // Ctrl-C in a terminal is for us alone: all are stopped in the same way, however that is asked for.
        command.process_group(0);
        let mut child = command.spawn().with_context(|| format!("process {process} cannot be started"))?;
        let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
        let mut member = Self { process, child, stdin, log: None };
        if let Some(stderr) = stderr {
            let log = std::thread::Builder::new().name(format!("reprise-log-{process}"));
            member.log = Some(log.spawn(move || pass_on(stderr, process)).context("a thread cannot be started")?);
        }
        Ok(member)
    }

    /// Has it commit what it has read, and end.
    pub fn stop(&mut self) {
        self.stdin = None;
    }

    /// How it has ended, if it has.
    pub fn status(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().with_context(|| format!("process {} cannot be waited for", self.process))
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // Best effort: it may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(log) = self.log.take() {
            let _ = log.join();
        }
    }
}

fn pass_on(log: impl Read, process: usize) {
    let mut log = BufReader::new(log);
    let mut line = Vec::new();
    while let Ok(1..) = log.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
        let text = String::from_utf8_lossy(&line);
        // Where nobody reads ours, nobody misses it.
        let _ = writeln!(std::io::stderr(), "[{process}] {}", text.trim_end());
        line.clear();
    }
}
