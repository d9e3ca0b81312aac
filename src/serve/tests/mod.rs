//! HTTP as a client sees it: a server on a free port, and requests to it.

mod limits;
mod possible;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::intake::Rejection;
use reprise_dataflows::rules::definition::{Cell, Scope, TRENDING};
use reprise_dataflows::{CutPoint, Stage, Tick};
use reqwest::blocking::{Client, Response};
use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::problem::Problem;
use super::*;
use crate::lake::sink::Committed;
use crate::report::rejected::RejectedRecord;
use crate::report::{KafkaReport, PartitionReport, Report};
use crate::state::Status;
use crate::state::charts::{AsOf, Changes, ChartCell, Page, tests as fixtures};

/// A server over the charts of [`fixtures::filled`], on a free port.
pub fn server() -> (Server, Arc<Http>) {
    let http = Http::over(fixtures::filled());
    http.state.ready.store(true, Ordering::Release);
    (start(SocketAddr::from(([127, 0, 0, 1], 0)), http.clone(), Access::default()).unwrap(), http)
}

fn send(server: &Server, method: Method, path: &str) -> Response {
    let client = Client::builder().no_proxy().timeout(Duration::from_secs(10)).build().unwrap();
    client.request(method, format!("http://{}{path}", server.address)).send().unwrap()
}

fn json(server: &Server, path: &str) -> Value {
    let response = send(server, Method::GET, path);
    assert_eq!((path, response.status()), (path, StatusCode::OK));
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(response.headers()["cache-control"], "no-cache");
    response.json().unwrap()
}

fn cell(server: &Server, path: &str) -> ChartCell {
    serde_json::from_value(json(server, path)).unwrap()
}

/// The detail of the problem that `path` is answered with.
fn problem(server: &Server, method: Method, path: &str, status: u16) -> String {
    let response = send(server, method, path);
    assert_eq!((path, response.status().as_u16()), (path, status));
    assert_eq!(response.headers()["content-type"], Problem::MEDIA_TYPE);
    let problem: Problem = response.json().unwrap();
    assert_eq!((problem.kind.as_str(), problem.status), ("about:blank", status));
    assert_eq!(Some(problem.title.as_str()), StatusCode::from_u16(status).unwrap().canonical_reason());
    problem.detail
}

fn refused(server: &Server, path: &str, status: u16, says: &str) {
    let detail = problem(server, Method::GET, path, status);
    assert!(detail.contains(says), "{path}: {detail}");
}

#[test]
fn trending_is_one_cell() {
    let (server, http) = server();
    let global = cell(&server, "/v1/trending");
    assert_eq!(global, http.state.charts().cell(TRENDING, &Scope::Global, Some(0), None));
    assert_eq!((global.scope.as_str(), global.entries.len()), ("global", 1));
    assert_eq!(cell(&server, "/v1/charts/trending"), global);
    assert_eq!(json(&server, "/v1/trending?scope=*"), serde_json::to_value([&global]).unwrap());
    // The current window has no plays from there.
    let germany = cell(&server, "/v1/trending?scope=DE&limit=3");
    assert_eq!((germany.scope.as_str(), germany.entries.len(), germany.period), ("DE", 0, global.period));
}

/// Before the first play there is no clock, and so no newest period.
#[test]
fn nothing_has_been_played_yet() {
    let http = Http::over(fixtures::charts());
    let server = start(SocketAddr::from(([127, 0, 0, 1], 0)), http.clone(), Access::default()).unwrap();
    for path in ["/v1/trending", "/v1/charts/weekly", "/v1/snapshot"] {
        refused(&server, path, 503, "the charts of the lake are still being computed");
    }
    http.state.ready.store(true, Ordering::Release);
    for path in ["/v1/trending", "/v1/charts/weekly", "/v1/charts/weekly?scope=US"] {
        let cell = cell(&server, path);
        assert_eq!((cell.period.as_str(), cell.start_us, cell.entries.len()), ("../..", None, 0));
    }
    for path in ["/v1/trending?scope=*", "/v1/charts/weekly?scope=*", "/v1/charts/weekly?scope=*&period=*"] {
        assert_eq!(json(&server, path), serde_json::json!([]));
    }
    assert_eq!(cell(&server, "/v1/charts/weekly?period=2026-W47").period, "2026-W47");
}

#[test]
fn a_chart_is_a_cell_by_scope_and_period() {
    let (server, _) = server();
    let newest = cell(&server, "/v1/charts/weekly");
    assert_eq!((newest.period.as_str(), newest.scope.as_str(), newest.entries.len()), ("2026-W47", "global", 3));
    let older = cell(&server, "/v1/charts/weekly?period=2026-W46&limit=10&scope=global");
    assert_eq!((older.period.as_str(), older.entries.len()), ("2026-W46", 1));
    assert_eq!(cell(&server, "/v1/charts/weekly?limit=2&scope=&period=").entries.len(), 2);
    assert_eq!(cell(&server, "/v1/charts/weekly?scope=country%3AUS").scope, "US");
    let nothing = cell(&server, "/v1/charts/weekly?scope=DE");
    assert_eq!((nothing.period.as_str(), nothing.entries.len()), ("2026-W47", 0));
    assert_eq!(cell(&server, "/v1/charts/artists").entries[0].track_id, None);
}

#[test]
fn a_star_gives_every_cell() {
    let (server, _) = server();
    let names = |path: &str| {
        let cells: Vec<ChartCell> = serde_json::from_value(json(&server, path)).unwrap();
        cells.into_iter().map(|cell| format!("{} {}", cell.period, cell.scope)).collect::<Vec<_>>()
    };
    assert_eq!(names("/v1/charts/weekly?scope=*"), ["2026-W47 US", "2026-W47 global"]);
    assert_eq!(names("/v1/charts/weekly?period=*"), ["2026-W46 global", "2026-W47 global"]);
    assert_eq!(names("/v1/charts/weekly?period=%2A&scope=*&limit=1").len(), 3);
    assert!(names("/v1/charts/weekly?scope=DE&period=*").is_empty());
}

#[test]
fn the_charts_are_listed() {
    let (server, http) = server();
    let list = json(&server, "/v1/charts");
    assert_eq!(list["charts"], serde_json::to_value(http.state.charts().overview(&Page::default()).0).unwrap());
    assert_eq!(list["as_of"]["lake_version"], 41);
}

#[test]
fn the_status_is_that_of_the_state() {
    let (server, http) = server();
    let dead_letters = [("not_json".to_owned(), 3)].into();
    let status = Status { topic: "song-plays".into(), clock_us: Some(0), dead_letters, ..Status::default() };
    *http.state.status_mut() = status.clone();
    let json = json(&server, "/v1/status");
    assert_eq!((&json["clock"], &json["started_at"]), (&"1970-01-01T00:00:00Z".into(), &Value::Null));
    assert_eq!(json["dead_letters"]["not_json"], 3);
    assert_eq!(serde_json::from_value::<Status>(json).unwrap(), status);
}

/// The newest dead letters come first, whichever worker has read them, and no more than the request
/// asks for.
#[test]
fn the_newest_dead_letters_are_told_with_their_reason() {
    let (server, http) = server();
    *http.state.status_mut() =
        Status { topic: "song-plays".into(), lake: "/lake".into(), lake_dead_letters: 7, ..Status::default() };
    let of_before = serde_json::json!({"dead_letters": [], "counts": {}, "lake_dead_letters": 7, "lake": "/lake"});
    assert_eq!(json(&server, "/v1/dead-letters"), of_before);
    for (worker, offset) in [(0, 7), (1, 3)] {
        let mut partition = PartitionReport::new(worker as i32, 0);
        partition.reject(Rejection::NotJson);
        let record = RejectedRecord {
            partition: worker as i32,
            offset,
            time_us: Some(0),
            reason: "not_json".to_owned(),
            detail: "expected value".to_owned(),
            value: Some("{\u{1b}".to_owned()),
        };
        let report =
            KafkaReport { worker, partitions: vec![partition], rejected: vec![record], ..KafkaReport::default() };
        http.state.reported(Report::Kafka(report));
    }
    let told = json(&server, "/v1/dead-letters?limit=1");
    assert_eq!(
        told,
        serde_json::json!({
            "dead_letters": [{"topic": "song-plays", "partition": 1, "offset": 3, "time": "1970-01-01T00:00:00Z",
                "reason": "not_json", "detail": "expected value", "value": "{\u{1b}"}],
            "counts": {"not_json": 2},
            "lake_dead_letters": 7,
            "lake": "/lake",
        })
    );
    assert_eq!(json(&server, "/v1/dead-letters")["dead_letters"][1]["offset"], 7);
    refused(&server, "/v1/dead-letters?limit=0", 400, "must be a whole number from 1");
}

/// Every answer says whether its charts are those of the last commit or the newest.
#[test]
fn durable_charts_are_those_of_the_last_commit() {
    let (server, http) = server();
    for path in ["/v1/trending", "/v1/charts/weekly", "/v1/snapshot"] {
        let path = format!("{path}?durable=true");
        assert!(problem(&server, Method::GET, &path, 503).contains("no charts are durable yet"));
    }
    let clock_us = |epoch| match epoch {
        ..=5 => Some(fixtures::instant_us("2026-11-20T14:41:40Z")),
        6..=7 => Some(fixtures::instant_us("2026-11-24T00:00:00Z")),
        _ => Some(fixtures::instant_us("2026-12-01T00:00:00Z")),
    };
    http.state.opened(2, AsOf { epoch: 5, clock_us: clock_us(5), lake_version: Some(3), durable: true });
    let tick = |epoch, cut| Tick { epoch, clock_us: clock_us(epoch), stage: Stage::Live, cut };
    http.state.advance(6, Some(tick(6, None)), Changes::default(), Vec::new());
    let play = |day| ((Cell { chart: 0, scope: Scope::Global, start_day: day }, "S1".to_owned()), 1);
    let changes = |ranked| Changes { ranked, ..Changes::default() };
    http.state.advance(7, Some(tick(7, None)), changes(vec![play(20_780)]), Vec::new());
    let durable = cell(&server, "/v1/charts/weekly?durable=true");
    assert_eq!((durable.period.as_str(), durable.as_of.lake_version, durable.as_of.epoch), ("2026-W47", Some(3), 5));
    assert!(durable.as_of.durable);
    let newest = cell(&server, "/v1/charts/weekly?durable=false");
    assert_eq!((newest.period.as_str(), newest.as_of.durable, newest.as_of.epoch), ("2026-W48", false, 7));

    let cut = CutPoint { epoch: 7, clock_us: clock_us(7) };
    http.state.committed(&Committed {
        cut,
        version: 4,
        plays: 1,
        dead_letters: 0,
        files: 1,
        bytes: 9,
        offsets: Default::default(),
    });
    http.state.advance(8, Some(tick(8, Some(cut))), changes(vec![play(20_787)]), Vec::new());
    let durable = cell(&server, "/v1/charts/weekly?durable=true");
    assert_eq!((durable.period.as_str(), durable.as_of.lake_version, durable.as_of.epoch), ("2026-W48", Some(4), 7));
    assert_eq!(cell(&server, "/v1/charts/weekly").period, "2026-W49");
    refused(&server, "/v1/trending?durable=yes", 400, "must be `true` or `false`");
}

/// A snapshot is a header and then what `replay` prints, in pieces.
#[test]
fn a_snapshot_is_every_cell_line_by_line() {
    let (server, http) = server();
    let many =
        (0..3000).map(|day| ((Cell { chart: 0, scope: Scope::Global, start_day: day * 7 - 3 }, "S1".to_owned()), 1));
    http.state.charts_mut().apply(Changes { ranked: many.collect(), ..Changes::default() });
    *http.state.status_mut() = Status { topic: "song-plays".into(), lake: "/lake".into(), ..Status::default() };
    let answer = send(&server, Method::GET, "/v1/snapshot");
    assert_eq!(answer.headers()["content-type"], snapshot::MEDIA_TYPE);
    let text = answer.text().unwrap();
    let (header, cells) = text.split_once('\n').unwrap();
    let header: crate::state::charts::SnapshotHeader = serde_json::from_str(header).unwrap();
    assert_eq!((header.topic.as_str(), header.lake.as_str()), ("song-plays", "/lake"));
    assert_eq!((header.as_of, header.charts), (http.state.charts().as_of(), http.state.charts().inputs()));
    let expected = http.state.charts().cells(&crate::state::charts::Filter::default());
    assert!(expected.len() > 3000);
    let found: Vec<ChartCell> = cells.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(found == expected);
}

#[test]
fn health_and_readiness_are_two_things() {
    let (server, http) = server();
    assert_eq!(send(&server, Method::GET, "/healthz?any=thing").status(), StatusCode::OK);
    http.state.ready.store(false, Ordering::Release);
    assert!(problem(&server, Method::GET, "/readyz", 503).contains("/v1/status"));
    http.state.ready.store(true, Ordering::Release);
    assert_eq!(send(&server, Method::GET, "/readyz").status(), StatusCode::OK);
}

#[test]
fn problems_name_the_possible_values() {
    let (server, _) = server();
    refused(&server, "/v1/charts/daily", 404, "the charts are `trending`, `weekly`, `artists`");
    refused(&server, "/v1/charts/weekly?period=2026-11", 404, "a week such as `2026-W47`");
    refused(&server, "/v1/charts/weekly?period=2026-W99", 404, "a week such as `2026-W47`");
    refused(&server, "/v1/charts/trending?period=2026-W47", 404, "the current window");
    refused(&server, "/v1/charts/artists?scope=US", 404, "its scopes are `global`, devices such as");
    refused(&server, "/v1/trending?scope=device:mobile", 404, "countries such as `US`");
    refused(&server, "/v1/trending?scope=a:b", 404, "is not a scope");
    refused(
        &server,
        "/v1/charts/weekly?scpoe=US",
        400,
        "unknown parameter `scpoe`; possible: scope, period, limit, durable",
    );
    refused(&server, "/v1/trending?period=all", 400, "unknown parameter `period`");
    refused(&server, "/v1/status?limit=1", 400, "there are none here");
    refused(&server, "/v1/charts/weekly?limit=1&limit=2", 400, "given twice");
    for limit in ["0", "-1", "ten", "99999999999999999999999", "1.5"] {
        refused(&server, &format!("/v1/trending?limit={limit}"), 400, "must be a whole number from 1");
    }
}

#[test]
fn paths_that_lead_nowhere() {
    let (server, _) = server();
    for path in
        ["/v1", "/web/", "/v1/charts/", "/v1/charts/weekly/2026-W47", "/v1/../etc/passwd", "/v2/trending", "//", "/%00"]
    {
        refused(&server, path, 404, "no such path");
    }
    refused(&server, "/v1/charts/%2e%2e%2fetc%2fpasswd", 404, "there is no chart `../etc/passwd`");
    refused(&server, "/v1/charts/..%00", 404, "there is no chart");
    refused(&server, "/v1/charts/%ff%fe", 400, "not UTF-8");
    refused(&server, "/v1/charts/weekly?scope=%ff", 404, "no play has it");
}

#[test]
fn charts_are_only_read() {
    let (server, _) = server();
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS, Method::TRACE] {
        for path in ["/v1/trending", "/healthz", "/nowhere"] {
            let response = send(&server, method.clone(), path);
            assert_eq!((path, response.status().as_u16()), (path, 405));
            assert_eq!(response.headers()["allow"], "GET, HEAD");
        }
    }
    let head = send(&server, Method::HEAD, "/v1/trending");
    assert_eq!((head.status(), head.headers()["content-type"].as_bytes()), (StatusCode::OK, &b"application/json"[..]));
    assert!(head.bytes().unwrap().is_empty());
}

#[test]
fn queries_and_headers_are_bounded() {
    let (server, _) = server();
    let long = |length: usize| format!("/v1/trending?scope={}", "X".repeat(length - "scope=".len()));
    refused(&server, &long(parameters::QUERY_BYTES_MAX), 404, "no play has it");
    refused(&server, &long(parameters::QUERY_BYTES_MAX + 1), 414, "longer than 4096 bytes");
    let raw = |request: &[u8]| {
        let mut stream = TcpStream::connect(server.address).unwrap();
        // The server may have answered and closed before it has been sent everything.
        let _ = stream.write_all(request);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned()
    };
    let header = format!("GET /healthz HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "y".repeat(200_000));
    assert!(!raw(header.as_bytes()).contains("200"), "{}", raw(header.as_bytes()));
    assert!(raw(b"\x16\x03\x01 this is not HTTP\r\n\r\n").contains("400"));
    let body = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 99999999999\r\n\r\nabc";
    assert!(raw(body).contains("200"));
    assert_eq!(send(&server, Method::GET, "/healthz").status(), StatusCode::OK);
}

/// Clients that connect and send nothing delay neither other clients nor the end of the server.
#[test]
fn idle_connections_are_harmless() {
    let (server, _) = server();
    let mut idle: Vec<TcpStream> = (0..200).map(|_| TcpStream::connect(server.address).unwrap()).collect();
    idle[0].write_all(b"GET /v1/tren").unwrap();
    assert_eq!(send(&server, Method::GET, "/healthz").status(), StatusCode::OK);
    let stopping = Instant::now();
    server.stop();
    assert!(stopping.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_stopped_server_frees_its_address() {
    let (server, http) = server();
    let address = server.address;
    let error = start(address, http.clone(), Access::default()).err().unwrap().to_string();
    assert!(error.contains("something already listens on 127.0.0.1:") && error.contains("--listen"), "{error}");
    drop(server);
    start(address, http, Access::default()).unwrap();
}

/// A process of a cluster other than process 0 has no charts: it answers probes, and redirects
/// clients to process 0.
#[test]
fn a_follower_sends_clients_to_process_0() {
    let follower = Arc::new(follower::Follower::default());
    let server = start_follower(SocketAddr::from(([127, 0, 0, 1], 0)), "--listen", follower.clone()).unwrap();
    let client = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let get = |path: &str| client.get(format!("http://{}{path}", server.address)).send().unwrap();
    let status = |path: &str| get(path).status().as_u16();
    assert_eq!(["/healthz", "/readyz", "/v1/status"].map(status), [200, 503, 503]);
    assert!(problem(&server, Method::GET, "/v1/charts", 503).contains("waits for the others"));

    follower.follow(Some("http://first:7878".to_owned()));
    assert_eq!(["/healthz", "/readyz"].map(status), [200, 200]);
    let sent = get("/v1/charts/weekly?scope=US&limit=3");
    assert_eq!(sent.status().as_u16(), 307);
    assert_eq!(sent.headers()["location"], "http://first:7878/v1/charts/weekly?scope=US&limit=3");
}

/// A client on another machine would be redirected to itself.
#[test]
fn a_follower_does_not_send_clients_to_a_loopback_that_is_not_theirs() {
    let follower = Arc::new(follower::Follower::default());
    let server = start_follower(SocketAddr::from(([127, 0, 0, 1], 0)), "--listen", follower.clone()).unwrap();
    follower.follow(None);
    assert!(problem(&server, Method::GET, "/v1/charts", 503).contains("--listen"));
}
