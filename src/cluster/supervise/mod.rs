//! The processes of a cluster on this machine, started together, and again together when one of them has died.
//!
//! Timely's rule is that a process that dies ends them all, and the others see to that themselves ([`crate::cluster`]). What is
//! left is to start all of them again, not too often, and to leave none behind: each has a pipe as its stdin, and stops when that
//! ends, as it does when this process is killed.

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

/// How often the processes are looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// How long the others may take to say what they have lost, when one has died. A frozen one says nothing.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// The status of a process that has done its work, and failed with what it was to give.
pub const DONE_IN_VAIN: u8 = 3;
/// Those of processes that would end the same way if they were started again: wrong usage is one.
const FINAL: [i32; 2] = [2, DONE_IN_VAIN as i32];
/// Of 64 random bits each.
const SECRET_WORDS: usize = 4;

/// What is started, and how often.
pub struct Supervisor {
    pub processes: usize,
    /// The program's arguments, the subcommand first, but for those that say which process of which cluster it is.
    pub arguments: Vec<OsString>,
    /// Those of the processes that serve no charts, besides.
    pub follower_arguments: Vec<OsString>,
    /// None if a death is the end of it.
    pub restarts: Option<Restarts>,
}

/// How a start of the cluster has ended.
enum Outcome {
    /// All have done what they were to do.
    Done,
    /// Somebody wanted them to stop, and they have.
    Stopped,
    /// A process has died, and the others have ended because of that.
    Died(String),
    /// A process has ended as it would again.
    Failed(String),
}

impl Supervisor {
    /// Runs the cluster until it is done. The first of the `signals` stops it; at the second one it is killed.
    ///
    /// # Errors
    /// If a process has died, and has not been started again, or that was tried too often.
    pub fn run(mut self, signals: &AtomicUsize) -> Result<()> {
        let only_we = Permissions::from_mode(0o700);
        let folder = tempfile::Builder::new().prefix("reprise-cluster-").permissions(only_we).tempdir();
        let folder = folder.context("a folder for the addresses and the secret of the cluster cannot be made")?;
        let program = std::env::current_exe().context("this program does not know where it is")?;
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
                bail!("{died}, and starting all again has not helped {} times (--restarts)", restarts.max);
            };
            let (number, max) = (restarts.in_a_row, restarts.max);
            warn!("{died}: starting all again in {} s, for the {number}. time of {max}", wait.as_secs_f64());
            if rest(wait, signals) {
                return Ok(());
            }
        }
    }

    /// Starts all processes. Ports and secret are new each time, so what is left of an earlier start finds nobody.
    fn start(&self, program: &Path, folder: &TempDir, ports: &Ports) -> Result<Vec<Member>> {
        let [hostfile, secret] = ["hosts", "secret"].map(|name| folder.path().join(name));
        let words: [u64; SECRET_WORDS] = rand::random();
        // Nobody else can look into the folder.
        std::fs::write(&hostfile, ports.addresses.join("\n"))
            .and_then(|()| std::fs::write(&secret, words.map(|word| format!("{word:016x}")).concat()))
            .with_context(|| format!("cannot write to {}", folder.path().display()))?;
        let start = |process: usize| {
            let mut arguments = self.arguments.clone();
            if process > 0 {
                arguments.extend_from_slice(&self.follower_arguments);
            }
            let number = OsString::from(process.to_string());
            let place = ["--hostfile".into(), hostfile.clone().into(), "-p".into(), number];
            arguments.extend(place);
            arguments.extend(["--cluster-secret-file".into(), secret.clone().into(), "--stop-with-stdin".into()]);
            Member::start(program, &arguments, process)
        };
        (0..self.processes).map(start).collect()
    }
}

/// Waits until all `members` have ended.
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
            // Whoever is dropped is killed.
            _ => bail!("killed all processes; what was committed is safe"),
        }
        let mut running = 0;
        for member in members.iter_mut() {
            match member.status()? {
                None => running += 1,
                // Who is to stop has reasons of its own to end, as that another has ended before it.
                Some(status) if !status.success() && died.is_none() && (!stopping || member.process == 0) => {
                    let ended = format!("process {} has ended with {}", member.process, shown(status));
                    if status.code().is_some_and(|code| FINAL.contains(&code)) {
                        return Ok(Outcome::Failed(ended));
                    }
                    died = Some((Instant::now(), ended));
                }
                Some(_) => {}
            }
        }
        match &died {
            Some((_, died)) if stopping && running == 0 => bail!("{died} while it was to stop"),
            Some((at, died)) if !stopping && (running == 0 || at.elapsed() >= LAST_WORDS) => {
                return Ok(Outcome::Died(died.clone()));
            }
            None if running == 0 => return Ok(if stopping { Outcome::Stopped } else { Outcome::Done }),
            _ => std::thread::sleep(LOOK_INTERVAL),
        }
    }
}

/// Waits, unless somebody wants to leave: then it is true.
fn rest(wait: Duration, signals: &AtomicUsize) -> bool {
    let began = Instant::now();
    while began.elapsed() < wait {
        if signals.load(Ordering::Relaxed) > 0 {
            return true;
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
    false
}

/// As a sentence goes on: `status 1`, or the signal that has ended it.
fn shown(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("status {code}"),
        None => status.to_string(),
    }
}
