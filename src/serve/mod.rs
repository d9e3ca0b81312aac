//! HTTP: the page, charts and status as JSON, changes as server-sent events, and metrics.
//!
//! The dataflow's thread writes into `State`, and each server answers requests from it on one
//! thread of its own. So a flood of requests costs at most one core, and never a dataflow worker. A
//! server listens on loopback by default, only reads, bounds what a client can cost (connections,
//! header, query, answer), and asks for a token if one is set ([`Access`]).

pub mod access;
pub mod budget;
mod connections;
mod dead_letters;
pub mod follower;
#[cfg(test)]
mod fuzz;
mod guard;
mod http;
mod json;
mod listener;
mod metrics;
mod page;
mod paging;
mod parameters;
mod probes;
pub mod problem;
mod query;
pub mod readers;
mod routes;
pub mod snapshot;
mod stream;
#[cfg(test)]
pub mod tests;
mod write_timeout;

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::{Context, Result, anyhow};
use axum::Router;
use tokio::sync::watch;

pub use access::Access;
pub use http::Http;

/// The address on which a run listens, and which the client commands ask, by default.
pub const DEFAULT_ADDRESS: &str = "127.0.0.1:7878";
/// The name of a thread that answers requests.
pub const THREAD_NAME: &str = "reprise-http";

/// A listening server. It stops when dropped.
pub struct Server {
    /// The address that it listens on. If port 0 was given, this has the port that the system
    /// chose.
    pub address: SocketAddr,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

/// Listens on `listen` and answers requests from `http`, on a thread of its own. `access` decides
/// which requests are let in.
///
/// # Errors
/// If the address cannot be bound, most often because another process listens on it; or if the
/// thread cannot be started.
pub fn start(listen: SocketAddr, http: Arc<Http>, access: Access) -> Result<Server> {
    let limits_addresses = !access.is_behind_proxy();
    start_with(listen, "--listen", routes::router(http, access), limits_addresses)
}

/// Listens on `listen` and answers only `/healthz`, `/readyz` and `/metrics`, on a thread of its
/// own. So a supervisor of the process gets an answer however busy the other server is.
///
/// # Errors
/// As [`start`].
pub fn start_probes(listen: SocketAddr, http: Arc<Http>, access: Access) -> Result<Server> {
    let limits_addresses = !access.is_behind_proxy();
    start_with(listen, "--probe-listen", routes::probes(http, access), limits_addresses)
}

/// Listens on `listen` in a process of a cluster that serves no charts. `option` is the
/// command-line option that gave the address; error messages name it.
///
/// # Errors
/// As [`start`].
pub fn start_follower(listen: SocketAddr, option: &'static str, follower: Arc<follower::Follower>) -> Result<Server> {
    start_with(listen, option, follower::router(follower), true)
}

fn start_with(listen: SocketAddr, option: &'static str, router: Router, limits_addresses: bool) -> Result<Server> {
    let socket = TcpListener::bind(listen).map_err(|error| cannot_listen(listen, option, error))?;
    socket.set_nonblocking(true)?;
    let address = socket.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let (stop, stopped) = watch::channel(false);
    let serve = move || runtime.block_on(listener::serve(socket, router, limits_addresses, stopped));
    let thread = std::thread::Builder::new().name(THREAD_NAME.to_owned()).spawn(serve);
    Ok(Server { address, stop, thread: Some(thread.context("the thread for HTTP cannot be started")?) })
}

fn cannot_listen(listen: SocketAddr, option: &str, error: std::io::Error) -> anyhow::Error {
    let port_0 = SocketAddr::new(listen.ip(), 0);
    match error.kind() {
        ErrorKind::AddrInUse => anyhow!(
            "something already listens on {listen}, perhaps another reprise: stop it, or choose another address with \
             {option} ({port_0} takes a free port)"
        ),
        ErrorKind::AddrNotAvailable => anyhow!("this machine has no address {}: choose one with {option}", listen.ip()),
        ErrorKind::PermissionDenied => {
            anyhow!("port {} needs rights that we do not have: choose one from 1024 with {option}", listen.port())
        }
        _ => anyhow!(error).context(format!("cannot listen on {listen}")),
    }
}

impl Server {
    /// Gives open requests a moment to finish, and ends the thread.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.stop.send_replace(true);
        let Some(thread) = self.thread.take() else { return };
        if thread.join().is_err() {
            tracing::error!("the thread for HTTP panicked");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}
