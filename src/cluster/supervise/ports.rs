//! Free ports on this machine for the processes of a cluster.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};
use tokio::net::TcpSocket;

/// Reserved loopback addresses without a listener.
///
/// Before the processes listen, another program that asks for any free port could get one of these,
/// as our own processes do for HTTP. On Linux a socket that is bound but does not listen prevents
/// that, and still a process that binds the port by number, with address reuse as `std` sets it,
/// gets it.
pub struct Ports {
    /// `host:port` of each process, by its number.
    pub addresses: Vec<String>,
    _kept: Vec<TcpSocket>,
}

impl Ports {
    /// Reserves `count` ports.
    ///
    /// # Errors
    /// If there are not enough free ports.
    pub fn take(count: usize) -> Result<Self> {
        let take = || -> io::Result<Self> {
            let mut kept = (0..count).map(|_| bound()).collect::<io::Result<Vec<_>>>()?;
            let addresses =
                kept.iter().map(|socket| Ok(socket.local_addr()?.to_string())).collect::<io::Result<_>>()?;
            if !cfg!(target_os = "linux") {
                kept.clear();
            }
            Ok(Self { addresses, _kept: kept })
        };
        take().context("there are no free ports for the processes of the cluster")
    }
}

fn bound() -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn taken_ports_are_distinct_and_stay_free() {
        let ports = Ports::take(3).unwrap();
        assert_eq!(ports.addresses.iter().collect::<BTreeSet<_>>().len(), 3);
        let others: Vec<TcpListener> = (0..200).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        assert!(others.iter().all(|other| !ports.addresses.contains(&other.local_addr().unwrap().to_string())));
        let ours: Vec<TcpListener> =
            ports.addresses.iter().map(|address| TcpListener::bind(address).unwrap()).collect();
        assert_eq!(ours.len(), 3);
    }
}
