//! The membership of a process in its cluster: its number, the addresses of all processes, and the
//! timeouts.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::Secret;

/// The most processes of a cluster. Each is connected with each, so 256 of them already hold 256 ×
/// 255 sockets.
pub const PROCESSES_MAX: usize = 256;
const FILE_BYTES_MAX: u64 = 64 << 10;
/// The placeholder for the number of the process in a pattern of addresses.
const NUMBER: &str = "{}";
/// Given as the number of a process: take the number at the end of the host's name.
pub const ORDINAL: &str = "ordinal";

/// The membership of a process in its cluster.
#[derive(Clone)]
pub struct Membership {
    /// The number of this process, from 0.
    pub process: usize,
    /// `host:port` of every process, by its number.
    pub addresses: Vec<String>,
    /// The address to listen on for the other processes, if not our own one of `addresses`.
    pub listen: Option<SocketAddr>,
    /// The secret of the cluster. Without one, all addresses must be on loopback.
    pub secret: Option<Secret>,
    /// How long to wait until all processes have joined.
    pub join_timeout: Duration,
    /// How long a peer may be silent before it counts as lost.
    pub stall_timeout: Duration,
}

impl Membership {
    /// Checks that the number is one of the cluster's, and that without a secret all addresses are
    /// on loopback.
    ///
    /// # Errors
    /// If either does not hold.
    pub fn check(&self) -> Result<()> {
        let processes = self.addresses.len();
        ensure!(
            self.process < processes,
            "there is no process {} among {processes}: -p is a number from 0 to {}",
            self.process,
            processes - 1
        );
        if self.secret.is_none() {
            let addresses = self.addresses.iter().filter(|address| !is_loopback(address));
            if let Some(address) = addresses.map(String::as_str).next() {
                bail!(
                    "{address} may not be on this machine, and without a secret anybody could join: give all processes the \
                     same --cluster-secret-file (`openssl rand -hex 32 > FILE` makes one)"
                );
            }
            ensure!(
                self.listen.is_none_or(|listen| listen.ip().is_loopback()),
                "--cluster-listen is not a loopback address: give all processes the same --cluster-secret-file first"
            );
        }
        Ok(())
    }

    /// The name of a process in messages: its number and its address.
    pub fn name(&self, process: usize) -> String {
        format!("process {process} ({})", self.addresses.get(process).map_or("", String::as_str))
    }

    /// The addresses to listen on for the other processes.
    ///
    /// # Errors
    /// Like those of [`Membership::resolve`].
    pub fn listen_addresses(&self) -> Result<Vec<SocketAddr>> {
        match self.listen {
            Some(listen) => Ok(vec![listen]),
            None => self.resolve(self.process),
        }
    }

    /// Resolves the address of a process; without a secret, to loopback addresses only.
    ///
    /// # Errors
    /// If the name is unknown, or no address is left.
    pub fn resolve(&self, process: usize) -> Result<Vec<SocketAddr>> {
        let address = &self.addresses[process];
        let found = address.to_socket_addrs().with_context(|| format!("the name {address} is not known"))?;
        // `localhost` may be configured to be another machine.
        let found: Vec<SocketAddr> = found.filter(|found| self.secret.is_some() || found.ip().is_loopback()).collect();
        ensure!(
            !found.is_empty(),
            "the name {address} has no address, or none on this machine where there is no secret"
        );
        Ok(found)
    }
}

/// Whether `address` is certain to be on loopback. No name but `localhost` is accepted: what a name
/// resolves to may change.
pub fn is_loopback(address: &str) -> bool {
    let localhost = address.rsplit_once(':').is_some_and(|(host, _)| host == "localhost");
    localhost || address.parse::<SocketAddr>().is_ok_and(|address| address.ip().is_loopback())
}

/// The addresses in a hostfile: one a line; empty lines and lines that begin with `#` are ignored.
///
/// # Errors
/// If the file cannot be read, is too large, or has a line that is not `host:port`.
pub fn hostfile(path: &Path) -> Result<Vec<String>> {
    let read = || -> Result<Vec<String>> {
        let bytes = std::fs::metadata(path)?.len();
        ensure!(bytes <= FILE_BYTES_MAX, "it has {bytes} bytes, and a hostfile has {FILE_BYTES_MAX} at most");
        let text = std::fs::read_to_string(path)?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines.map(address).collect()
    };
    read().with_context(|| format!("cannot use the hostfile {}", path.display()))
}

/// The addresses in `text`: a list separated by commas, or a pattern in which `{}` stands for the
/// number of each of `processes`.
///
/// # Errors
/// If one is not `host:port`, or there is a pattern and the number of processes is not given.
pub fn hosts(text: &str, processes: Option<usize>) -> Result<Vec<String>> {
    match processes {
        Some(processes) if text.contains(NUMBER) => {
            (0..processes).map(|process| address(&text.replace(NUMBER, &process.to_string()))).collect()
        }
        None if text.contains(NUMBER) => bail!("with {NUMBER} in --hosts the number of processes is needed: -n"),
        _ => text.split(',').map(|part| address(part.trim())).collect(),
    }
}

fn address(text: &str) -> Result<String> {
    let parts =
        text.rsplit_once(':').filter(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0));
    ensure!(parts.is_some(), "{text:?} is not an address: it is written host:port, as in 10.0.0.1:2101");
    Ok(text.to_owned())
}

/// The number of a process: `text`, or, if that is [`ORDINAL`], the number at the end of the name
/// that `host` returns.
///
/// # Errors
/// If there is no such number.
pub fn number(text: &str, host: impl FnOnce() -> Result<String>) -> Result<usize> {
    if text != ORDINAL {
        return text
            .parse()
            .with_context(|| format!("-p is the number of a process from 0, or {ORDINAL:?}, and not {text:?}"));
    }
    let host = host()?;
    // Kubernetes names the pods of a StatefulSet NAME-NUMBER.
    let name = host.trim().split('.').next().unwrap_or_default();
    let number = name.rsplit_once('-').and_then(|(_, number)| number.parse().ok());
    number.with_context(|| {
        format!("the name of this host, {host:?}, does not end with a number as in reprise-2: give -p")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn membership(addresses: &[&str]) -> Membership {
        let addresses = addresses.iter().map(ToString::to_string).collect();
        let (join_timeout, stall_timeout) = (Duration::from_secs(1), Duration::from_secs(1));
        Membership { process: 0, addresses, listen: None, secret: None, join_timeout, stall_timeout }
    }

    #[test]
    fn without_a_secret_all_must_be_on_loopback() {
        membership(&["127.0.0.1:2101", "localhost:2102", "[::1]:2103"]).check().unwrap();
        for stranger in ["10.0.0.1:2102", "host:2102", "localhost.example.com:2102", "127.0.0.1.nip.io:2102"] {
            let message = membership(&["127.0.0.1:2101", stranger]).check().unwrap_err().to_string();
            assert!(message.contains(stranger) && message.contains("--cluster-secret-file"), "{message}");
        }
        let everywhere =
            Membership { listen: Some("0.0.0.0:2101".parse().unwrap()), ..membership(&["127.0.0.1:2101"]) };
        assert!(everywhere.check().unwrap_err().to_string().contains("--cluster-listen"));
    }

    #[test]
    fn a_process_is_one_of_those_that_there_are() {
        let message =
            Membership { process: 2, ..membership(&["127.0.0.1:1", "127.0.0.1:2"]) }.check().unwrap_err().to_string();
        assert!(message.contains("from 0 to 1"), "{message}");
    }

    #[test]
    fn addresses_come_from_a_file_a_list_or_a_pattern() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hosts");
        std::fs::write(&path, "# ours\n10.0.0.1:2101\n\n  b:2101 \n").unwrap();
        assert_eq!(hostfile(&path).unwrap(), ["10.0.0.1:2101", "b:2101"]);
        assert_eq!(hosts("a:1, [::1]:2", None).unwrap(), ["a:1", "[::1]:2"]);
        assert_eq!(hosts("r-{}.r:2101", Some(2)).unwrap(), ["r-0.r:2101", "r-1.r:2101"]);
        assert!(hosts("r-{}.r:2101", None).is_err());
        for wrong in ["a", "a:", ":1", "a:0", "a:70000", ""] {
            assert!(hosts(wrong, None).unwrap_err().to_string().contains("host:port"), "{wrong:?}");
        }
        std::fs::write(&path, "10.0.0.1").unwrap();
        assert!(format!("{:#}", hostfile(&path).unwrap_err()).contains("hosts: \"10.0.0.1\" is not an address"));
    }

    #[test]
    fn a_process_knows_its_number_or_finds_it_in_the_name_of_its_host() {
        let named = |host: &str| number("ordinal", || Ok(host.to_owned()));
        assert_eq!(number("3", || bail!("not asked")).unwrap(), 3);
        assert_eq!((named("reprise-12").unwrap(), named("reprise-0.reprise.music.svc\n").unwrap()), (12, 0));
        for wrong in ["reprise", "reprise-", "reprise-x", "12"] {
            assert!(named(wrong).unwrap_err().to_string().contains(wrong), "{wrong}");
        }
        assert!(number("-1", || bail!("not asked")).is_err());
    }
}
