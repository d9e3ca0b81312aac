//! A cluster accepts only its own members, and reports how a refused process differs.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use crate::cluster::plays;
use crate::restart::assert_every_offset_once;
use crate::support::charts::default_charts;
use crate::support::cluster::{HostFiles, cluster, cluster_to_end};
use crate::support::fixture::folder;
use crate::support::plays::Play;
use crate::support::program::reprise;
use crate::support::running::{Running, run, run_on};
use crate::support::{broker, eventually};

/// A process without the list of its peers must not form a cluster of its own and take over their
/// lake.
#[test]
fn incomplete_cluster_options_are_refused() {
    let folder = folder();
    let (one, none) = (folder.path().join("one"), folder.path().join("none"));
    std::fs::write(&one, "127.0.0.1:2101\n").unwrap();
    std::fs::write(&none, "# none\n").unwrap();
    let (one, none) = (one.to_str().unwrap(), none.to_str().unwrap());
    for options in [
        &["-p", "1"][..],
        &["-p", "0", "--cluster-secret-file", "/nowhere"],
        &["-n", "2", "-p", "0"],
        &["--hostfile", one, "-p", "1"],
        &["--hostfile", none, "-p", "0"],
    ] {
        let ended = reprise(run_on("127.0.0.1:1", "t", &folder.path().join("lake"), options)).end();
        assert_eq!(ended.status.code(), Some(2), "{options:?}: {}", ended.stderr);
        assert!(
            ended.stderr.contains("address") || ended.stderr.contains("--hostfile"),
            "{options:?}: {}",
            ended.stderr
        );
    }
    assert!(!folder.path().join("lake").exists());
}

/// All processes must have the same configuration. A missing process, and one that differs, are
/// named on both sides.
#[test]
fn a_process_with_another_configuration_is_refused_with_the_difference() {
    let (topic, other) = (broker::topic("agree", 1), broker::topic("agree-not", 1));
    let folder = folder();
    let charts = folder.path().join("charts.toml");
    std::fs::write(&charts, "[[chart]]\nname = 'mine'\nperiod = 'day'\n").unwrap();
    let charts = charts.to_str().unwrap();
    let hosts = HostFiles::local(2);
    let first = hosts.start(0, &topic, folder.path(), &["-w", "1", "--join-timeout", "60s"]);
    let misconfigured: [(&str, &[&str], [&str; 3]); 3] = [
        (&other, &["-w", "1"], ["topic", &other, &topic]),
        (&topic, &["-w", "2"], ["number of workers (-w)", "has 2", "has 1"]),
        (&topic, &["-w", "1", "--charts", charts], ["chart \"all-time\"", "has none", "period: All"]),
    ];
    for (topic, options, expected) in &misconfigured {
        let ended = hosts.start(1, topic, folder.path(), options).end();
        assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
        for part in expected.iter().chain(&["process 0", "process 1", "disagree"]) {
            assert!(ended.stderr.contains(part), "no {part:?} in\n{}", ended.stderr);
        }
        eventually("process 0 says the same", || {
            expected.iter().all(|part| first.stderr().contains(part)).then_some(())
        });
    }
    assert!(!folder.path().join("song_plays").exists(), "the lake was changed");
    drop(first);
    let alone = HostFiles::local(2).start(0, &topic, folder.path(), &["-w", "1", "--join-timeout", "1s"]).end();
    assert_eq!(alone.status.code(), Some(1));
    assert!(
        alone.stderr.contains("process 1 (127.0.0.1:") && alone.stderr.contains("--join-timeout"),
        "{}",
        alone.stderr
    );
}

/// Random bytes, silence, a wrong secret, another version: before the cluster has formed, and while
/// it runs.
#[test]
fn foreign_connections_neither_stop_nor_join_a_cluster() {
    let topic = broker::topic("foreign-connections", 2);
    let (folder, hosts) = (folder(), HostFiles::local(2));
    let wrong = hosts.secret("wrong", "another secret of twenty-six");
    let options = ["-w", "1", "--commit-interval", "50ms"];
    let first = hosts.start(0, &topic, folder.path(), &options);
    let mut silent = scan(&hosts.addresses[0], true);
    let mut arguments = run(&topic, folder.path(), &options);
    arguments.extend(hosts.options(1));
    let secret = arguments.iter().position(|argument| argument == "--cluster-secret-file").unwrap() + 1;
    let wrong_secret: Vec<String> = arguments
        .iter()
        .enumerate()
        .map(|(at, argument)| if at == secret { wrong.to_str().unwrap() } else { argument }.to_owned())
        .collect();
    let ended = reprise(wrong_secret).end();
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.stderr.contains("secret"), "{}", ended.stderr);

    let second = hosts.start(1, &topic, folder.path(), &options);
    let first = Running::of(first);
    let mut all = Vec::new();
    for turn in 0..3 {
        let plays = plays(turn, 90);
        broker::produce(&topic, turn as i32 % 2, plays.iter().map(Play::json));
        all.extend(plays);
        first.caught_up(&topic);
        for address in &hosts.addresses {
            silent.extend(scan(address, false));
        }
        // A process with the right secret that comes too late.
        let late = hosts.start(1, &topic, folder.path(), &["-w", "1", "--join-timeout", "500ms"]).end();
        assert_eq!(late.status.code(), Some(1), "{}", late.stderr);
    }
    assert_eq!(first.status()["processes"], 2);
    let stderr = first.program.stderr();
    assert!(stderr.contains("dropped a connection") && stderr.contains("does not know the secret"), "{stderr}");
    first.program.signal("TERM");
    assert!(second.end().status.success() && first.program.end().status.success());
    let live = cluster_to_end(&topic, folder.path(), "1", "1");
    live.assert_equals(&all, &default_charts());
    assert_every_offset_once(folder.path(), &topic);
    drop(silent);
}

/// Connects to a port with the payloads of scanners and other clients. Returns the connections that
/// stay open.
fn scan(address: &str, must_listen: bool) -> Vec<TcpStream> {
    let hello = br#"{"version":"9.9.9","nonce":[1,2,3,4],"has_secret":true}"#;
    let hello = [&b"reprise-cluster/1\n"[..], &(hello.len() as u32).to_be_bytes(), hello].concat();
    let noise: Vec<u8> = (0..4096u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let payloads: [&[u8]; 7] =
        [b"", b"\0", b"GET / HTTP/1.1\r\n\r\n", &noise, &hello[..20], &hello, b"reprise-cluster/1\n\xff\xff\xff\xff"];
    let connect = || {
        if must_listen {
            return Some(eventually("the process listens", || TcpStream::connect(address).ok()));
        }
        TcpStream::connect(address).ok()
    };
    let mut silent = Vec::new();
    for payload in payloads {
        let Some(mut client) = connect() else { continue };
        client.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        // The connection may already be closed.
        let _ = client.write_all(payload);
        let mut received = Vec::new();
        let _ = client.read_to_end(&mut received);
        assert!(received.len() < 200, "the process sends {received:?}");
        silent.extend(connect());
        silent.push(client);
    }
    silent
}

/// Commands that cannot run as a cluster are refused at once, with one error.
#[test]
fn commands_that_cannot_run_as_a_cluster_are_wrong_usage() {
    let lake = Path::new("/nowhere");
    for (command, message) in [
        (vec!["demo".to_owned()], "only `run` and `replay`"),
        (run("t", lake, &["-n", "2"]), "leave out"),
        (run("t", lake, &["--hostfile", "x"]), "leave out"),
        (run("t", lake, &["--no-such-option"]), "--no-such-option"),
    ] {
        let ended = reprise(cluster("2", command)).end();
        assert_eq!(ended.status.code(), Some(2), "{}", ended.stderr);
        assert!(ended.stderr.contains(message), "{}", ended.stderr);
        let lines: BTreeSet<&str> = ended.stderr.lines().filter(|line| line.starts_with("error")).collect();
        assert_eq!(lines.len(), 1, "{}", ended.stderr);
    }
}
