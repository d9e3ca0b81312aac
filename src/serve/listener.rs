//! Accepts connections and bounds what each may cost.
//!
//! `axum::serve` has no limit to the number of connections and no timeout for a client that sends its header a byte an
//! hour, so hyper is driven here directly. At the limit nothing is refused: new connections wait in the kernel's queue
//! until one ends, and idle ones end soon.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::patient::Patient;

const CONNECTIONS_MAX: u32 = 4096;
/// Headers of a request.
const HEADERS_MAX: usize = 64;
/// How long a client may take nothing of what it is sent.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// For the whole header of a request, and for the pause before it on a connection that is kept alive.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a request's header, and of an answer that waits in our memory for the client to read.
const BUFFER_BYTES_MAX: usize = 64 << 10;
/// How long open requests may take once the server stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);
/// Files and sockets that are open at once.
const FILES_MAX: u64 = 65_536;
/// The pause after a failed accept: when file descriptors have run out, trying again at once only burns a core.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `router` until `stopped` becomes true.
pub async fn serve(socket: TcpListener, router: Router, stopped: watch::Receiver<bool>) {
    let socket = match tokio::net::TcpListener::from_std(socket) {
        Ok(socket) => socket,
        Err(error) => return tracing::error!("HTTP cannot be served: {error}"),
    };
    raise_file_limit();
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX as usize));
    let accept_all = async {
        loop {
            // The semaphore is never closed, so there is always a permit in the end.
            let Ok(permit) = permits.clone().acquire_owned().await else { return };
            match socket.accept().await {
                Ok((stream, _)) => drop(tokio::spawn(connection(stream, router.clone(), stopped.clone(), permit))),
                Err(error) => {
                    tracing::warn!("a connection could not be accepted: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    let mut stop = stopped.clone();
    tokio::select! {
        () = accept_all => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
    // All permits are back when all connections have ended.
    let _ = tokio::time::timeout(STOP_TIMEOUT, permits.acquire_many(CONNECTIONS_MAX)).await;
}

/// Lets this process have as many files and sockets open as it may: shells give a thousand for programs of another age.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(FILES_MAX, |most| most.min(FILES_MAX));
    if limit.current.is_some_and(|current| current < wanted)
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), ..limit })
    {
        tracing::debug!("the limit of open files stays as it is: {error}");
    }
}

/// Answers the requests of one connection, one after the other. Its errors are the client's: it went away, or sent what
/// is not HTTP, and has been told so.
async fn connection(
    stream: TcpStream,
    router: Router,
    mut stopped: watch::Receiver<bool>,
    _permit: OwnedSemaphorePermit,
) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(BUFFER_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(Patient::new(stream, WRITE_TIMEOUT)), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    let stop = async { drop(stopped.wait_for(|stop| *stop).await) };
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!("a connection ended early: {error}");
    }
}
