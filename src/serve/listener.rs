//! Accepts connections and bounds what each may cost.
//!
//! `axum::serve` has no limit on the number of connections, and no timeout for a client that sends
//! its header at a byte per hour, so this file drives hyper directly. `connections.rs` decides
//! which connection ends when there are too many.

use std::convert::Infallible;
use std::net::TcpListener;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::{HeaderValue, Request, Response, header};
use axum::response::IntoResponse;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::connections::{Busy, ConnectionSlot, Connections, OPEN_MAX};
use super::probes::is_probe;
use super::problem::Problem;
use super::snapshot::PIECE_BYTES;
use super::write_timeout::{LEAST_RATE, Pace, WithWriteTimeout};

/// Sockets that may be open in addition to the connections that have a slot: connections that have
/// just lost theirs.
const ENDING_MAX: usize = 256;
/// How long a connection that has lost its slot may take to send the rest of its last answer.
const ENDING_TIMEOUT: Duration = Duration::from_secs(1);
/// The most headers of a request.
const HEADERS_MAX: usize = 64;
/// How far a client may fall behind [`LEAST_RATE`] before its connection ends.
const WRITE_PACE: Pace = Pace { patience: Duration::from_secs(30), least_rate: LEAST_RATE };
/// The timeout for the whole header of a request, and for the pause before it on a connection that
/// is kept alive.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// The most bytes of a request's header. Also the most bytes of an answer that a connection holds
/// unsent before it takes no more of the answer.
const BUFFER_BYTES_MAX: usize = 16 << 10;
/// How long open requests may take once the server stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);
/// The limit of open files and sockets that the process asks the system for.
const FILES_MAX: u64 = 65_536;
/// The part of this limit that connections may use, as a divisor: a quarter. The lake and Kafka
/// need files as well.
const FILES_SHARE: usize = 4;
/// The pause after a failed accept: when file descriptors have run out, an immediate retry only
/// burns a core.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `router` until `stopped` becomes true. `limits_addresses` is false where a proxy sends
/// the requests of many clients from one address.
pub async fn serve(socket: TcpListener, router: Router, limits_addresses: bool, stopped: watch::Receiver<bool>) {
    let socket = match tokio::net::TcpListener::from_std(socket) {
        Ok(socket) => socket,
        Err(error) => return tracing::error!("HTTP cannot be served: {error}"),
    };
    let open_max = OPEN_MAX.min(file_limit() / FILES_SHARE);
    let sockets = Arc::new(Semaphore::new(open_max + ENDING_MAX));
    let connections = Arc::new(Connections::new(open_max, limits_addresses));
    let turns = Arc::new(Semaphore::new(1));
    let accept_all = async {
        loop {
            // The semaphore is never closed, so waiting for a permit never fails.
            let Ok(permit) = sockets.clone().acquire_owned().await else { return };
            match socket.accept().await {
                Ok((stream, client)) => {
                    let place = Arc::new(connections.admit(client.ip()));
                    let router = Requests { router: router.clone(), turns: turns.clone() };
                    tokio::spawn(connection(stream, router, place, stopped.clone(), permit));
                }
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
    let _ = tokio::time::timeout(STOP_TIMEOUT, sockets.acquire_many((open_max + ENDING_MAX) as u32)).await;
}

/// The router, with the queue in which requests wait before they are worked on.
#[derive(Clone)]
struct Requests {
    router: Router,
    /// One permit. Before a request is worked on it acquires the permit, yields once to all other
    /// tasks of this thread, and releases it. So requests that a client has pipelined are not
    /// answered in one go, and a probe waits for at most one of them.
    turns: Arc<Semaphore>,
}

impl Requests {
    async fn yield_to_others(&self) {
        // The semaphore is never closed.
        let turn = self.turns.acquire().await;
        tokio::task::yield_now().await;
        drop(turn);
    }
}

/// Raises the soft limit of open files and sockets to the hard limit, at most to [`FILES_MAX`], and
/// returns the limit that now holds. Most shells set the soft limit to 1024, less than a listener
/// has connection slots.
fn file_limit() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(FILES_MAX, |most| most.min(FILES_MAX));
    let current = limit.current.unwrap_or(FILES_MAX);
    if current >= wanted {
        return usize::try_from(current).unwrap_or(usize::MAX);
    }
    match setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), ..limit }) {
        Ok(()) => wanted as usize,
        Err(error) => {
            tracing::debug!("the limit of open files stays as it is: {error}");
            current as usize
        }
    }
}

/// Answers the requests of one connection, one after the other. Its errors are only logged at debug
/// level, since the client causes them: it has gone away, or has sent invalid HTTP and got an
/// answer that says so.
async fn connection(
    stream: TcpStream,
    requests: Requests,
    place: Arc<ConnectionSlot>,
    mut stopped: watch::Receiver<bool>,
    _permit: OwnedSemaphorePermit,
) {
    let of_connection = place.clone();
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(BUFFER_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(
            TokioIo::new(WithWriteTimeout::new(stream, WRITE_PACE)),
            service_fn(move |request| answer(requests.clone(), of_connection.clone(), request)),
        );
    let mut connection = std::pin::pin!(connection);
    let stop = async { drop(stopped.wait_for(|stop| *stop).await) };
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        () = place.ending.notified() => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(ENDING_TIMEOUT, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!("a connection ended early: {error}");
    }
}

/// Answers one request. The connection counts as busy until all of the answer has been taken.
async fn answer(
    requests: Requests,
    place: Arc<ConnectionSlot>,
    mut request: Request<Incoming>,
) -> Result<Response<Tracked>, Infallible> {
    let busy = place.busy();
    if !matches!(request.uri().path(), "/healthz" | "/readyz") {
        requests.yield_to_others().await;
    }
    request.extensions_mut().insert(place.client());
    let mut response = if place.is_crowded && !is_probe(request.uri().path()) {
        Problem::unavailable(
            "all connections are busy, or too many of them come from your address: try again later. If there is a proxy in front, \
             name the host that clients use with --allowed-host",
        )
        .into_response()
    } else {
        TowerToHyperService::new(requests.router).call(request).await?
    };
    if place.is_crowded {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response.map(|body| Tracked { body, rest: Bytes::new(), _busy: busy }))
}

/// A body that is passed on in pieces of at most [`PIECE_BYTES`]. The connection counts as busy
/// until the body is dropped.
struct Tracked {
    body: Body,
    rest: Bytes,
    _busy: Busy,
}

impl HttpBody for Tracked {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(context)).map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => self.rest = data,
                Some(Ok(Err(other))) => return Poll::Ready(Some(Ok(other))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        let length = self.rest.len().min(PIECE_BYTES);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, body) = (self.rest.len() as u64, self.body.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(body.lower() + rest);
        if let Some(upper) = body.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}
