//! Many clients that keep their connections, or that request large answers and never read them.
//! Other clients are still served, and the memory that the run holds for them is bounded.

#![cfg(target_os = "linux")]

use std::io::{Read, Write};
use std::net::TcpStream;

use jiff::Timestamp;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::support::fixture::folder;
use crate::support::plays::Play;
use crate::support::running::Running;
use crate::support::{broker, eventually, heavy};

/// More connections than one listener accepts.
const KEPT: usize = 4300;
/// Clients that never read a streamed answer.
const NEVER_READ: usize = 400;
/// Clients that never read an answer that is held in memory as a whole, and the most entries that
/// such an answer has (`WHOLE_ENTRIES_MAX` of the server).
const NEVER_READ_WHOLE: usize = 60;
const WHOLE_ENTRIES_MAX: usize = 5000;
const MIB: u64 = 1 << 20;

/// Raises the limit of open files to its maximum.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).expect("a limit up to the hard one");
}

/// Opens a connection and requests `path`.
fn request(address: &str, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address.trim_start_matches("http://")).expect("the server listens");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("a request can be sent");
    stream
}

/// The status of an answer, and its `Retry-After`.
fn status(address: &str, path: &str) -> (u16, Option<String>) {
    let client = reqwest::blocking::Client::builder().no_proxy().build().expect("a client");
    let answer = client.get(format!("{address}{path}")).send().expect("an answer");
    let retry_after =
        answer.headers().get("retry-after").map(|retry_after| retry_after.to_str().expect("a number").to_owned());
    let status = answer.status().as_u16();
    answer.bytes().expect("a whole answer");
    (status, retry_after)
}

fn held_bytes(running: &Running) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", running.program.id())).expect("the run is alive");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("its memory");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

#[test]
fn kept_connections_do_not_lock_out_others() {
    let _heavy = heavy();
    raise_file_limit();
    let topic = broker::topic("kept", 1);
    broker::produce(&topic, 0, [Play::new("a", &Timestamp::now().to_string()).json()]);
    let folder = folder();
    let mut running = Running::start(&topic, folder.path(), &["--probe-listen", "127.0.0.1:0"]);
    let probes = running.program.word_after(" probe_address=");
    running.caught_up(&topic);
    let mut kept = Vec::new();
    for _ in 0..KEPT {
        let mut stream = request(&running.address, "/healthz");
        stream.read_exact(&mut [0; 15]).expect("an answer");
        kept.push(stream);
    }
    for address in [&running.address, &probes] {
        for path in ["/healthz", "/readyz", "/metrics"] {
            assert_eq!(status(address, path).0, 200, "{address}{path}");
        }
    }
    assert_eq!(status(&running.address, "/v1/trending").0, 200);
    assert_eq!(status(&probes, "/v1/trending").0, 404);
    drop(kept);
    running.stop();
}

/// Each of these answers is about seven megabytes, and is generated while it is read.
#[test]
fn clients_that_never_read_streamed_answers_cost_no_memory() {
    let _heavy = heavy();
    raise_file_limit();
    let topic = broker::topic("never-read", 1);
    let now = Timestamp::now().to_string();
    let countries = (b'A'..=b'Z').flat_map(|first| (b'A'..=b'Z').map(move |second| [first, second]));
    let countries: Vec<String> = countries.map(|letters| String::from_utf8_lossy(&letters).into_owned()).collect();
    let songs: Vec<Play> = (0..100).map(|song| Play::new(&format!("song-{song}"), &now)).collect();
    let mut plays = Vec::new();
    for country in &countries {
        plays.extend(songs.iter().map(|song| Play { country: country.clone(), ..song.clone() }.json()));
    }
    broker::produce(&topic, 0, plays);
    let folder = folder();
    let running = Running::start(&topic, folder.path(), &["-w", "1"]);
    running.caught_up(&topic);
    let path = "/v1/charts/weekly?scope=*&period=*";
    let whole = running.json(path);
    assert_eq!(whole.as_array().map(Vec::len), Some(677));

    let before = held_bytes(&running);
    let silent: Vec<TcpStream> = (0..NEVER_READ).map(|_| request(&running.address, path)).collect();
    let mut readers: Vec<TcpStream> = (0..4).map(|_| request(&running.address, "/v1/snapshot")).collect();
    for reader in &mut readers {
        reader.read_exact(&mut [0; 15]).expect("the beginning of a snapshot");
    }
    for path in ["/healthz", "/readyz", "/v1/trending", "/v1/status"] {
        assert_eq!(status(&running.address, path).0, 200, "{path}");
    }
    let held = held_bytes(&running).saturating_sub(before);
    assert!(held < 200 * MIB, "{NEVER_READ} clients that never read hold {} MiB", held / MIB);
    // Clients that read get a `Retry-After` until one of the others times out.
    for path in [path, "/v1/snapshot"] {
        eventually("a client that reads gets an answer", || {
            let (status, retry_after) = status(&running.address, path);
            assert!(status == 200 || status == 503 && retry_after.is_some(), "{path}: {status}");
            (status == 200).then_some(())
        });
    }
    drop((silent, readers));
    running.stop();
}

/// The answer has the most entries that are held in memory as a whole. Its texts are long, so that
/// it is about ten megabytes: more than the socket buffers of both ends take.
#[test]
fn whole_answers_that_are_never_read_have_a_budget() {
    const SONGS: usize = 98;
    const COUNTRIES: usize = 50;
    let _heavy = heavy();
    let topic = broker::topic("never-read-whole", 1);
    let now = Timestamp::now().to_string();
    let songs: Vec<Play> = (0..SONGS)
        .map(|song| {
            let play = Play::new(&format!("song-{song}"), &now);
            Play { title: "t".repeat(1000), artist: "a".repeat(1000), ..play }
        })
        .collect();
    let mut plays = Vec::new();
    for index in 0..COUNTRIES as u8 {
        let country = String::from_utf8_lossy(&[b'A' + index / 26, b'A' + index % 26]).into_owned();
        plays.extend(songs.iter().map(|song| Play { country: country.clone(), ..song.clone() }.json()));
    }
    broker::produce(&topic, 0, plays);
    let folder = folder();
    let running = Running::start(&topic, folder.path(), &["-w", "1"]);
    running.caught_up(&topic);
    // One of the lists is the global one.
    let limit = WHOLE_ENTRIES_MAX / (COUNTRIES + 1);
    let path = format!("/v1/charts/weekly?scope=*&period=*&limit={limit}");
    let whole = running.json(&path);
    let lists = whole.as_array().expect("an array");
    let entries: usize = lists.iter().map(|list| list["entries"].as_array().map_or(0, Vec::len)).sum();
    assert_eq!((lists.len(), entries), (COUNTRIES + 1, limit * (COUNTRIES + 1)));
    let answer_bytes = whole.to_string().len() as u64;
    assert!(answer_bytes > 9 * MIB && answer_bytes * NEVER_READ_WHOLE as u64 > 500 * MIB);
    drop(whole);

    let before = held_bytes(&running);
    let silent: Vec<TcpStream> = (0..NEVER_READ_WHOLE).map(|_| request(&running.address, &path)).collect();
    let retry_after = eventually("answers fill their budget", || {
        let (status, retry_after) = status(&running.address, &path);
        (status == 503).then_some(retry_after)
    });
    assert!(retry_after.is_some(), "a 503 has a Retry-After");
    for path in ["/healthz", "/readyz", "/metrics", "/v1/trending?limit=1", "/v1/status"] {
        assert_eq!(status(&running.address, path).0, 200, "{path}");
    }
    let held = held_bytes(&running).saturating_sub(before);
    assert!(held < 200 * MIB, "{NEVER_READ_WHOLE} clients that never read hold {} MiB", held / MIB);
    drop(silent);
    eventually("a client that reads gets an answer", || (status(&running.address, &path).0 == 200).then_some(()));
    running.stop();
}
