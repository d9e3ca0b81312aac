//! The handshake by which two processes prove to each other that they belong to the same cluster,
//! before either trusts a message of the other.
//!
//! ```text
//! connecting process                              listening process
//!   MAGIC, Hello{version, nonce, has_secret} ──►
//!                                            ◄──  MAGIC, Hello{version, nonce, has_secret}
//!   proof over both hellos                   ──►  checked before anything else is sent
//!                                            ◄──  proof over both hellos
//!   Introduction{process, session, fingerprint}
//!                                            ──►
//!                                            ◄──  HandshakeAnswer: Accepted, or Refused{reason}
//! ```
//!
//! Without a secret there are no proofs, and the cluster must be on loopback
//! ([`crate::cluster::membership`]). Messages are JSON with their length in front; nothing longer
//! than the limits is read, and the socket's deadline bounds how long the handshake takes. Before
//! the connecting process has proved itself, the listening one reveals nothing of itself but its
//! version and whether it has a secret. What follows the handshake is neither encrypted nor signed:
//! the network between the processes has to be trusted, or made so (see `deploy/README.md`).

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::fingerprint::Fingerprint;
use super::secret::{PROOF_BYTES, Secret};

/// The first bytes of every connection; the number is raised when the format of what follows
/// changes.
const MAGIC: &[u8; 18] = b"reprise-cluster/1\n";
const HELLO_BYTES_MAX: usize = 1024;
/// Limit of a message after the proofs.
const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// The roles that are part of a proof.
const CONNECTS: &str = "connect";
const LISTENS: &str = "listen";

/// A random number that identifies one start of the cluster.
pub type Session = u64;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Hello {
    version: String,
    /// 256 random bits, as many as a proof has.
    nonce: [u64; 4],
    has_secret: bool,
}

/// What the connecting process says of itself after the proofs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Introduction {
    /// Its number in the cluster.
    pub process: usize,
    /// The session that it belongs to; `None` in a connection to process 0, which assigns it.
    pub session: Option<Session>,
    /// Its settings.
    pub fingerprint: Fingerprint,
}

#[derive(Debug, Serialize, Deserialize)]
enum HandshakeAnswer {
    Accepted,
    Refused(String),
}

/// Messages between process 0 and the others while the cluster forms.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ControlMessage {
    /// From process 0: all processes have joined.
    Welcome(Session),
    /// To process 0: the sender is connected with all other processes.
    Connected,
    /// From process 0: all processes are connected with all others.
    AllConnected,
}

impl Hello {
    fn new(secret: Option<&Secret>) -> Self {
        Self { version: version().to_owned(), nonce: rand::random(), has_secret: secret.is_some() }
    }

    /// Fails if this hello of a peer shows another version, or that only one end has a secret.
    fn check(&self, secret: Option<&Secret>) -> Result<()> {
        let theirs: String = self.version.chars().filter(|c| !c.is_control()).take(40).collect();
        ensure!(
            self.version == version(),
            "it runs reprise {theirs}, and this process runs reprise {}: all processes of a cluster need the same",
            version()
        );
        let [theirs, ours] = [self.has_secret, secret.is_some()].map(|has| if has { "a secret" } else { "none" });
        ensure!(theirs == ours, "it has {theirs}, and this process has {ours}: give all of them --cluster-secret-file");
        Ok(())
    }
}

fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// Introduces this process to the one that listens at the other end of `stream`.
///
/// # Errors
/// [`Refused`] if the other end refuses us, or we refuse it, for a reason that trying again does
/// not change; any other error if the connection failed.
pub fn connect(stream: &mut (impl Read + Write), secret: Option<&Secret>, ours: &Introduction) -> Result<()> {
    let hello = send_hello(stream, secret)?;
    let (theirs, hello_bytes) = receive_hello(stream)?;
    theirs.check(secret).map_err(|error| anyhow!(Refused(format!("{error:#}"))))?;
    let transcript = [hello, hello_bytes].concat();
    if let Some(secret) = secret {
        stream.write_all(&secret.prove(CONNECTS, &transcript))?;
        let mut proof = [0; PROOF_BYTES];
        stream.read_exact(&mut proof).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset => anyhow!(Refused(
                "it closed the connection after our proof: does it have another secret? Give all processes the same --cluster-secret-file"
                    .to_owned()
            )),
            _ => anyhow!(error),
        })?;
        if !secret.is_proved(LISTENS, &transcript, &proof) {
            bail!(Refused("it does not know the secret of this cluster: which program listens there?".to_owned()));
        }
    }
    send(stream, ours)?;
    match receive(stream)? {
        HandshakeAnswer::Accepted => Ok(()),
        HandshakeAnswer::Refused(reason) => bail!(Refused(reason)),
    }
}

/// Runs the handshake with a process that has connected to us. The caller must answer with
/// [`accept`] or [`refuse`].
///
/// # Errors
/// If the peer does not prove that it belongs to the cluster, or the connection fails.
pub fn listen(stream: &mut (impl Read + Write), secret: Option<&Secret>) -> Result<Introduction> {
    let (theirs, hello_bytes) = receive_hello(stream)?;
    // Sent even to a peer of another version, so that the messages of both ends can name both.
    let hello = send_hello(stream, secret)?;
    theirs.check(secret)?;
    let transcript = [hello_bytes, hello].concat();
    if let Some(secret) = secret {
        let mut proof = [0; PROOF_BYTES];
        stream.read_exact(&mut proof).context("it did not prove that it knows the secret")?;
        ensure!(secret.is_proved(CONNECTS, &transcript, &proof), "it does not know the secret of this cluster");
        stream.write_all(&secret.prove(LISTENS, &transcript))?;
    }
    receive(stream)
}

/// Tells the other end that it may join.
///
/// # Errors
/// If it has closed the connection.
pub fn accept(stream: &mut impl Write) -> Result<()> {
    send(stream, &HandshakeAnswer::Accepted)
}

/// Tells the other end that it may not join, and why.
///
/// # Errors
/// If it has closed the connection.
pub fn refuse(stream: &mut impl Write, reason: &str) -> Result<()> {
    send(stream, &HandshakeAnswer::Refused(reason.to_owned()))
}

/// The error that the two processes do not belong together, with the reason. Trying again does not
/// help.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Refused(String);

fn send_hello(stream: &mut impl Write, secret: Option<&Secret>) -> Result<Vec<u8>> {
    let body = serde_json::to_vec(&Hello::new(secret))?;
    let hello = [MAGIC, &(body.len() as u32).to_be_bytes()[..], &body].concat();
    stream.write_all(&hello)?;
    Ok(hello)
}

fn receive_hello(stream: &mut impl Read) -> Result<(Hello, Vec<u8>)> {
    let mut magic = [0; MAGIC.len()];
    stream.read_exact(&mut magic).context("it sent nothing")?;
    ensure!(magic == *MAGIC, "it does not speak the protocol of a reprise cluster");
    let (body, bytes) = receive_bytes(stream, HELLO_BYTES_MAX)?;
    let hello = serde_json::from_slice(&body).context("its greeting is damaged")?;
    Ok((hello, [&magic[..], &bytes, &body].concat()))
}

/// Sends a message, with its length in front.
///
/// # Errors
/// If it is too long, or the connection fails.
pub fn send(stream: &mut impl Write, message: &impl Serialize) -> Result<()> {
    let body = serde_json::to_vec(message)?;
    ensure!(body.len() <= MESSAGE_BYTES_MAX, "a message of {} bytes is too long to be sent", body.len());
    stream.write_all(&[&(body.len() as u32).to_be_bytes()[..], &body].concat())?;
    Ok(())
}

/// Receives a message that [`send`] has sent.
///
/// # Errors
/// If it is too long, or no `T`, or the connection fails.
pub fn receive<T: DeserializeOwned>(stream: &mut impl Read) -> Result<T> {
    let (body, _) = receive_bytes(stream, MESSAGE_BYTES_MAX)?;
    serde_json::from_slice(&body).context("its message is invalid")
}

fn receive_bytes(stream: &mut impl Read, bytes_max: usize) -> Result<(Vec<u8>, [u8; 4])> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).context("it sent nothing more")?;
    let bytes = u32::from_be_bytes(length) as usize;
    ensure!(bytes <= bytes_max, "its message has {bytes} bytes, and {bytes_max} are allowed");
    let mut body = Vec::new();
    // The claimed length may be false, so the buffer grows with the bytes that arrive.
    stream.take(bytes as u64).read_to_end(&mut body)?;
    ensure!(body.len() == bytes, "it closed the connection in the middle of a message");
    Ok((body, length))
}

/// The reason why a handshake failed, for messages.
pub fn described(error: &anyhow::Error) -> String {
    let kind = error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>()).map(std::io::Error::kind);
    match kind {
        Some(ErrorKind::WouldBlock | ErrorKind::TimedOut) => "it did not answer in time".to_owned(),
        _ => format!("{error:#}"),
    }
}

/// Logs that the connection `from` this address was dropped because of `error`.
pub fn warn_of(from: SocketAddr, error: &anyhow::Error) {
    tracing::warn!(%from, "dropped a connection to the port of the cluster: {}", described(error));
}

#[cfg(test)]
mod tests;
