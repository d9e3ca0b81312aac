//! Clusters whose processes are threads of the test.

use std::io::Write;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use reprise_dataflows::rules::definition::Definitions;

use super::*;
use crate::cluster::Team;

const JOIN_TIMEOUT: Duration = Duration::from_secs(30);

fn addresses(processes: usize) -> Vec<String> {
    let listeners: Vec<TcpListener> = (0..processes).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    listeners.iter().map(|listener| listener.local_addr().unwrap().to_string()).collect()
}

fn membership(process: usize, addresses: &[String]) -> Membership {
    let stall_timeout = Duration::from_secs(10);
    let addresses = addresses.to_vec();
    Membership { process, addresses, listen: None, secret: None, join_timeout: JOIN_TIMEOUT, stall_timeout }
}

fn fingerprint(topic: &str) -> Fingerprint {
    let mut fingerprint = Fingerprint::new("run", 1, &Definitions::builtin());
    fingerprint.set("topic", topic);
    fingerprint
}

fn joining(membership: Membership, fingerprint: Fingerprint) -> JoinHandle<Result<Option<Joined>>> {
    thread::spawn(move || {
        join(&membership, &fingerprint, &AtomicBool::new(false), Arc::new(|error| panic!("{error:#}")))
    })
}

fn team(joined: JoinHandle<Result<Option<Joined>>>) -> Team {
    Team { threads: 1, cluster: Some(joined.join().unwrap().unwrap().unwrap()) }
}

fn error(joined: JoinHandle<Result<Option<Joined>>>) -> String {
    format!("{:#}", joined.join().unwrap().map(|_| "it has joined").unwrap_err())
}

#[test]
fn all_processes_connect_in_any_order_of_starts() {
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]] {
        let addresses = addresses(4);
        let mut joined: Vec<_> =
            order.map(|process| (process, joining(membership(process, &addresses), fingerprint("a")))).into();
        joined.sort_by_key(|(process, _)| *process);
        let teams: Vec<Team> = joined.into_iter().map(|(_, joined)| team(joined)).collect();
        for (process, team) in teams.iter().enumerate() {
            assert_eq!((team.process(), team.processes(), team.links().len()), (process, 4, 3));
        }
        teams[0].broadcast(&"here").unwrap();
        for team in &teams[1..] {
            assert_eq!(team.receive::<String>().unwrap().as_deref(), Some("here"));
        }
        teams[0].leave();
        assert!(teams[1..].iter().all(|team| team.receive::<String>().unwrap().is_none()));
    }
}

#[test]
fn another_configuration_is_refused_and_a_later_match_accepted() {
    let addresses = addresses(2);
    let first = joining(membership(0, &addresses), fingerprint("a"));
    let message = error(joining(membership(1, &addresses), fingerprint("b")));
    assert!(
        message.contains("topic")
            && message.contains("has b")
            && message.contains("process 0")
            && message.contains("has a"),
        "{message}"
    );
    let second = joining(membership(1, &addresses), fingerprint("a"));
    assert_eq!((team(first).process(), team(second).process()), (0, 1));
}

#[test]
fn a_missing_process_is_named_with_the_last_refusal() {
    let addresses = addresses(3);
    let soon = Membership { join_timeout: Duration::from_secs(2), ..membership(0, &addresses) };
    let first = joining(soon, fingerprint("a"));
    error(joining(membership(2, &addresses), fingerprint("b")));
    let message = error(first);
    let names = format!("process 1 ({}), process 2 ({}) did not join", addresses[1], addresses[2]);
    assert!(message.contains(&names) && message.contains("disagree on the topic"), "{message}");
    let lonely = Membership { join_timeout: Duration::from_millis(300), ..membership(1, &addresses) };
    let message = error(joining(lonely, fingerprint("a")));
    assert!(message.contains(&format!("process 0 ({}) cannot be reached", addresses[0])), "{message}");
}

#[test]
fn a_number_joins_once_unless_its_process_has_died() {
    let addresses = addresses(3);
    let first = joining(membership(0, &addresses), fingerprint("a"));
    let held = connected(&addresses[0], 1, None);
    let message = error(joining(membership(1, &addresses), fingerprint("a")));
    assert!(message.contains("process 1 has joined already"), "{message}");
    drop(held);
    let others = [1, 2].map(|process| joining(membership(process, &addresses), fingerprint("a")));
    assert_eq!(team(first).processes(), 3);
    others.into_iter().for_each(|other| drop(team(other)));
}

/// The connection of a process that the test plays itself. Panics with the reason if it is refused.
fn connected(address: &str, process: usize, session: Option<Session>) -> TcpStream {
    let introduction = Introduction { process, session, fingerprint: fingerprint("a").of_one_among(3) };
    let until = Instant::now() + JOIN_TIMEOUT;
    loop {
        if let Ok(mut socket) = TcpStream::connect(address) {
            handshake::connect(&mut socket, None, &introduction).unwrap();
            return socket;
        }
        assert!(Instant::now() < until, "nobody listens at {address}");
        thread::sleep(LOOK_INTERVAL);
    }
}

/// Process 1 waits for process 2, and refuses one that was started with an earlier process 0.
#[test]
fn old_and_new_do_not_mix() {
    let addresses = addresses(3);
    let listener = TcpListener::bind(&addresses[0]).unwrap();
    let second = joining(membership(1, &addresses), fingerprint("a"));
    let mut socket = listener.accept().unwrap().0;
    handshake::listen(&mut socket, None).unwrap();
    handshake::accept(&mut socket).unwrap();
    handshake::send(&mut socket, &ControlMessage::Welcome(7)).unwrap();

    let mut stranger = TcpStream::connect(&addresses[1]).unwrap();
    let old = Introduction { process: 2, session: Some(6), fingerprint: fingerprint("a") };
    let message = handshake::connect(&mut stranger, None, &old).unwrap_err().to_string();
    assert!(message.contains("another start of the cluster"), "{message}");

    let _third = connected(&addresses[1], 2, Some(7));
    assert_eq!(handshake::receive::<ControlMessage>(&mut socket).unwrap(), ControlMessage::Connected);
    handshake::send(&mut socket, &ControlMessage::AllConnected).unwrap();
    assert_eq!(team(second).process(), 1);
}

/// Connections that send nothing or nonsense, more than are served at the same time, do not keep
/// the right process out.
#[test]
fn strangers_do_not_keep_others_out() {
    let addresses = addresses(2);
    let first = joining(membership(0, &addresses), fingerprint("a"));
    let until = Instant::now() + JOIN_TIMEOUT;
    let mut strangers = Vec::new();
    while strangers.len() < 100 && Instant::now() < until {
        if let Ok(mut stranger) = TcpStream::connect(&addresses[0]) {
            stranger.write_all(&b"GET / HTTP/1.1\r\n"[..strangers.len() % 17]).unwrap();
            strangers.push(stranger);
        }
    }
    let second = joining(membership(1, &addresses), fingerprint("a"));
    assert_eq!((team(first).process(), team(second).process()), (0, 1));
}

#[test]
fn a_stopped_process_does_not_wait() {
    let addresses = addresses(2);
    for process in [0, 1] {
        let membership = membership(process, &addresses);
        let joined = join(&membership, &fingerprint("a"), &AtomicBool::new(true), Arc::new(|_| {}));
        assert!(joined.unwrap().is_none());
    }
}
