//! Both ends of a handshake, and what strangers may send instead.

use std::io::Cursor;
use std::net::{TcpListener, TcpStream};
use std::thread;

use proptest::prelude::*;
use reprise_dataflows::rules::definition::Definitions;

use super::*;

fn secret(text: &str) -> Secret {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    Secret::read(file.path()).unwrap()
}

fn introduction() -> Introduction {
    Introduction { process: 1, session: None, fingerprint: Fingerprint::new("run", 2, &Definitions::builtin()) }
}

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (near, listener.accept().unwrap().0)
}

/// The results of the connecting and the listening end, given the secret of each.
fn meet(connects: Option<Secret>, listens: Option<Secret>) -> (Result<()>, Result<Introduction>) {
    let (mut near, mut far) = pair();
    let listening = thread::spawn(move || {
        let listened = listen(&mut far, listens.as_ref());
        if listened.is_ok() {
            accept(&mut far).unwrap();
        }
        listened
    });
    let connected = connect(&mut near, connects.as_ref(), &introduction());
    drop(near);
    (connected, listening.join().unwrap())
}

#[test]
fn a_peer_with_the_secret_is_accepted() {
    for secret in [None, Some(secret("0123456789abcdef"))] {
        let (connected, listened) = meet(secret.clone(), secret);
        connected.unwrap();
        let listened = listened.unwrap();
        assert_eq!((listened.process, listened.fingerprint), (1, introduction().fingerprint));
    }
}

#[test]
fn a_peer_without_the_secret_is_refused_and_both_ends_report_it() {
    let (good, bad) = (secret("0123456789abcdef"), secret("0123456789abcdeF"));
    let (connected, listened) = meet(Some(bad), Some(good.clone()));
    let message = connected.unwrap_err();
    assert!(message.is::<Refused>() && message.to_string().contains("another secret"), "{message:#}");
    assert!(listened.unwrap_err().to_string().contains("does not know the secret"));
    for (connects, listens) in [(None, Some(good.clone())), (Some(good), None)] {
        let (connected, listened) = meet(connects, listens);
        for message in [connected.unwrap_err(), listened.unwrap_err()] {
            assert!(message.to_string().contains("--cluster-secret-file"), "{message:#}");
        }
    }
}

/// A stranger that listens may send our own proof back, which proves nothing.
#[test]
fn a_proof_that_is_sent_back_proves_nothing() {
    let (mut near, mut far) = pair();
    let mirror = thread::spawn(move || {
        let (_, hello) = receive_hello(&mut far).unwrap();
        far.write_all(&hello).unwrap();
        let mut proof = [0; PROOF_BYTES];
        far.read_exact(&mut proof).unwrap();
        far.write_all(&proof).unwrap();
        far.read(&mut [0; 1]).unwrap()
    });
    let message = connect(&mut near, Some(&secret("0123456789abcdef")), &introduction()).unwrap_err();
    assert!(message.to_string().contains("which program listens there"), "{message:#}");
    drop(near);
    assert_eq!(mirror.join().unwrap(), 0, "nothing more is sent to a stranger");
}

#[test]
fn another_version_is_named_at_both_ends() {
    let (mut near, mut far) = pair();
    let listening = thread::spawn(move || listen(&mut far, None).unwrap_err().to_string());
    let body = br#"{"version":"9.9.9","nonce":[1,2,3,4],"has_secret":false}"#;
    near.write_all(&[MAGIC, &(body.len() as u32).to_be_bytes()[..], body].concat()).unwrap();
    let (theirs, _) = receive_hello(&mut near).unwrap();
    assert_eq!(theirs.version, version());
    let message = listening.join().unwrap();
    assert!(message.contains("9.9.9") && message.contains(version()), "{message}");
}

/// A stream of what a stranger sends, which records what it is answered.
struct Stranger {
    says: Cursor<Vec<u8>>,
    hears: Vec<u8>,
}

impl Read for Stranger {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.says.read(buffer)
    }
}

impl Write for Stranger {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.hears.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

proptest! {
    /// Whatever a stranger sends is an error, and it is answered with our hello at most.
    #[test]
    fn strangers_are_not_let_in(
        bytes in prop::collection::vec(any::<u8>(), 0..2000),
        prefix in 0usize..3,
        has_secret: bool,
    ) {
        let hello = br#"{"version":"0.1.0","nonce":[1,2,3,4],"has_secret":true}"#;
        let greeting = [MAGIC, &(hello.len() as u32).to_be_bytes()[..], hello].concat();
        let says = [[&[][..], MAGIC, &greeting][prefix], &bytes].concat();
        let mut stranger = Stranger { says: Cursor::new(says), hears: Vec::new() };
        let secret = has_secret.then(|| secret("0123456789abcdef"));
        prop_assert!(listen(&mut stranger, secret.as_ref()).is_err());
        prop_assert!(stranger.hears.len() <= MAGIC.len() + 4 + HELLO_BYTES_MAX);
    }
}

/// No memory is reserved for a claimed length, and one above the limit is refused at once.
#[test]
fn a_claimed_length_costs_nothing() {
    for length in [u32::MAX, HELLO_BYTES_MAX as u32 + 1, 100] {
        let says = [MAGIC, &length.to_be_bytes()[..], b"short"].concat();
        let mut stranger = Stranger { says: Cursor::new(says), hears: Vec::new() };
        assert!(listen(&mut stranger, None).is_err());
        assert!(stranger.hears.is_empty());
    }
}
