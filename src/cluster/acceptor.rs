//! Where others knock: each is listened to on a thread of its own, for a short time, and only who has proved to belong to
//! the cluster is let through.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use tracing::warn;

use super::bounded::Bounded;
use super::handshake::{self, Introduction};
use super::secret::Secret;

/// For a whole handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Who knocks while so many others do is turned away; a process of ours comes again.
const KNOCKING_MAX: usize = 64;
/// What is logged of strangers: a port scan should not fill a disk.
const WARNINGS_MAX: usize = 20;

/// A process that belongs to the cluster, and waits for our answer.
pub struct Peer {
    pub socket: TcpStream,
    pub from: SocketAddr,
    pub introduction: Introduction,
}

impl Peer {
    pub fn process(&self) -> usize {
        self.introduction.process
    }

    /// Whether it has hung up. It has nothing to say before it is told something.
    pub fn has_left(&self) -> bool {
        has_hung_up(&self.socket)
    }
}

/// Whether the other end has closed a connection. It may have said something that has not been read.
pub fn has_hung_up(socket: &TcpStream) -> bool {
    let peeked = socket.set_nonblocking(true).and_then(|()| socket.peek(&mut [0]));
    let _ = socket.set_nonblocking(false);
    match peeked {
        Ok(bytes) => bytes == 0,
        Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
    }
}

pub struct Acceptor {
    listener: TcpListener,
    secret: Option<Secret>,
    let_in: Sender<Peer>,
    guests: Receiver<Peer>,
    knocking: Arc<AtomicUsize>,
    warnings: Arc<AtomicUsize>,
    last_refusal: String,
}

impl Acceptor {
    /// A door for who knows the `secret`. `listener` does not block.
    pub fn new(listener: TcpListener, secret: Option<Secret>) -> Self {
        let (let_in, guests) = channel();
        let (knocking, warnings, last_refusal) = Default::default();
        Self { listener, secret, let_in, guests, knocking, warnings, last_refusal }
    }

    /// The next guest, if one has come.
    pub fn next(&mut self) -> Option<Peer> {
        // A flood of connections must not keep us here.
        for _ in 0..KNOCKING_MAX {
            let Ok((socket, from)) = self.listener.accept() else { break };
            if self.knocking.load(Ordering::Relaxed) >= KNOCKING_MAX {
                continue;
            }
            self.knocking.fetch_add(1, Ordering::Relaxed);
            let (secret, let_in) = (self.secret.clone(), self.let_in.clone());
            let (knocking, warnings) = (self.knocking.clone(), self.warnings.clone());
            let answer = move || {
                match introduced(socket, from, secret.as_ref()) {
                    Ok(peer) => drop(let_in.send(peer)),
                    Err(error) if warnings.fetch_add(1, Ordering::Relaxed) < WARNINGS_MAX => {
                        handshake::warn_of(from, &error);
                    }
                    Err(_) => {}
                }
                knocking.fetch_sub(1, Ordering::Relaxed);
            };
            // Without a thread it is as if nobody had knocked; a process of ours comes again.
            if std::thread::Builder::new().name("reprise-door".to_owned()).spawn(answer).is_err() {
                self.knocking.fetch_sub(1, Ordering::Relaxed);
            }
        }
        self.guests.try_recv().ok()
    }

    /// Tells a guest that it cannot come in.
    pub fn refuse(&mut self, mut peer: Peer, reason: &str) {
        warn!(from = %peer.from, "refused process {}: {reason}", peer.process());
        // Best effort: it may have gone.
        let _ = handshake::refuse(&mut peer.socket, reason);
        self.last_refusal = format!("The last one that was refused: {reason}");
    }

    /// For who wonders why nobody comes; empty if nobody was refused.
    pub fn last_refusal(&self) -> &str {
        &self.last_refusal
    }
}

fn introduced(mut socket: TcpStream, from: SocketAddr, secret: Option<&Secret>) -> anyhow::Result<Peer> {
    let never = AtomicBool::new(false);
    // What has been accepted from a listener that does not block, may not block either.
    socket.set_nonblocking(false)?;
    socket.set_nodelay(true)?;
    let deadline = Instant::now() + HANDSHAKE_TIMEOUT;
    let mut bounded = Bounded { socket: &mut socket, deadline, stop: &never };
    let introduction = handshake::listen(&mut bounded, secret)?;
    Ok(Peer { socket, from, introduction })
}
