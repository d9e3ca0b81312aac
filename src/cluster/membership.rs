//! Where a process is in its cluster: its number, where the others are, and how long they may be silent.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::Secret;

/// More would be 256 times 255 sockets.
pub const PROCESSES_MAX: usize = 256;
const FILE_BYTES_MAX: u64 = 64 << 10;
/// In a pattern of addresses, what stands for the number of the process.
const NUMBER: &str = "{}";
/// Instead of a process's number: the one at the end of the host's name.
pub const ORDINAL: &str = "ordinal";

/// The place of a process in its cluster.
#[derive(Clone)]
pub struct Membership {
    pub process: usize,
    /// `host:port` of every process, by its number.
    pub addresses: Vec<String>,
    /// Where to listen for the others, if not at our own address.
    pub listen: Option<SocketAddr>,
    pub secret: Option<Secret>,
    /// How long to wait until all have come.
    pub join_timeout: Duration,
    /// How long a peer may be silent.
    pub stall_timeout: Duration,
}

impl Membership {
    /// Says what is wrong with this place, if anything is.
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
                    "{address} is not surely on this machine, and without a secret anybody could join: give all processes the \
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

    /// How people know a process.
    pub fn name(&self, process: usize) -> String {
        format!("process {process} ({})", self.addresses.get(process).map_or("", String::as_str))
    }

    /// Where to listen for the others.
    pub fn listen_addresses(&self) -> Result<Vec<SocketAddr>> {
        match self.listen {
            Some(listen) => Ok(vec![listen]),
            None => self.resolve(self.process),
        }
    }

    /// The sockets that the address of a process stands for now.
    pub fn resolve(&self, process: usize) -> Result<Vec<SocketAddr>> {
        let address = &self.addresses[process];
        let found = address.to_socket_addrs().with_context(|| format!("the name {address} is not known"))?;
        // What `localhost` is, others may have changed.
        let found: Vec<SocketAddr> = found.filter(|found| self.secret.is_some() || found.ip().is_loopback()).collect();
        ensure!(
            !found.is_empty(),
            "the name {address} has no address, or none on this machine where there is no secret"
        );
        Ok(found)
    }
}

/// Whether `address` is certain to be one of this machine only. Names are not asked for: what they mean may change.
pub fn is_loopback(address: &str) -> bool {
    let localhost = address.rsplit_once(':').is_some_and(|(host, _)| host == "localhost");
    localhost || address.parse::<SocketAddr>().is_ok_and(|address| address.ip().is_loopback())
}

/// The addresses in a hostfile: one a line; empty lines and those that begin with `#` do not count.
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

/// The addresses in `text`: separated by commas, or one with `{}` for the number of each of `processes`.
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

/// The number of a process: `text`, or what the name of this host ends with.
pub fn number(text: &str, host: impl FnOnce() -> Result<String>) -> Result<usize> {
    if text != ORDINAL {
        return text
            .parse()
            .with_context(|| format!("-p is the number of a process from 0, or {ORDINAL:?}, and not {text:?}"));
    }
    let host = host()?;
    // A pod of a stateful set is called NAME-NUMBER.
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
            let said = membership(&["127.0.0.1:2101", stranger]).check().unwrap_err().to_string();
            assert!(said.contains(stranger) && said.contains("--cluster-secret-file"), "{said}");
        }
        let everywhere =
            Membership { listen: Some("0.0.0.0:2101".parse().unwrap()), ..membership(&["127.0.0.1:2101"]) };
        assert!(everywhere.check().unwrap_err().to_string().contains("--cluster-listen"));
    }

    #[test]
    fn a_process_is_one_of_those_that_there_are() {
        let said =
            Membership { process: 2, ..membership(&["127.0.0.1:1", "127.0.0.1:2"]) }.check().unwrap_err().to_string();
        assert!(said.contains("from 0 to 1"), "{said}");
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
