//! Options that make a process one of several that run a dataflow together.

use std::io::Read;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::shared::parse_duration;
use crate::cluster::Secret;
use crate::cluster::membership;
use crate::cluster::membership::{Membership, PROCESSES_MAX};

#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Cluster (`reprise cluster` starts one on this machine)")]
pub struct Peers {
    /// How many processes work together; as many as there are addresses, unless given.
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=PROCESSES_MAX as u64), env = "REPRISE_PROCESSES")]
    processes: Option<u64>,
    /// The number of this process, from 0. Process 0 commits, and serves the charts. `ordinal` takes it from the end of the
    /// host's name, as a StatefulSet of Kubernetes gives it.
    #[arg(short, long, value_name = "I", env = "REPRISE_PROCESS")]
    process: Option<String>,
    /// A file with the address of each process, host:port, one a line.
    #[arg(long, value_name = "FILE", env = "REPRISE_HOSTFILE")]
    hostfile: Option<PathBuf>,
    /// The addresses without a file: separated by commas, or one with {} for the number of the process.
    #[arg(long, value_name = "LIST", env = "REPRISE_HOSTS", conflicts_with = "hostfile")]
    hosts: Option<String>,
    /// A file with a secret that all processes share, and nobody else: who does not know it is not let in. Without one, all
    /// must be on this machine. What they send each other is not encrypted.
    #[arg(long, value_name = "FILE", env = "REPRISE_CLUSTER_SECRET_FILE")]
    cluster_secret_file: Option<PathBuf>,
    /// Where to listen for the other processes, if not at the own address, as in 0.0.0.0:2101.
    #[arg(long, value_name = "ADDR", env = "REPRISE_CLUSTER_LISTEN")]
    cluster_listen: Option<SocketAddr>,
    /// How long to wait until all processes have come.
    #[arg(long, value_name = "SPAN", default_value = "60s", value_parser = parse_duration, env = "REPRISE_JOIN_TIMEOUT")]
    join_timeout: Duration,
    /// Who does not hear from a process for so long takes it for lost, and ends.
    #[arg(long, value_name = "SPAN", default_value = "4s", value_parser = stall_timeout, env = "REPRISE_STALL_TIMEOUT")]
    stall_timeout: Duration,
    /// Stop as on SIGTERM when stdin ends, as it does with the process that has started this one.
    #[arg(long, hide = true)]
    stop_with_stdin: bool,
}

impl Peers {
    /// Whether anything says that this process is one of several.
    pub fn are_given(&self) -> bool {
        let Self { processes, process, hostfile, hosts, cluster_secret_file, cluster_listen, .. } = self;
        let files = [hostfile, cluster_secret_file];
        let texts = [process, hosts];
        processes.is_some()
            || cluster_listen.is_some()
            || files.iter().any(|file| file.is_some())
            || texts.iter().any(|text| text.is_some())
    }

    /// Whether `reprise cluster` has started this process.
    pub fn is_supervised(&self) -> bool {
        self.stop_with_stdin
    }

    /// Where this process is in its cluster, if it is in one.
    pub fn membership(&self) -> Result<Option<Membership>> {
        let processes = self.processes.map(|processes| processes as usize);
        let addresses = match (&self.hostfile, &self.hosts) {
            (Some(hostfile), _) => membership::hostfile(hostfile)?,
            (None, Some(hosts)) => membership::hosts(hosts, processes)?,
            (None, None) if processes.is_some_and(|processes| processes > 1) => {
                bail!(
                    "-n needs the addresses of the processes: give --hostfile or --hosts, or let `reprise cluster` start them"
                )
            }
            (None, None) if self.are_given() && processes.is_none_or(|processes| processes > 1) => {
                bail!(
                    "-p, --cluster-secret-file and --cluster-listen need --hostfile or --hosts: where are the other processes?"
                )
            }
            (None, None) => return Ok(None),
        };
        ensure!(!addresses.is_empty(), "there are no addresses of processes in the hostfile");
        let processes = processes.unwrap_or(addresses.len());
        ensure!(
            processes <= addresses.len() && processes <= PROCESSES_MAX,
            "{processes} processes need as many addresses, and there are {}; {PROCESSES_MAX} are the limit",
            addresses.len()
        );
        if processes <= 1 {
            let alone = self.process.as_deref().is_none_or(|process| process == "0" || process == membership::ORDINAL);
            ensure!(alone, "there is one address, and so no process but 0: is the list of addresses whole?");
            return Ok(None);
        }
        let process = self.process.as_deref().context("-p is needed: which of the processes is this one, from 0?")?;
        let membership = Membership {
            process: membership::number(process, crate::process::host::host_name)?,
            addresses: addresses.into_iter().take(processes).collect(),
            listen: self.cluster_listen,
            secret: self.cluster_secret_file.as_deref().map(Secret::read).transpose()?,
            join_timeout: self.join_timeout,
            stall_timeout: self.stall_timeout,
        };
        membership.check()?;
        Ok(Some(membership))
    }

    /// Does `stop` at the end of stdin, if that is asked for.
    pub fn stop_with_stdin(&self, stop: impl FnOnce() + Send + 'static) -> Result<()> {
        if !self.stop_with_stdin {
            return Ok(());
        }
        let wait = move || {
            let mut stdin = std::io::stdin().lock();
            while matches!(stdin.read(&mut [0; 256]), Ok(1..)) {}
            stop();
        };
        std::thread::Builder::new()
            .name("reprise-stdin".to_owned())
            .spawn(wait)
            .context("a thread cannot be started")?;
        Ok(())
    }
}

/// Reads a span in which beats can be missed and found to be missing.
fn stall_timeout(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        span if span >= Duration::from_millis(500) => Ok(span),
        _ => Err("it must be 500ms at least: a busy machine is not a lost one".to_owned()),
    }
}
