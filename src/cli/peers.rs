//! The options that make a process a member of a cluster.

use std::io::Read;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::parsers::parse_duration;
use crate::cluster::Secret;
use crate::cluster::membership;
use crate::cluster::membership::{Membership, PROCESSES_MAX};

/// The membership of a process, as options.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Cluster (`reprise cluster` starts one on this machine)")]
pub struct Peers {
    /// The number of processes in the cluster; by default that of the addresses.
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=PROCESSES_MAX as u64), env = "REPRISE_PROCESSES")]
    processes: Option<u64>,
    /// The number of this process, from 0. Process 0 commits, and serves the charts. `ordinal`
    /// takes the number at the end of the host name, as in a StatefulSet of Kubernetes.
    #[arg(short, long, value_name = "I", env = "REPRISE_PROCESS")]
    process: Option<String>,
    /// A file with the address of each process, one host:port a line.
    #[arg(long, value_name = "FILE", env = "REPRISE_HOSTFILE")]
    hostfile: Option<PathBuf>,
    /// The addresses instead of a hostfile: separated by commas, or a pattern in which {} stands
    /// for the number of the process.
    #[arg(long, value_name = "LIST", env = "REPRISE_HOSTS", conflicts_with = "hostfile")]
    hosts: Option<String>,
    /// A file with the secret of the cluster. Processes that do not know it are refused. Without a
    /// secret all processes must be on this machine. Traffic between the processes is not
    /// encrypted.
    #[arg(long, value_name = "FILE", env = "REPRISE_CLUSTER_SECRET_FILE")]
    cluster_secret_file: Option<PathBuf>,
    /// The address to listen on for the other processes, as in 0.0.0.0:2101, if not that of this
    /// process in the list.
    #[arg(long, value_name = "ADDR", env = "REPRISE_CLUSTER_LISTEN")]
    cluster_listen: Option<SocketAddr>,
    /// How long to wait until all processes have joined.
    #[arg(long, value_name = "SPAN", default_value = "60s", value_parser = parse_duration, env = "REPRISE_JOIN_TIMEOUT")]
    join_timeout: Duration,
    /// A process that receives nothing from another one for this long treats it as lost, and ends.
    #[arg(long, value_name = "SPAN", default_value = "4s", value_parser = stall_timeout, env = "REPRISE_STALL_TIMEOUT")]
    stall_timeout: Duration,
    /// Stop as on SIGTERM when stdin is closed, which happens when the process that has started
    /// this one ends.
    #[arg(long, hide = true)]
    stop_with_stdin: bool,
}

impl Peers {
    /// Whether an option is given that makes this process a member of a cluster.
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

    /// The membership of this process, if it is in a cluster of more than one process.
    ///
    /// # Errors
    /// If options are missing or contradict each other, or a file cannot be read.
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

    /// With `--stop-with-stdin`, calls `stop` from another thread when stdin is closed.
    ///
    /// # Errors
    /// If the thread cannot be started.
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

/// Parses a stall timeout. It must be so large that a busy machine does not miss it.
fn stall_timeout(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        span if span >= Duration::from_millis(500) => Ok(span),
        _ => Err("it must be 500ms at least: a busy machine is not a lost one".to_owned()),
    }
}
