//! A link between two sockets of this process: what is written arrives, and a lost peer is noticed.

use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use proptest::prelude::*;

use super::*;

const STALL_TIMEOUT: Duration = Duration::from_secs(1);

fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (near, listener.accept().unwrap().0)
}

/// A link, and a channel for the messages about its loss.
fn link(socket: TcpStream, stall_timeout: Duration) -> (Link, Receiver<String>) {
    let (lost, losses) = channel();
    let lost = Mutex::new(lost);
    let lost = Arc::new(move |error: anyhow::Error| drop(lost.lock().unwrap().send(error.to_string())));
    (Link::new(socket, "process 7 (host:1)".to_owned(), stall_timeout, lost).unwrap(), losses)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Whatever the sizes of the writes and of the reader's buffer.
    #[test]
    fn bytes_arrive_as_sent(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3000), 0..20),
        buffer_bytes in 1usize..5000,
    ) {
        let (near, far) = sockets();
        let ((mut near, near_losses), (mut far, far_losses)) = (link(near, STALL_TIMEOUT), link(far, STALL_TIMEOUT));
        let expected = pieces.concat();
        let writer = thread::spawn(move || {
            pieces.iter().for_each(|piece| near.write_all(piece).unwrap());
            Stream::shutdown(&near, Shutdown::Write).unwrap();
            near
        });
        let (mut found, mut buffer) = (Vec::new(), vec![0; buffer_bytes]);
        while let read @ 1.. = far.read(&mut buffer).unwrap() {
            found.extend_from_slice(&buffer[..read]);
        }
        let near = writer.join().unwrap();
        prop_assert!(found == expected);
        prop_assert!(near.sent_bytes() >= expected.len() as u64);
        prop_assert!(near_losses.try_recv().is_err() && far_losses.try_recv().is_err());
    }

    /// Invalid bytes from a broken peer do no more than end the link with an error.
    #[test]
    fn nonsense_is_an_error(bytes in prop::collection::vec(any::<u8>(), 1..200)) {
        let (mut near, far) = sockets();
        let (mut far, _losses) = link(far, STALL_TIMEOUT);
        near.write_all(&bytes).unwrap();
        drop(near);
        let mut rest = Vec::new();
        let _ = far.read_to_end(&mut rest);
        prop_assert!(rest.len() <= bytes.len());
    }
}

#[test]
fn beats_keep_a_silent_link_alive() {
    let (near, far) = sockets();
    let ((mut near, _), (mut far, losses)) = (link(near, STALL_TIMEOUT), link(far, STALL_TIMEOUT));
    let reader = thread::spawn(move || {
        let mut buffer = [0; 4];
        far.read_exact(&mut buffer).map(|()| buffer)
    });
    thread::sleep(STALL_TIMEOUT * 2);
    near.write_all(b"late").unwrap();
    assert_eq!(&reader.join().unwrap().unwrap(), b"late");
    assert!(losses.try_recv().is_err());
}

/// The socket of a frozen peer is open, and its kernel acknowledges what it gets, but nothing
/// comes: timely would wait forever.
#[test]
fn a_frozen_peer_is_lost() {
    let (near, _far) = sockets();
    let (mut near, losses) = link(near, Duration::from_millis(300));
    assert!(near.read(&mut [0; 16]).is_err());
    let message = losses.recv().unwrap();
    assert!(message.contains("process 7 (host:1) has sent nothing for 0.3 s"), "{message}");
}

/// A frozen peer also reads nothing, so that what is sent to it fills the socket's buffers.
#[test]
fn a_peer_that_takes_nothing_is_lost() {
    let (near, _far) = sockets();
    let (mut near, losses) = link(near, Duration::from_millis(300));
    let piece = vec![0; 1 << 20];
    assert!((0..1000).any(|_| near.write_all(&piece).is_err()));
    assert!(losses.recv().unwrap().contains("has sent nothing"));
}

#[test]
fn a_peer_that_dies_is_lost_and_one_that_leaves_is_not() {
    for leaves in [false, true] {
        let (near, far) = sockets();
        let ((mut near, losses), (far, _far_losses)) = (link(near, STALL_TIMEOUT), link(far, STALL_TIMEOUT));
        if leaves {
            far.leave().unwrap();
            assert_eq!(near.read(&mut [0; 16]).unwrap(), 0);
            assert!(losses.try_recv().is_err());
        } else {
            far.0.socket.shutdown(Shutdown::Both).unwrap();
            assert!(near.read(&mut [0; 16]).is_err());
            assert!(losses.recv().unwrap().contains("has closed the connection"));
        }
    }
}

#[test]
fn words_come_before_timely_or_a_farewell() {
    let (near, far) = sockets();
    let ((near, _), (far, losses)) = (link(near, STALL_TIMEOUT), link(far, STALL_TIMEOUT));
    near.send_control(b"go on here").unwrap();
    near.send_control(b"").unwrap();
    near.leave().unwrap();
    assert_eq!(far.receive_control().unwrap().as_deref(), Some(&b"go on here"[..]));
    assert_eq!(far.receive_control().unwrap().as_deref(), Some(&b""[..]));
    assert_eq!(far.receive_control().unwrap(), None);
    assert!(losses.try_recv().is_err());
}

/// While process 0 opens the lake nothing else reads from the links. A peer that dies is noticed
/// all the same, and a frame after the heartbeats is left unread.
#[test]
fn watching_a_link_detects_a_loss_and_reads_no_message() {
    let never = AtomicBool::new(false);
    for frozen in [false, true] {
        let (near, far) = sockets();
        let (near, losses) = link(near, Duration::from_millis(300));
        let far = frozen.then_some(far);
        near.watch(&never);
        let message = losses.recv().unwrap();
        assert!(message.contains(if frozen { "has sent nothing" } else { "has closed the connection" }), "{message}");
        drop(far);
    }
    let (near, far) = sockets();
    let ((near, losses), (far, _far_losses)) = (link(near, STALL_TIMEOUT), link(far, STALL_TIMEOUT));
    let until = Arc::new(AtomicBool::new(false));
    let (watched, set) = (near.clone(), until.clone());
    let watching = thread::spawn(move || watched.watch(&set));
    thread::sleep(STALL_TIMEOUT * 2);
    assert!(!watching.is_finished() && losses.try_recv().is_err(), "it beats");
    until.store(true, Ordering::Relaxed);
    watching.join().unwrap();
    far.send_control(b"message").unwrap();
    near.watch(&never);
    assert_eq!(near.receive_control().unwrap().as_deref(), Some(&b"message"[..]));
    assert!(losses.try_recv().is_err());
}
