//! The limits that bound what many or slow clients can cost.

use axum::body::Bytes;

use super::*;
use crate::serve::budget::Share;
use crate::serve::connections::ClientAddress;
use crate::serve::query::cells;
use crate::serve::readers::Pieces;

fn listening(server: &Server) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = [0; 15];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
    stream
}

/// More clients than there are slots keep their connections open after an answer. The next client
/// is still answered, and gets the slot of the connection that was idle longest.
#[test]
fn kept_connections_lock_no_client_out() {
    let (server, _) = server();
    let kept: Vec<TcpStream> = (0..connections::OPEN_MAX + 100).map(|_| listening(&server)).collect();
    assert_eq!(send(&server, Method::GET, "/healthz").status(), StatusCode::OK);
    assert_eq!(cell(&server, "/v1/trending").entries.len(), 1);
    let mut first = &kept[0];
    let mut rest = Vec::new();
    // The connection ends after the rest of its answer.
    first.read_to_end(&mut rest).unwrap();
    assert!(rest.ends_with(b"ok\n"));
}

/// A client sends thousands of requests at once and reads no answer. A probe of another client is
/// answered in between.
#[test]
fn requests_that_are_sent_at_once_let_probes_through() {
    const REQUESTS: usize = 3000;
    let (server, http) = server();
    let (mut probe, mut greedy) = (listening(&server), listening(&server));
    let request = b"HEAD /v1/snapshot HTTP/1.1\r\nHost: localhost\r\n\r\n";
    greedy.write_all(&request.repeat(REQUESTS)).unwrap();
    probe.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    // The rest of the answer to the probe's first request, and the answer to its second.
    let mut answers = Vec::new();
    while answers.windows(3).filter(|end| end == b"ok\n").count() < 2 {
        let mut piece = [0; 1024];
        let length = probe.read(&mut piece).unwrap();
        assert!(length > 0, "the probe has lost its connection");
        answers.extend_from_slice(&piece[..length]);
    }
    let answered = http.state.metrics.answers("/v1/snapshot", 200);
    assert!(answered < REQUESTS as u64, "the probe has waited for all of them");
}

#[test]
fn probes_have_an_address_of_their_own() {
    let (_, http) = server();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let probes = start_probes(any, http.clone(), Access::default()).unwrap();
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(send(&probes, Method::GET, path).status(), StatusCode::OK);
    }
    for path in ["/", "/v1/trending", "/v1/status"] {
        refused(&probes, path, 404, "--listen");
    }
    let taken = start_probes(probes.address, http, Access::default()).err().unwrap().to_string();
    assert!(taken.contains("--probe-listen"), "{taken}");
}

/// An answer that does not fit in the budget is refused, and the client is told when to ask again.
#[test]
fn answers_over_the_budget_get_503() {
    let (server, http) = server();
    http.state.limit_memory(8 << 20);
    let held = http.budget.count(Share::Answers, Bytes::from(vec![0; 1 << 20]));
    let answer = send(&server, Method::GET, "/v1/trending");
    assert_eq!((answer.status().as_u16(), &answer.headers()["retry-after"]), (503, &"5".parse().unwrap()));
    for path in ["/healthz", "/metrics"] {
        assert_eq!(send(&server, Method::GET, path).status(), StatusCode::OK, "{path}");
    }
    drop(held);
    let answer = send(&server, Method::GET, "/v1/trending");
    assert!(answer.status() == StatusCode::OK && answer.headers().contains_key("etag"));
    drop(answer.bytes().unwrap());
    assert_eq!(cell(&server, "/v1/trending").entries.len(), 1);
}

/// Answers of `/metrics` that nobody reads hold no more memory than their share, and other answers
/// still fit.
#[test]
fn metrics_have_a_share_of_the_budget() {
    let (server, http) = server();
    http.state.limit_memory(8 << 20);
    let held = http.budget.count(Share::Metrics, Bytes::from(vec![0; 64 << 10]));
    assert_eq!(send(&server, Method::GET, "/metrics").status(), StatusCode::SERVICE_UNAVAILABLE);
    for path in ["/healthz", "/readyz", "/v1/trending"] {
        assert_eq!(send(&server, Method::GET, path).status(), StatusCode::OK, "{path}");
    }
    drop(held);
    assert_eq!(send(&server, Method::GET, "/metrics").status(), StatusCode::OK);
}

/// A long list of trending is found by a filter that names no period: the window may have slid
/// since the filter was made.
#[test]
fn a_long_list_of_the_window_is_that_of_its_own_moment() {
    let (_, http) = server();
    let played = (0..300).map(|index| {
        let scope = Scope::country(&format!("c{index:05}"));
        ((Cell { chart: TRENDING, start_day: 0, scope }, "S1".to_owned()), 1)
    });
    http.state.charts_mut().apply(Changes { ranked: played.collect(), ..Changes::default() });
    let request = cells::Request { scope: Some("*".to_owned()), ..cells::Request::default() };
    let found = cells::chart(&http.state.charts(), "trending", &request).unwrap();
    let cells::ChartAnswer::Many(filter) = found else { panic!("a long list") };
    let as_of = http.state.charts().as_of();
    http.state.charts_mut().set_as_of(AsOf { clock_us: as_of.clock_us.map(|us| us + 3_600_000_000), ..as_of });
    assert_eq!(http.state.charts().sorted_keys(&filter).len(), 301);
}

/// A long list is made while it is read, and is an array like a short one.
#[test]
fn a_long_list_is_an_array_like_a_short_one() {
    let (server, http) = server();
    let country = |index: u32| Scope::country(&format!("c{index:05}"));
    let cells =
        (0..300).map(|index| ((Cell { chart: 0, start_day: 20_773, scope: country(index) }, "S1".to_owned()), 1));
    http.state.charts_mut().apply(Changes { ranked: cells.collect(), ..Changes::default() });
    let answer = send(&server, Method::GET, "/v1/charts/weekly?scope=*&period=*");
    assert_eq!(answer.headers()["content-type"], "application/json");
    assert!(!answer.headers().contains_key("etag"));
    let found: Vec<ChartCell> = answer.json().unwrap();
    let filter = crate::state::charts::Filter { chart: Some("weekly".to_owned()), ..Default::default() };
    assert!(found.len() == 303 && found == http.state.charts().cells(&filter));
    let short = send(&server, Method::GET, "/v1/charts/weekly?scope=*&period=*&limit=1");
    assert!(short.headers().contains_key("etag"));
}

#[test]
fn few_snapshots_are_read_at_once() {
    let (server, http) = server();
    let open =
        || http.snapshots.open(ClientAddress(None), || Ok::<_, ()>(Box::new(std::iter::empty()) as Pieces)).unwrap();
    let readers: Vec<_> = std::iter::from_fn(open).collect();
    assert_eq!(readers.len(), snapshot::READERS_MAX);
    assert!(problem(&server, Method::GET, "/v1/snapshot", 503).contains("too many snapshots"));
    drop(readers);
    assert_eq!(send(&server, Method::GET, "/v1/snapshot").status(), StatusCode::OK);
}
