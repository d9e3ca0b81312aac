//! How two processes find out that they belong to the same cluster, before either believes a word of the other.
//!
//! ```text
//! who connects                                    who listens
//!   MAGIC, Hello{version, nonce, has_secret} ──►
//!                                            ◄──  MAGIC, Hello{version, nonce, has_secret}
//!   proof over both hellos                   ──►  looked at before anything else is said
//!                                            ◄──  proof over both hellos
//!   Introduction{process, session, profile}  ──►
//!                                            ◄──  HandshakeAnswer: Accepted, or Refused{reason}
//! ```
//!
//! Without a secret there are no proofs, and then the cluster is on loopback only ([`crate::cluster::membership`]). Messages are JSON
//! after their length; nothing longer than the limits is read, and the socket's timeouts bound how long it takes. Who listens
//! says nothing of itself but its version before the other has proved itself. What follows the handshake is neither encrypted nor
//! signed: the network between the processes has to be trusted, or made so (see `deploy/README.md`).

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::fingerprint::Fingerprint;
use super::secret::{PROOF_BYTES, Secret};

/// What every connection begins with; the number is raised when what follows changes its form.
const MAGIC: &[u8; 18] = b"reprise-cluster/1\n";
const HELLO_BYTES_MAX: usize = 1024;
/// Of what is said after the proofs.
const MESSAGE_BYTES_MAX: usize = 4 << 20;
const CONNECTS: &str = "connect";
const LISTENS: &str = "listen";

/// Names one start of the cluster.
pub type Session = u64;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Hello {
    version: String,
    /// As many random bits as a proof has.
    nonce: [u64; 4],
    has_secret: bool,
}

/// Who connects, and what for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Introduction {
    pub process: usize,
    /// Process 0 gives it, so who connects there has none yet.
    pub session: Option<Session>,
    pub fingerprint: Fingerprint,
}

#[derive(Debug, Serialize, Deserialize)]
enum HandshakeAnswer {
    Accepted,
    Refused(String),
}

/// What process 0 and the others say to each other until timely takes over.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ControlMessage {
    /// From process 0: all have come.
    Welcome(Session),
    /// To process 0: I am connected with everybody.
    Linked,
    /// From process 0: so are all others.
    Together,
}

impl Hello {
    fn new(secret: Option<&Secret>) -> Self {
        Self { version: version().to_owned(), nonce: rand::random(), has_secret: secret.is_some() }
    }

    /// Says what keeps us from talking to who has said this.
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
/// [`Refused`] if the other end says that we do not belong there; any other error if nothing sensible came.
pub fn connect(stream: &mut (impl Read + Write), secret: Option<&Secret>, ours: &Introduction) -> Result<()> {
    let hello = send_hello(stream, secret)?;
    let (theirs, said) = receive_hello(stream)?;
    theirs.check(secret).map_err(|error| anyhow!(Refused(format!("{error:#}"))))?;
    let said = [hello, said].concat();
    if let Some(secret) = secret {
        stream.write_all(&secret.prove(CONNECTS, &said))?;
        let mut proof = [0; PROOF_BYTES];
        stream.read_exact(&mut proof).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset => anyhow!(Refused(
                "it hung up on our proof: has it another secret? Give all processes the same --cluster-secret-file"
                    .to_owned()
            )),
            _ => anyhow!(error),
        })?;
        if !secret.is_proved(LISTENS, &said, &proof) {
            bail!(Refused("it does not know the secret of this cluster: who listens there?".to_owned()));
        }
    }
    send(stream, ours)?;
    match receive(stream)? {
        HandshakeAnswer::Accepted => Ok(()),
        HandshakeAnswer::Refused(reason) => bail!(Refused(reason)),
    }
}

/// Learns who has connected to us. It is to be answered with [`accept`] or [`refuse`].
pub fn listen(stream: &mut (impl Read + Write), secret: Option<&Secret>) -> Result<Introduction> {
    let (theirs, said) = receive_hello(stream)?;
    // Said even to who runs another version, so that both ends can name both.
    let hello = send_hello(stream, secret)?;
    theirs.check(secret)?;
    let said = [said, hello].concat();
    if let Some(secret) = secret {
        let mut proof = [0; PROOF_BYTES];
        stream.read_exact(&mut proof).context("it did not prove that it knows the secret")?;
        ensure!(secret.is_proved(CONNECTS, &said, &proof), "it does not know the secret of this cluster");
        stream.write_all(&secret.prove(LISTENS, &said))?;
    }
    receive(stream)
}

pub fn accept(stream: &mut impl Write) -> Result<()> {
    send(stream, &HandshakeAnswer::Accepted)
}

pub fn refuse(stream: &mut impl Write, reason: &str) -> Result<()> {
    send(stream, &HandshakeAnswer::Refused(reason.to_owned()))
}

/// That the other end will not have us.
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
    stream.read_exact(&mut magic).context("it said nothing")?;
    ensure!(magic == *MAGIC, "it does not speak as a process of a reprise cluster does");
    let (body, bytes) = receive_bytes(stream, HELLO_BYTES_MAX)?;
    let hello = serde_json::from_slice(&body).context("its greeting is damaged")?;
    Ok((hello, [&magic[..], &bytes, &body].concat()))
}

pub fn send(stream: &mut impl Write, message: &impl Serialize) -> Result<()> {
    let body = serde_json::to_vec(message)?;
    ensure!(body.len() <= MESSAGE_BYTES_MAX, "a message of {} bytes is too long to be sent", body.len());
    stream.write_all(&[&(body.len() as u32).to_be_bytes()[..], &body].concat())?;
    Ok(())
}

pub fn receive<T: DeserializeOwned>(stream: &mut impl Read) -> Result<T> {
    let (body, _) = receive_bytes(stream, MESSAGE_BYTES_MAX)?;
    serde_json::from_slice(&body).context("what it said is damaged")
}

fn receive_bytes(stream: &mut impl Read, bytes_max: usize) -> Result<(Vec<u8>, [u8; 4])> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).context("it said no more")?;
    let bytes = u32::from_be_bytes(length) as usize;
    ensure!(bytes <= bytes_max, "it has {bytes} bytes to say, and {bytes_max} are allowed");
    let mut body = Vec::new();
    // A length costs nothing to claim, so room is made for what really comes.
    stream.take(bytes as u64).read_to_end(&mut body)?;
    ensure!(body.len() == bytes, "it stopped in the middle of what it said");
    Ok((body, length))
}

/// What is told of a connection that did not become one.
pub fn described(error: &anyhow::Error) -> String {
    let kind = error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>()).map(std::io::Error::kind);
    match kind {
        Some(ErrorKind::WouldBlock | ErrorKind::TimedOut) => "it did not say what it has to in time".to_owned(),
        _ => format!("{error:#}"),
    }
}

/// Logs a connection that was dropped.
pub fn warn_of(from: SocketAddr, error: &anyhow::Error) {
    tracing::warn!(%from, "dropped a connection to the port of the cluster: {}", described(error));
}

#[cfg(test)]
mod tests;
