//! Every request gets an answer, and the server stays up. `PROPTEST_CASES` sets the number of
//! requests.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use reprise_dataflows::names::catalogue::TrackInfo;
use reprise_dataflows::query::{Answer, Finding};
use reprise_dataflows::rules::definition::{Cell, Scope};

use super::{Access, Http, start};
use crate::state::charts::{AsOf, tests as fixtures};

/// Answers each query with findings of many kinds, in place of the workers, until `stop` is set.
fn answer_all(http: &Http, stop: &AtomicBool) {
    let cell = Cell { chart: 0, start_day: 20_773, scope: Scope::country("US") };
    let info = TrackInfo { title: "<script>".to_owned(), artist: "\u{0}\"\\".to_owned() };
    let found = [
        Finding::TrackInfo(info.clone()),
        Finding::Plays { cell: cell.clone(), plays: 3 },
        Finding::Track { track_id: "S1".to_owned(), info: Some(info), plays: i64::MAX },
        Finding::Artist { artist: String::new(), plays: 0, tracks: 1 },
        Finding::Country { cell, plays: 1, of_track: 0 },
        Finding::KnownFrom(i64::MIN),
    ];
    let mut epoch = 1;
    while !stop.load(Ordering::Relaxed) {
        epoch += 1;
        let queries = http.state.queries.begin(epoch);
        let answers =
            queries.iter().flat_map(|query| found.iter().map(|found| Answer { id: query.id, found: found.clone() }));
        http.state.queries.complete(AsOf { epoch, clock_us: Some(0), ..AsOf::default() }, answers.collect());
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// The value of a parameter: a plausible one, or arbitrary characters.
fn value() -> impl Strategy<Value = String> {
    let plausible = prop::sample::select(vec![
        "",
        "*",
        "global",
        "US",
        "device:x",
        "all",
        "2026-W47",
        "2026-11",
        "-1",
        "0",
        "1",
        "999999999999999999999",
        "true",
        "false",
        "trending",
        "weekly",
        "trending,weekly",
        ",",
        "2026-11-20T00:00:00Z",
        "earliest",
        "9999-12-31T23:59:59Z",
        "-009999-01-01T00:00:00Z",
        "%",
        "%00",
        "%ff",
        "%2e%2e%2f",
        "<script>",
        "S1",
    ]);
    prop_oneof![plausible.prop_map(str::to_owned), "[!-~]{0,12}", "(%[0-9a-f]{2}){0,8}"]
        .prop_map(|text| text.replace(|character: char| !is_in_urls(character), "+"))
}

/// Whether a character may stand in a URL. Any other makes the request invalid HTTP, which hyper
/// answers by itself before it closes the connection.
fn is_in_urls(character: char) -> bool {
    character.is_ascii_alphanumeric() || "-._~!$'()*,;:@%/=&+".contains(character)
}

fn target() -> impl Strategy<Value = String> {
    let path = prop::sample::select(vec![
        "/",
        "/web/",
        "/v1/trending",
        "/v1/charts",
        "/v1/charts/",
        "/v1/tracks/",
        "/v1/tracks",
        "/v1/artists",
        "/v1/search",
        "/v1/geo",
        "/v1/status",
        "/v1/dead-letters",
        "/metrics",
        "/readyz",
        "/v1/openapi.json",
        "/v1/nothing",
    ]);
    let name = prop::sample::select(vec![
        "scope", "period", "limit", "durable", "at", "chart", "q", "id", "name", "track", "every", "status", "x", "",
    ]);
    let query = prop::collection::vec((name, value()), 0..4);
    (path, value(), query).prop_map(|(path, rest, query)| {
        let rest = if path.ends_with('/') { rest.replace('&', "+") } else { String::new() };
        let query: Vec<String> = query.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        format!("{path}{rest}?{}", query.join("&"))
    })
}

/// Sends a raw request, and returns the status and the body of the answer.
fn send_request(connection: &mut TcpStream, request: &str) -> (u16, Vec<u8>) {
    connection.write_all(request.as_bytes()).unwrap();
    let (mut answer, mut part) = (Vec::new(), [0; 1 << 16]);
    loop {
        let head = answer.windows(4).position(|window| window == b"\r\n\r\n");
        if let Some(head) = head {
            let text = String::from_utf8_lossy(&answer[..head]).to_lowercase();
            let length =
                text.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok()).unwrap_or(0);
            if answer.len() >= head + 4 + length {
                let status = text.split(' ').nth(1).unwrap().parse().unwrap();
                return (status, answer[head + 4..].to_vec());
            }
        }
        let read = connection.read(&mut part).unwrap();
        assert!(read > 0, "closed without an answer to {request:?}: {}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&part[..read]);
    }
}

#[test]
fn every_request_is_answered() {
    let http = Http::over(fixtures::filled());
    http.state.ready.store(true, Ordering::Relaxed);
    let server = start(SocketAddr::from(([127, 0, 0, 1], 0)), http.clone(), Access::default()).unwrap();
    let stop = Arc::<AtomicBool>::default();
    let workers = std::thread::spawn({
        let (http, stop) = (http.clone(), stop.clone());
        move || answer_all(&http, &stop)
    });
    let connection = TcpStream::connect(server.address).unwrap();
    connection.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut runner = proptest::test_runner::TestRunner::default();
    let connection = std::cell::RefCell::new(connection);
    let outcome = runner.run(&target(), |target| {
        let request = format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n");
        let (status, body) = send_request(&mut connection.borrow_mut(), &request);
        prop_assert!(matches!(status, 200 | 400 | 404 | 503), "{target}: {status}");
        if status != 200 {
            let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
            prop_assert!(problem["detail"].is_string(), "{target}: {problem}");
        }
        Ok(())
    });
    stop.store(true, Ordering::Relaxed);
    workers.join().unwrap();
    outcome.unwrap();
}
