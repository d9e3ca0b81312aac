//! Starts the processes of a cluster on this machine, and starts all of them again when one has
//! died.
//!
//! When a process dies, the others end by themselves ([`crate::cluster`]). The supervisor starts
//! all of them again, with growing waits, and leaves none behind: each process has a pipe as its
//! stdin, and stops when the pipe is closed, which also happens when the supervisor is killed.

mod member;
mod ports;
mod restarts;

use std::ffi::OsString;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;
use tracing::{info, warn};

use member::Member;
use ports::Ports;
pub use restarts::Restarts;

/// How often the supervisor checks its processes.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// How long the other processes get to log why they end after one has died, before they are killed.
/// A frozen one logs nothing.
const EXIT_GRACE: Duration = Duration::from_secs(2);
/// The exit status of a process that completed its work, but failed to deliver the result.
pub const RESULT_UNDELIVERED: u8 = 3;
/// The exit statuses after which a restart would end the same way: 2 is wrong usage.
const FINAL_STATUSES: [i32; 2] = [2, RESULT_UNDELIVERED as i32];
/// Length of a secret, in words of 64 random bits.
const SECRET_WORDS: usize = 4;

/// What to start, and how often.
pub struct Supervisor {
    /// The number of processes.
    pub processes: usize,
    /// The arguments of all processes, the subcommand first. The supervisor adds those that give
    /// the number of the process and the cluster.
    pub arguments: Vec<OsString>,
    /// Further arguments of all processes but process 0, which serves the charts.
    pub follower_arguments: Vec<OsString>,
    /// The restart budget; `None` if nothing is started again.
    pub restarts: Option<Restarts>,
}

/// How a start of the cluster has ended.
enum Outcome {
    /// All processes have completed their work.
    Done,
    /// A signal asked for a stop, and all processes have stopped.
    Stopped,
    /// A process has died with this status, and the others have ended because of that.
    Died(String),
    /// A process has ended with a status after which a restart would end the same way.
    Failed(String),
}

impl Supervisor {
    /// Runs the cluster until it is done. `signals` counts requests to stop: the first one stops
    /// the processes, the second one kills them.
    ///
    /// # Errors
    /// If a process has died and there are no restarts, or the restart budget is used up, or a
    /// restart would end the same way.
    pub fn run(mut self, signals: &AtomicUsize) -> Result<()> {
        let only_we = Permissions::from_mode(0o700);
        let folder = tempfile::Builder::new().prefix("reprise-cluster-").permissions(only_we).tempdir();
        let folder = folder.context("a folder for the addresses and the secret of the cluster cannot be made")?;
        let program = std::env::current_exe().context("the path of this program is unknown")?;
        loop {
            let began = Instant::now();
            let ports = Ports::take(self.processes)?;
            let mut members = self.start(&program, &folder, &ports)?;
            info!(processes = self.processes, "started the cluster");
            let died = match watch(&mut members, signals)? {
                Outcome::Done | Outcome::Stopped => return Ok(()),
                Outcome::Died(died) => died,
                Outcome::Failed(failed) => bail!("{failed}"),
            };
            drop(members);
            let Some(restarts) = &mut self.restarts else { bail!("{died}") };
            let Some(wait) = restarts.after(began.elapsed()) else {
                bail!("{died}, and {} restarts in a row did not help (--restarts)", restarts.max);
            };
            let (number, max) = (restarts.in_a_row, restarts.max);
            warn!("{died}: starting all again in {} s, restart {number} of {max}", wait.as_secs_f64());
            if wait_for_signal(wait, signals) {
                return Ok(());
            }
        }
    }

    /// Starts all processes. Ports and secret are new each time, so a process left from an earlier
    /// start cannot connect.
    fn start(&self, program: &Path, folder: &TempDir, ports: &Ports) -> Result<Vec<Member>> {
        let [hostfile, secret] = ["hosts", "secret"].map(|name| folder.path().join(name));
        let words: [u64; SECRET_WORDS] = rand::random();
        // Only this user can read the folder.
        std::fs::write(&hostfile, ports.addresses.join("\n"))
            .and_then(|()| std::fs::write(&secret, words.map(|word| format!("{word:016x}")).concat()))
            .with_context(|| format!("cannot write to {}", folder.path().display()))?;
        let start = |process: usize| {
            let mut arguments = self.arguments.clone();
            if process > 0 {
                arguments.extend_from_slice(&self.follower_arguments);
            }
            let number = OsString::from(process.to_string());
            let membership = ["--hostfile".into(), hostfile.clone().into(), "-p".into(), number];
            arguments.extend(membership);
            arguments.extend(["--cluster-secret-file".into(), secret.clone().into(), "--stop-with-stdin".into()]);
            Member::start(program, &arguments, process)
        };
        (0..self.processes).map(start).collect()
    }
}

/// Waits until all `members` have ended, or one has died and the others had time to log why they
/// end.
fn watch(members: &mut [Member], signals: &AtomicUsize) -> Result<Outcome> {
    let mut died: Option<(Instant, String)> = None;
    let mut stopping = false;
    loop {
        match signals.load(Ordering::Relaxed) {
            0 => {}
            1 if !stopping => {
                members.iter_mut().for_each(Member::stop);
                stopping = true;
            }
            1 => {}
            // Returning drops the members, which kills them.
            _ => bail!("killed all processes; what was committed is safe"),
        }
        let mut running = 0;
        for member in members.iter_mut() {
            match member.status()? {
                None => running += 1,
                // While stopping, only the status of process 0 counts: the others may fail because
                // a peer has ended before them.
                Some(status) if !status.success() && died.is_none() && (!stopping || member.process == 0) => {
                    let ended = format!("process {} has ended with {}", member.process, shown(status));
                    if status.code().is_some_and(|code| FINAL_STATUSES.contains(&code)) {
                        return Ok(Outcome::Failed(ended));
                    }
                    died = Some((Instant::now(), ended));
                }
                Some(_) => {}
            }
        }
        match &died {
            Some((_, died)) if stopping && running == 0 => bail!("{died} while it was stopping"),
            Some((at, died)) if !stopping && (running == 0 || at.elapsed() >= EXIT_GRACE) => {
                return Ok(Outcome::Died(died.clone()));
            }
            None if running == 0 => return Ok(if stopping { Outcome::Stopped } else { Outcome::Done }),
            _ => std::thread::sleep(LOOK_INTERVAL),
        }
    }
}

/// Waits for `wait`, or returns true as soon as a signal has arrived.
fn wait_for_signal(wait: Duration, signals: &AtomicUsize) -> bool {
    let began = Instant::now();
    while began.elapsed() < wait {
        if signals.load(Ordering::Relaxed) > 0 {
            return true;
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
    false
}

/// The status as the end of a sentence: `status 1`, or the signal that killed the process.
fn shown(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("status {code}"),
        None => status.to_string(),
    }
}
