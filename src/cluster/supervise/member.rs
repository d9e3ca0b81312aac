//! A child process of the supervisor: its log lines are passed on with its number in front, and it
//! is killed when dropped.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;

use anyhow::{Context, Result};

/// Longer log lines are passed on in pieces.
const LINE_BYTES_MAX: u64 = 64 << 10;

/// A process that runs, or has ended. It is killed when dropped.
pub struct Member {
    /// Its number in the cluster.
    pub process: usize,
    child: Child,
    /// Its stdin; closing it makes the process stop (`--stop-with-stdin`).
    stdin: Option<ChildStdin>,
    log: Option<JoinHandle<()>>,
}

impl Member {
    /// Starts `program` as process number `process`.
    ///
    /// # Errors
    /// If the process or the thread for its log cannot be started.
    pub fn start(program: &Path, arguments: &[OsString], process: usize) -> Result<Self> {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stderr(Stdio::piped());
        // Only process 0 has results to print.
        command.stdout(if process == 0 { Stdio::inherit() } else { Stdio::null() });
        // In a process group of its own, so that Ctrl-C in a terminal reaches only the supervisor,
        // which stops all processes in the same way for every signal.
        command.process_group(0);
        let mut child = command.spawn().with_context(|| format!("process {process} cannot be started"))?;
        let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
        let mut member = Self { process, child, stdin, log: None };
        if let Some(stderr) = stderr {
            let log = std::thread::Builder::new().name(format!("reprise-log-{process}"));
            member.log = Some(log.spawn(move || forward_log(stderr, process)).context("a thread cannot be started")?);
        }
        Ok(member)
    }

    /// Makes it commit what it has read, and end. Does not wait for it.
    pub fn stop(&mut self) {
        self.stdin = None;
    }

    /// Its exit status, if it has ended.
    ///
    /// # Errors
    /// If the system does not tell.
    pub fn status(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().with_context(|| format!("process {} cannot be waited for", self.process))
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // Best effort: the process may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(log) = self.log.take() {
            let _ = log.join();
        }
    }
}

fn forward_log(log: impl Read, process: usize) {
    let mut log = BufReader::new(log);
    let mut line = Vec::new();
    while let Ok(1..) = log.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
        let text = String::from_utf8_lossy(&line);
        // An error means that nobody reads our stderr: the line is dropped.
        let _ = writeln!(std::io::stderr(), "[{process}] {}", text.trim_end());
        line.clear();
    }
}
