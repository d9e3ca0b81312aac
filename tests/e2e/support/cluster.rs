//! Clusters of real processes: those that `reprise cluster` starts, and those that a test starts
//! one by one.

use std::net::TcpListener;
use std::path::{Path, PathBuf};

use super::eventually;
use super::oracle::Printed;
use super::program::{Program, reprise_with, succeed};
use super::running::run;

/// The arguments that run `command` under `reprise cluster`.
pub fn cluster(processes: &str, command: Vec<String>) -> Vec<String> {
    ["cluster", "--processes", processes, "--"].map(str::to_owned).into_iter().chain(command).collect()
}

/// Reads `topic` to its end with `processes` processes of `workers` workers each, and returns all
/// charts.
#[track_caller]
pub fn cluster_to_end(topic: &str, lake: &Path, processes: &str, workers: &str) -> Printed {
    let command = run(topic, lake, &["--until-caught-up", "--format", "json", "-w", workers]);
    Printed::parse(&succeed(cluster(processes, command)).stdout)
}

/// The ids of the processes that `supervisor` has started.
pub fn members(supervisor: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{supervisor}/task")).into_iter().flatten().flatten();
    let children = tasks.flat_map(|task| std::fs::read_to_string(task.path().join("children")));
    let mut ids: Vec<u32> =
        children.flat_map(|ids| ids.split_whitespace().flat_map(str::parse).collect::<Vec<_>>()).collect();
    ids.sort_unstable();
    ids
}

/// Whether the process exists and is not a zombie.
pub fn is_alive(id: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

/// Waits until all processes in `ids` have ended.
#[track_caller]
pub fn all_gone(ids: &[u32]) {
    eventually("the processes of the cluster have ended", || (!ids.iter().any(|id| is_alive(*id))).then_some(()));
}

/// The host file and the secret file of a cluster whose processes the test starts itself.
pub struct HostFiles {
    folder: tempfile::TempDir,
    /// `host:port` of each process, by process number.
    pub addresses: Vec<String>,
}

impl HostFiles {
    /// A cluster of `processes` processes on free ports of this machine.
    pub fn local(processes: usize) -> Self {
        let listeners: Vec<TcpListener> =
            (0..processes).map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port")).collect();
        let addresses: Vec<String> =
            listeners.iter().map(|listener| listener.local_addr().expect("an address").to_string()).collect();
        Self::at(addresses)
    }

    /// A cluster at these addresses, by process number.
    pub fn at(addresses: Vec<String>) -> Self {
        let folder = super::fixture::folder();
        std::fs::write(folder.path().join("hosts"), addresses.join("\n")).expect("the folder can be written");
        let files = Self { folder, addresses };
        files.secret("secret", "a secret of twenty-two");
        files
    }

    /// Writes a secret to a file called `name`, and returns its path.
    pub fn secret(&self, name: &str, secret: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, secret).expect("the folder can be written");
        path
    }

    /// The options with which process number `process` joins the cluster.
    pub fn options(&self, process: usize) -> Vec<String> {
        let file = |name: &str| self.folder.path().join(name).to_str().expect("UTF-8").to_owned();
        let arguments = [file("hosts"), file("secret"), process.to_string()];
        ["--hostfile", "--cluster-secret-file", "-p"]
            .into_iter()
            .map(str::to_owned)
            .zip(arguments)
            .flat_map(<[String; 2]>::from)
            .collect()
    }

    /// Starts process number `process` of a run of `topic`.
    pub fn start(&self, process: usize, topic: &str, lake: &Path, options: &[&str]) -> Program {
        self.start_with(process, topic, lake, options, &[])
    }

    /// Like [`HostFiles::start`], with environment variables.
    pub fn start_with(
        &self,
        process: usize,
        topic: &str,
        lake: &Path,
        options: &[&str],
        variables: &[(&str, String)],
    ) -> Program {
        let own = self.options(process);
        let options: Vec<&str> = own.iter().map(String::as_str).chain(options.iter().copied()).collect();
        reprise_with(run(topic, lake, &options), variables)
    }
}
