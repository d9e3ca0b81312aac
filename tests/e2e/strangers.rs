//! A cluster lets nobody in who does not belong to it, and says of who does not fit what it is that differs.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use crate::cluster::plays;
use crate::restart::assert_every_offset_once;
use crate::support::charts::default_charts;
use crate::support::cluster::{Table, cluster, cluster_to_end};
use crate::support::fixture::folder;
use crate::support::plays::Play;
use crate::support::program::reprise;
use crate::support::running::{Running, run, run_on};
use crate::support::{broker, eventually};

/// A process that has lost its list of the others must not become a cluster of its own, and take over their lake.
#[test]
fn half_of_the_options_are_refused() {
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

/// What the processes run must be the same; who does not come, or does not fit, is named on both sides.
#[test]
fn who_runs_something_else_is_refused_by_name() {
    let (topic, other) = (broker::topic("agree", 1), broker::topic("agree-not", 1));
    let folder = folder();
    let charts = folder.path().join("charts.toml");
    std::fs::write(&charts, "[[chart]]\nname = 'mine'\nperiod = 'day'\n").unwrap();
    let charts = charts.to_str().unwrap();
    let table = Table::of(2);
    let first = table.start(0, &topic, folder.path(), &["-w", "1", "--join-timeout", "60s"]);
    let strangers: [(&str, &[&str], [&str; 3]); 3] = [
        (&other, &["-w", "1"], ["topic", &other, &topic]),
        (&topic, &["-w", "2"], ["number of workers (-w)", "has 2", "has 1"]),
        (&topic, &["-w", "1", "--charts", charts], ["chart \"all-time\"", "has none", "period: All"]),
    ];
    for (topic, options, expected) in &strangers {
        let ended = table.start(1, topic, folder.path(), options).end();
        assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
        for part in expected.iter().chain(&["process 0", "process 1", "disagree"]) {
            assert!(ended.stderr.contains(part), "no {part:?} in\n{}", ended.stderr);
        }
        eventually("process 0 says the same", || {
            expected.iter().all(|part| first.stderr().contains(part)).then_some(())
        });
    }
    assert!(!folder.path().join("song_plays").exists(), "nobody has touched the lake");
    drop(first);
    let alone = Table::of(2).start(0, &topic, folder.path(), &["-w", "1", "--join-timeout", "1s"]).end();
    assert_eq!(alone.status.code(), Some(1));
    assert!(
        alone.stderr.contains("process 1 (127.0.0.1:") && alone.stderr.contains("--join-timeout"),
        "{}",
        alone.stderr
    );
}

/// Random bytes, silence, a wrong secret, another version: before the cluster is together, and while it runs.
#[test]
fn strangers_neither_stop_nor_join_a_cluster() {
    let topic = broker::topic("strangers", 2);
    let (folder, table) = (folder(), Table::of(2));
    let wrong = table.secret("wrong", "another secret of twenty-six");
    let options = ["-w", "1", "--commit-interval", "50ms"];
    let first = table.start(0, &topic, folder.path(), &options);
    let mut silent = scan(&table.addresses[0], true);
    let mut words = run(&topic, folder.path(), &options);
    words.extend(table.seat(1));
    let secret = words.iter().position(|word| word == "--cluster-secret-file").unwrap() + 1;
    let liar: Vec<String> = words
        .iter()
        .enumerate()
        .map(|(at, word)| if at == secret { wrong.to_str().unwrap() } else { word }.to_owned())
        .collect();
    let ended = reprise(liar).end();
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.stderr.contains("secret"), "{}", ended.stderr);

    let second = table.start(1, &topic, folder.path(), &options);
    let first = Running::of(first);
    let mut all = Vec::new();
    for turn in 0..3 {
        let plays = plays(turn, 90);
        broker::produce(&topic, turn as i32 % 2, plays.iter().map(Play::json));
        all.extend(plays);
        first.caught_up(&topic);
        for address in &table.addresses {
            silent.extend(scan(address, false));
        }
        // One that knows everything, but comes too late.
        let late = table.start(1, &topic, folder.path(), &["-w", "1", "--join-timeout", "500ms"]).end();
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

/// Knocks at a port in the ways of those who look for something. Gives the connections that stay open and say nothing.
fn scan(address: &str, must_listen: bool) -> Vec<TcpStream> {
    let hello = br#"{"version":"9.9.9","nonce":[1,2,3,4],"has_secret":true}"#;
    let hello = [&b"reprise-cluster/1\n"[..], &(hello.len() as u32).to_be_bytes(), hello].concat();
    let noise: Vec<u8> = (0..4096u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let sayings: [&[u8]; 7] =
        [b"", b"\0", b"GET / HTTP/1.1\r\n\r\n", &noise, &hello[..20], &hello, b"reprise-cluster/1\n\xff\xff\xff\xff"];
    let connect = || {
        if must_listen {
            return Some(eventually("somebody listens", || TcpStream::connect(address).ok()));
        }
        TcpStream::connect(address).ok()
    };
    let mut silent = Vec::new();
    for saying in sayings {
        let Some(mut stranger) = connect() else { continue };
        stranger.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        // It may have been dropped.
        let _ = stranger.write_all(saying);
        let mut heard = Vec::new();
        let _ = stranger.read_to_end(&mut heard);
        assert!(heard.len() < 200, "it says {heard:?}");
        silent.extend(connect());
        silent.push(stranger);
    }
    silent
}

/// What cannot work is said at once, and by one process.
#[test]
fn a_cluster_of_what_makes_no_sense_is_wrong_usage() {
    let lake = Path::new("/nowhere");
    for (command, complaint) in [
        (vec!["demo".to_owned()], "only `run` and `replay`"),
        (run("t", lake, &["-n", "2"]), "leave out"),
        (run("t", lake, &["--hostfile", "x"]), "leave out"),
        (run("t", lake, &["--no-such-option"]), "--no-such-option"),
    ] {
        let ended = reprise(cluster("2", command)).end();
        assert_eq!(ended.status.code(), Some(2), "{}", ended.stderr);
        assert!(ended.stderr.contains(complaint), "{}", ended.stderr);
        let lines: BTreeSet<&str> = ended.stderr.lines().filter(|line| line.starts_with("error")).collect();
        assert_eq!(lines.len(), 1, "{}", ended.stderr);
    }
}
