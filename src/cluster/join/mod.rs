//! Forming a cluster: the processes find each other, compare their settings, and connect, as in the
//! diagram in [`super`].
//!
//! Until all processes have joined, one that fails may be started again: process 0 forgets a peer
//! that has closed its connection. From then on a lost connection ends the start.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use tracing::{info, warn};

use super::acceptor::{Acceptor, Peer, has_hung_up};
use super::bounded::Bounded;
use super::fingerprint::Fingerprint;
use super::handshake::{self, ControlMessage, Introduction, Refused, Session};
use super::link::{Link, Lost};
use super::membership::Membership;

/// How often a wait checks for new connections, lost peers, the deadline and the stop flag.
pub const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// The wait between two attempts to connect to a process.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);
/// Limit for opening one connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How often process 0 logs which processes are missing.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// A cluster whose processes are all connected.
pub struct Joined {
    /// The membership of this process.
    pub membership: Membership,
    /// The link to each process, by its number; `None` for this process itself.
    pub links: Vec<Option<Link>>,
}

/// Joins the cluster of `membership`, whose processes must all have the same `fingerprint`. Returns
/// `None` if `stop` is set meanwhile. Afterwards `lost` is called when a peer is lost.
///
/// # Errors
/// If not all processes have joined within the join timeout, or one of them has other settings.
pub fn join(
    membership: &Membership,
    fingerprint: &Fingerprint,
    stop: &AtomicBool,
    lost: Lost,
) -> Result<Option<Joined>> {
    membership.check()?;
    let listener = listen(membership)?;
    let fingerprint = fingerprint.of_one_among(membership.addresses.len());
    let joining = Joining { membership, fingerprint, stop, deadline: Instant::now() + membership.join_timeout };
    let sockets = if membership.process == 0 { joining.lead(listener) } else { joining.follow(listener) };
    let sockets = match sockets {
        Err(_) if stop.load(Ordering::Relaxed) => return Ok(None),
        sockets => sockets?,
    };
    let link = |(peer, socket): (usize, Option<TcpStream>)| {
        let link = |socket| Link::new(socket, membership.name(peer), membership.stall_timeout, lost.clone());
        socket.map(link).transpose()
    };
    let links = sockets.into_iter().enumerate().map(link).collect::<io::Result<Vec<_>>>();
    Ok(Some(Joined {
        membership: membership.clone(),
        links: links.context("a connection of the cluster cannot be used")?,
    }))
}

fn listen(membership: &Membership) -> Result<TcpListener> {
    let addresses = membership.listen_addresses()?;
    let listener = TcpListener::bind(&addresses[..]).with_context(|| {
        format!("cannot listen for the other processes of the cluster on {addresses:?}: is the port in use, or is this no address of this machine? --cluster-listen chooses another")
    })?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

struct Joining<'a> {
    membership: &'a Membership,
    fingerprint: Fingerprint,
    stop: &'a AtomicBool,
    deadline: Instant,
}

impl Joining<'_> {
    /// As process 0: waits for all others, and tells them when all have joined and when all are
    /// connected.
    fn lead(&self, listener: TcpListener) -> Result<Vec<Option<TcpStream>>> {
        let session: Session = rand::random();
        let mut acceptor = Acceptor::new(listener, self.membership.secret.clone());
        let mut joined: Vec<Option<Peer>> = self.membership.addresses.iter().map(|_| None).collect();
        let mut logged_at = Instant::now();
        while joined.iter().skip(1).any(Option::is_none) {
            self.wait(|| missing(self.membership, &joined, acceptor.last_refusal()))?;
            for slot in &mut joined {
                if let Some(candidate) = slot.take_if(|candidate| candidate.has_left()) {
                    warn!("{} has left before all processes had joined", self.membership.name(candidate.process()));
                }
            }
            while let Some(candidate) = acceptor.next() {
                self.admit(candidate, &mut joined, &mut acceptor)?;
            }
            if logged_at.elapsed() >= LOG_INTERVAL {
                info!("waiting for {}", names(self.membership, &joined));
                logged_at = Instant::now();
            }
        }
        let mut sockets: Vec<Option<TcpStream>> =
            joined.into_iter().map(|slot| slot.map(|candidate| candidate.socket)).collect();
        self.send_to_all(&mut sockets, &ControlMessage::Welcome(session))?;
        for peer in 1..sockets.len() {
            self.await_message(peer, &sockets)?;
            let Some(socket) = &mut sockets[peer] else { continue };
            let message = self.receive(socket).with_context(|| self.lost_while_joining(peer))?;
            ensure!(
                message == ControlMessage::Connected,
                "{} sent {message:?} instead of Connected",
                self.membership.name(peer)
            );
        }
        self.send_to_all(&mut sockets, &ControlMessage::AllConnected)?;
        info!(session, processes = sockets.len(), "the cluster is complete");
        Ok(sockets)
    }

    /// Accepts a peer, or refuses it with a reason.
    fn admit(&self, mut candidate: Peer, joined: &mut [Option<Peer>], acceptor: &mut Acceptor) -> Result<()> {
        let process = candidate.process();
        let ours = self.membership.name(0);
        let refusal = if process == 0 || process >= joined.len() {
            Some(format!("it claims to be process {process}, and {ours} knows of {} processes", joined.len()))
        } else if let Some(other) = &joined[process] {
            Some(format!("process {process} has joined already, from {}", other.from))
        } else {
            self.fingerprint.difference(&candidate.introduction.fingerprint).map(|found| {
                let (what, theirs, ours_is) = (found.what, found.theirs, found.ours);
                format!("the processes disagree on the {what}: process {process} ({}) has {theirs}, and {ours} has {ours_is}", candidate.from)
            })
        };
        match refusal {
            Some(reason) => acceptor.refuse(candidate, &reason),
            None if handshake::accept(&mut candidate.socket).is_ok() => {
                info!(from = %candidate.from, "process {process} has joined");
                joined[process] = Some(candidate);
            }
            None => {}
        }
        Ok(())
    }

    /// As another process: connects to process 0, then to the processes with lower numbers, and
    /// accepts those with higher numbers.
    fn follow(&self, listener: TcpListener) -> Result<Vec<Option<TcpStream>>> {
        let own = self.membership.process;
        let (first, session) = self.find_session()?;
        let mut sockets: Vec<Option<TcpStream>> = self.membership.addresses.iter().map(|_| None).collect();
        sockets[0] = Some(first);
        for (peer, socket) in sockets.iter_mut().enumerate().take(own).skip(1) {
            *socket = Some(self.connect(peer, Some(session))?);
        }
        let mut acceptor = Acceptor::new(listener, self.membership.secret.clone());
        while sockets.iter().skip(own + 1).any(Option::is_none) {
            self.wait(|| format!("not all processes with higher numbers have joined; {}", acceptor.last_refusal()))?;
            self.check_connections(&sockets)?;
            while let Some(mut candidate) = acceptor.next() {
                let is_awaited =
                    sockets.get(candidate.process()).is_some_and(|slot| candidate.process() > own && slot.is_none());
                if candidate.introduction.session != Some(session) {
                    acceptor.refuse(candidate, "it belongs to another start of the cluster");
                } else if !is_awaited {
                    acceptor.refuse(candidate, &format!("{} does not wait for it", self.membership.name(own)));
                } else if handshake::accept(&mut candidate.socket).is_ok() {
                    let process = candidate.process();
                    sockets[process] = Some(candidate.socket);
                }
            }
        }
        if let Some(first) = &mut sockets[0] {
            handshake::send(&mut self.bounded(first), &ControlMessage::Connected)
                .with_context(|| self.lost_while_joining(0))?;
        }
        self.await_message(0, &sockets)?;
        if let Some(first) = &mut sockets[0] {
            let message = self.receive(first).with_context(|| self.lost_while_joining(0))?;
            ensure!(
                message == ControlMessage::AllConnected,
                "{} sent {message:?} instead of AllConnected",
                self.membership.name(0)
            );
        }
        info!(session, process = own, processes = sockets.len(), "joined the cluster");
        Ok(sockets)
    }

    /// A connection to process 0, and the session that it assigns when all processes have joined.
    /// Connects again if process 0 is started again before that.
    fn find_session(&self) -> Result<(TcpStream, Session)> {
        loop {
            let mut first = self.connect(0, None)?;
            match self.receive(&mut first) {
                Ok(ControlMessage::Welcome(session)) => return Ok((first, session)),
                Ok(message) => bail!("{} sent {message:?} instead of Welcome", self.membership.name(0)),
                Err(error) => {
                    self.wait(|| format!("{} has not accepted this process: {error:#}", self.membership.name(0)))?;
                }
            }
        }
    }

    /// Connects to `peer`, and tries again until the deadline while it is not running yet.
    fn connect(&self, peer: usize, session: Option<Session>) -> Result<TcpStream> {
        let introduction =
            Introduction { process: self.membership.process, session, fingerprint: self.fingerprint.clone() };
        loop {
            match self.try_connect(peer, &introduction) {
                Ok(socket) => return Ok(socket),
                Err(error) if error.is::<Refused>() => {
                    return Err(error.context(format!("{} refuses this process", self.membership.name(peer))));
                }
                Err(error) => {
                    let why = handshake::described(&error);
                    self.wait(|| format!("{} cannot be reached: {why}; is it running?", self.membership.name(peer)))?;
                    std::thread::sleep(RETRY_INTERVAL);
                }
            }
        }
    }

    fn try_connect(&self, peer: usize, introduction: &Introduction) -> Result<TcpStream> {
        let mut failed = anyhow!("it has no address");
        for address in self.membership.resolve(peer)? {
            match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
                Ok(mut socket) => {
                    handshake::connect(&mut self.bounded(&mut socket), self.membership.secret.as_ref(), introduction)?;
                    return Ok(socket);
                }
                Err(error) => failed = error.into(),
            }
        }
        Err(failed)
    }

    /// Fails if one of the connected processes has closed its connection.
    fn check_connections(&self, sockets: &[Option<TcpStream>]) -> Result<()> {
        let mut held = sockets.iter().enumerate().filter_map(|(peer, socket)| Some((peer, socket.as_ref()?)));
        held.try_for_each(|(peer, socket)| {
            ensure!(!has_hung_up(socket), self.lost_while_joining(peer));
            Ok(())
        })
    }

    /// Waits until `peer` has sent something. Fails if it or another process is lost meanwhile.
    fn await_message(&self, peer: usize, sockets: &[Option<TcpStream>]) -> Result<()> {
        let Some(socket) = &sockets[peer] else { return Ok(()) };
        loop {
            self.check_connections(sockets)?;
            socket.set_read_timeout(Some(LOOK_INTERVAL))?;
            if socket.peek(&mut [0]).is_ok() {
                return Ok(());
            }
            self.wait(|| {
                format!("{} does not report that it is connected with all others", self.membership.name(peer))
            })?;
        }
    }

    fn send_to_all(&self, sockets: &mut [Option<TcpStream>], message: &ControlMessage) -> Result<()> {
        for (peer, socket) in others(sockets) {
            handshake::send(&mut self.bounded(socket), message).with_context(|| self.lost_while_joining(peer))?;
        }
        Ok(())
    }

    fn receive(&self, socket: &mut TcpStream) -> Result<ControlMessage> {
        handshake::receive(&mut self.bounded(socket))
    }

    fn bounded<'b>(&'b self, socket: &'b mut TcpStream) -> Bounded<'b> {
        Bounded { socket, deadline: self.deadline, stop: self.stop }
    }

    fn lost_while_joining(&self, peer: usize) -> String {
        format!("{} was lost while the cluster was forming", self.membership.name(peer))
    }

    /// Sleeps for a moment. Fails at the deadline, with what is `wrong`, and when this process is
    /// to stop.
    fn wait(&self, wrong: impl FnOnce() -> String) -> Result<()> {
        if self.stop.load(Ordering::Relaxed) {
            bail!("stopped while the cluster was forming");
        }
        if Instant::now() >= self.deadline {
            let seconds = self.membership.join_timeout.as_secs_f64();
            bail!("the cluster did not form within {seconds} s (--join-timeout): {}", wrong());
        }
        std::thread::sleep(LOOK_INTERVAL);
        Ok(())
    }
}

fn others<T>(sockets: &mut [Option<T>]) -> impl Iterator<Item = (usize, &mut T)> {
    sockets.iter_mut().enumerate().filter_map(|(peer, socket)| Some((peer, socket.as_mut()?)))
}

fn names(membership: &Membership, joined: &[Option<Peer>]) -> String {
    let missing = joined.iter().enumerate().skip(1).filter(|(_, slot)| slot.is_none());
    missing.map(|(process, _)| membership.name(process)).collect::<Vec<_>>().join(", ")
}

fn missing(membership: &Membership, joined: &[Option<Peer>], last_refusal: &str) -> String {
    let names = names(membership, joined);
    format!("{names} did not join; are they running, with the same hostfile? {last_refusal}").trim_end().to_owned()
}

#[cfg(test)]
mod tests;
