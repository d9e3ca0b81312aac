//! Accepts connections from other processes. Each handshake runs on a thread of its own within a
//! time limit, and only a peer that has proved that it belongs to the cluster is passed on.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use tracing::warn;

use super::bounded::Bounded;
use super::handshake::{self, Introduction};
use super::secret::Secret;

/// Limit for a whole handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Handshakes that may run at the same time. Further connections are dropped; a process of the
/// cluster tries again.
const HANDSHAKES_MAX: usize = 64;
/// Failed handshakes that are logged: a port scan must not fill the disk with log lines.
const WARNINGS_MAX: usize = 20;

/// A process that has proved that it belongs to the cluster, and waits for our answer.
pub struct Peer {
    /// The connection to it.
    pub socket: TcpStream,
    /// The address that it connected from.
    pub from: SocketAddr,
    /// What it said of itself in the handshake.
    pub introduction: Introduction,
}

impl Peer {
    /// The number that it gave as its own.
    pub fn process(&self) -> usize {
        self.introduction.process
    }

    /// Whether it has closed the connection. A peer sends nothing before it gets our answer, so
    /// reading ahead takes no message from it.
    pub fn has_left(&self) -> bool {
        has_hung_up(&self.socket)
    }
}

/// Whether the other end has closed a connection and nothing that it sent is left to be read.
/// Consumes no bytes.
pub fn has_hung_up(socket: &TcpStream) -> bool {
    let peeked = socket.set_nonblocking(true).and_then(|()| socket.peek(&mut [0]));
    let _ = socket.set_nonblocking(false);
    match peeked {
        Ok(bytes) => bytes == 0,
        Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
    }
}

/// Listens for peers, and collects those whose handshake succeeded.
pub struct Acceptor {
    listener: TcpListener,
    secret: Option<Secret>,
    accepted: Sender<Peer>,
    peers: Receiver<Peer>,
    handshakes: Arc<AtomicUsize>,
    warnings: Arc<AtomicUsize>,
    last_refusal: String,
}

impl Acceptor {
    /// An acceptor of peers that know the `secret`. `listener` must be non-blocking.
    pub fn new(listener: TcpListener, secret: Option<Secret>) -> Self {
        let (accepted, peers) = channel();
        let (handshakes, warnings, last_refusal) = Default::default();
        Self { listener, secret, accepted, peers, handshakes, warnings, last_refusal }
    }

    /// Starts a handshake for each new connection, and returns the next peer that has completed
    /// one, if any. Does not block.
    pub fn next(&mut self) -> Option<Peer> {
        // Bounded, so that a flood of connections does not keep us in this loop.
        for _ in 0..HANDSHAKES_MAX {
            let Ok((socket, from)) = self.listener.accept() else { break };
            if self.handshakes.load(Ordering::Relaxed) >= HANDSHAKES_MAX {
                continue;
            }
            self.handshakes.fetch_add(1, Ordering::Relaxed);
            let (secret, accepted) = (self.secret.clone(), self.accepted.clone());
            let (handshakes, warnings) = (self.handshakes.clone(), self.warnings.clone());
            let handshake = move || {
                match shake_hands(socket, from, secret.as_ref()) {
                    Ok(peer) => drop(accepted.send(peer)),
                    Err(error) if warnings.fetch_add(1, Ordering::Relaxed) < WARNINGS_MAX => {
                        handshake::warn_of(from, &error);
                    }
                    Err(_) => {}
                }
                handshakes.fetch_sub(1, Ordering::Relaxed);
            };
            // If no thread can be started, the connection is dropped; a process of the cluster
            // tries again.
            if std::thread::Builder::new().name("reprise-accept".to_owned()).spawn(handshake).is_err() {
                self.handshakes.fetch_sub(1, Ordering::Relaxed);
            }
        }
        self.peers.try_recv().ok()
    }

    /// Refuses a peer, tells it the `reason`, and closes the connection.
    pub fn refuse(&mut self, mut peer: Peer, reason: &str) {
        warn!(from = %peer.from, "refused process {}: {reason}", peer.process());
        // Best effort: the peer may have closed the connection.
        let _ = handshake::refuse(&mut peer.socket, reason);
        self.last_refusal = format!("Last refusal: {reason}");
    }

    /// The last refusal, as a sentence to append to the error that a process is missing; empty if
    /// there was none.
    pub fn last_refusal(&self) -> &str {
        &self.last_refusal
    }
}

fn shake_hands(mut socket: TcpStream, from: SocketAddr, secret: Option<&Secret>) -> anyhow::Result<Peer> {
    let never = AtomicBool::new(false);
    // On some systems an accepted socket inherits the non-blocking mode of its listener.
    socket.set_nonblocking(false)?;
    socket.set_nodelay(true)?;
    let deadline = Instant::now() + HANDSHAKE_TIMEOUT;
    let mut bounded = Bounded { socket: &mut socket, deadline, stop: &never };
    let introduction = handshake::listen(&mut bounded, secret)?;
    Ok(Peer { socket, from, introduction })
}
