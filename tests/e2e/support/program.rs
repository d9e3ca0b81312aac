//! The real program as a child process that is killed when the test ends. Its output is kept and
//! shown on failure, and every wait has a timeout.

use std::ffi::OsStr;
use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{TIMEOUT, eventually};

/// A running program.
pub struct Program {
    name: String,
    child: Child,
    output: [Output; 2],
}

/// A program that has ended.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

/// The output of a child on one of its pipes.
struct Output {
    text: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

/// Starts `reprise` with `arguments`, without the variables of the caller's shell that would
/// configure it.
pub fn reprise<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Program {
    reprise_with(arguments, &[])
}

/// Like [`reprise`], with environment variables.
pub fn reprise_with<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>, variables: &[(&str, String)]) -> Program {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reprise"));
    clean(&mut command);
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    Program::spawn(command.args(arguments))
}

/// Removes the variables that configure `reprise` from a command's environment.
pub fn clean(command: &mut Command) {
    let ours = |name: &str| name.starts_with("REPRISE_") || name == "KAFKA_BOOTSTRAP_SERVERS" || name == "RUST_LOG";
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(ours)) {
        command.env_remove(name);
    }
}

/// Runs `reprise` to its end. Fails unless it exits with success.
#[track_caller]
pub fn succeed<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Ended {
    reprise(arguments).succeed()
}

impl Program {
    /// Starts a command with its output captured and stdin empty.
    #[track_caller]
    pub fn spawn(command: &mut Command) -> Self {
        let name = format!("{command:?}");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        let stdout = Output::of(child.stdout.take().expect("a pipe was asked for"));
        let stderr = Output::of(child.stderr.take().expect("a pipe was asked for"));
        Self { name, child, output: [stdout, stderr] }
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything written to stderr so far.
    pub fn stderr(&self) -> String {
        self.output[1].so_far()
    }

    /// Waits for `before` on stderr, and returns the text from there to the next whitespace.
    #[track_caller]
    pub fn word_after(&mut self, before: &str) -> String {
        let began = Instant::now();
        loop {
            let stderr = self.stderr();
            let word = stderr.split_once(before).and_then(|(_, rest)| rest.split_once(char::is_whitespace));
            if let Some((word, _)) = word {
                return word.to_owned();
            }
            let ended = self.child.try_wait().expect("a child can be waited for");
            if ended.is_some() || began.elapsed() > TIMEOUT {
                panic!("no {before:?} on stderr ({ended:?})\n{}", self.transcript());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sends a signal, such as `INT`.
    pub fn signal(&self, signal: &str) {
        let kill = format!("kill -{signal} {}", self.child.id());
        let sent = Command::new("sh").args(["-c", &kill]).status().expect("sh runs");
        assert!(sent.success(), "{kill}: {}\n{}", self.name, self.transcript());
    }

    /// Waits for the end, with any exit status.
    #[track_caller]
    pub fn end(self) -> Ended {
        self.end_within(TIMEOUT)
    }

    /// Waits for the end, at most `timeout`.
    #[track_caller]
    pub fn end_within(mut self, timeout: Duration) -> Ended {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                break status;
            }
            if began.elapsed() > timeout {
                panic!("it has not ended after {} s\n{}", timeout.as_secs(), self.transcript());
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        let [stdout, stderr] = &mut self.output;
        Ended { status, stdout: stdout.all(), stderr: stderr.all() }
    }

    /// Waits for the end. Fails unless the program exits with success.
    #[track_caller]
    pub fn succeed(self) -> Ended {
        let name = self.name.clone();
        let ended = self.end();
        assert!(ended.status.success(), "{name}\nfailed: {}\n{}", ended.status, shown(&ended.stdout, &ended.stderr));
        ended
    }

    /// The command and the end of its output, for failure messages.
    pub fn transcript(&self) -> String {
        let [stdout, stderr] = &self.output;
        format!("{}\n{}", self.name, shown(&stdout.so_far(), &stderr.so_far()))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let ended = matches!(self.child.try_wait(), Ok(Some(_)));
        if std::thread::panicking() && !ended {
            eprintln!("was still running: {}", self.transcript());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn shown(stdout: &str, stderr: &str) -> String {
    const BYTES_MAX: usize = 4000;
    let end = |text: &str| {
        let bytes = text.as_bytes();
        String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(BYTES_MAX)..]).into_owned()
    };
    format!("--- stdout ---\n{}\n--- stderr ---\n{}", end(stdout), end(stderr))
}

impl Output {
    fn of(mut pipe: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let into = text.clone();
        let reader = std::thread::spawn(move || {
            let (mut bytes, mut chunk) = (Vec::new(), [0; 1 << 16]);
            while let Ok(length @ 1..) = pipe.read(&mut chunk) {
                bytes.extend_from_slice(&chunk[..length]);
                // A chunk may end within a character; the rest of the character comes with the next
                // chunk.
                let valid = std::str::from_utf8(&bytes).map_or_else(|error| error.valid_up_to(), str::len);
                let read = String::from_utf8_lossy(&bytes[..valid]).into_owned();
                bytes.drain(..valid);
                into.lock().unwrap_or_else(PoisonError::into_inner).push_str(&read);
            }
        });
        Self { text, reader: Some(reader) }
    }

    fn so_far(&self) -> String {
        self.text.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All output, once the pipe is closed. Only for a child that has ended.
    fn all(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            eventually("the pipe of a child that has ended is closed", || reader.is_finished().then_some(()));
        }
        self.so_far()
    }
}
