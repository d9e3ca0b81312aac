//! Requests for what does not exist: what cannot exist is 404, what could exist is empty, and both
//! say what there is. And values of the status that are not known yet.

use std::thread::JoinHandle;

use reprise_dataflows::query::{Answer, Finding};

use super::*;
use crate::kafka::Extent;

/// The problem document that `path` is answered with.
fn missing(server: &Server, path: &str) -> Value {
    let response = send(server, Method::GET, path);
    assert_eq!((path, response.status().as_u16()), (path, 404));
    response.json().unwrap()
}

/// Answers the next query as workers would that have `found` this.
fn workers(http: &Arc<Http>, found: Vec<Finding>) -> JoinHandle<()> {
    let http = http.clone();
    std::thread::spawn(move || {
        let began = Instant::now();
        while !http.state.queries.are_waiting() && began.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(1));
        }
        let as_of = http.state.charts().as_of();
        let queries = http.state.queries.begin(as_of.epoch);
        let answers =
            queries.iter().flat_map(|query| found.iter().map(|found| Answer { id: query.id, found: found.clone() }));
        http.state.queries.complete(as_of, answers.collect());
    })
}

fn clock(http: &Http, time: &str) {
    let as_of = http.state.charts().as_of();
    http.state.charts_mut().set_as_of(AsOf { clock_us: Some(fixtures::instant_us(time)), ..as_of });
}

#[test]
fn an_impossible_scope_is_not_found_and_others_are_named() {
    let (server, _) = server();
    for path in ["/v1/charts/weekly", "/v1/trending", "/v1/stream"] {
        for scope in ["Germany", "us", "Mars", "U", "USA"] {
            let problem = missing(&server, &format!("{path}?scope={scope}"));
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains(&format!("no list for `{scope}`")) && detail.contains("`global`"), "{detail}");
            assert!(problem["available"]["scopes"].as_array().unwrap().contains(&"global".into()), "{problem}");
        }
    }
    assert!(missing(&server, "/v1/charts/weekly?scope=us")["detail"].as_str().unwrap().contains("Did you mean `US`?"));
    let weekly = missing(&server, "/v1/charts/weekly?scope=city:Bonn");
    assert_eq!(weekly["available"]["scopes"], serde_json::json!(["global", "US"]));
    assert_eq!(weekly["available"]["periods"], serde_json::json!(["2026-W47", "2026-W46"]));
    let month = missing(&server, "/v1/charts/weekly?period=2026-11");
    assert!(month["detail"].as_str().unwrap().contains("the newest with plays is `2026-W47`"), "{month}");
}

#[test]
fn an_empty_cell_names_those_with_entries() {
    let (server, _) = server();
    let empty = cell(&server, "/v1/charts/weekly?scope=ZW");
    let available = empty.available.unwrap();
    assert_eq!((empty.entries.len(), &available.scopes[..]), (0, &["global".to_owned(), "US".to_owned()][..]));
    let older = cell(&server, "/v1/charts/weekly?scope=US&period=2026-W46").available.unwrap();
    assert_eq!((&older.periods[..], &older.scopes[..]), (&["2026-W47".to_owned()][..], &["global".to_owned()][..]));
    let never = cell(&server, "/v1/charts/weekly?period=2031-W01").available.unwrap();
    assert_eq!(never.periods, ["2026-W47", "2026-W46"]);
    assert_eq!(cell(&server, "/v1/charts/weekly").available, None);
}

/// Any name that plays have for a country or a device is a scope.
#[test]
fn every_name_in_plays_is_a_scope() {
    let (server, http) = server();
    // No play has named a device yet, so this could be one.
    assert_eq!(cell(&server, "/v1/charts/artists?scope=device:watch").entries.len(), 0);
    let played = |chart, scope| ((Cell { chart, start_day: 0, scope }, "Anna".to_owned()), 1);
    let ranked = vec![played(0, Scope::country("Mars")), played(1, Scope::device("mobile"))];
    http.state.charts_mut().apply(Changes { ranked, ..Changes::default() });
    assert_eq!(cell(&server, "/v1/charts/weekly?scope=Mars").entries.len(), 1);
    assert_eq!(cell(&server, "/v1/trending?scope=Mars").entries.len(), 0);
    refused(&server, "/v1/charts/artists?scope=device:watch", 404, "device that was ever seen");
    refused(&server, "/v1/charts/artists?scope=device:Mobile", 404, "Did you mean `device:mobile`?");
    // The names that plays have are not known before the charts are complete.
    http.state.ready.store(false, Ordering::Release);
    refused(&server, "/v1/charts/weekly?scope=Venus", 503, "still being computed");
}

/// However many scopes there are, an answer is bounded, and the pages together have all of them.
#[test]
fn many_scopes_come_in_pages() {
    let (server, http) = server();
    let country = |index: u32| Scope::country(&format!("c{index:05}"));
    let cells =
        (0..2500).map(|index| ((Cell { chart: 0, start_day: 20_773, scope: country(index) }, "S1".to_owned()), 1));
    http.state.charts_mut().apply(Changes { ranked: cells.collect(), ..Changes::default() });
    let (mut path, mut found, mut pages) = ("/v1/charts".to_owned(), Vec::new(), 0);
    loop {
        let answer = send(&server, Method::GET, &path);
        let link = answer.headers().get("link").map(|link| link.to_str().unwrap().to_owned());
        let list: Value = answer.json().unwrap();
        assert_eq!(list["charts"][1]["with_entries"]["newest"], "2026-W47");
        let scopes = list["charts"][1]["with_entries"]["scopes"].as_array().unwrap();
        assert!(scopes.len() <= 1000);
        found.extend(scopes.iter().map(|scope| scope.as_str().unwrap().to_owned()));
        pages += 1;
        let Some(next) = list["next"].as_str() else { break };
        assert_eq!(link, Some(format!("<{next}>; rel=\"next\"")));
        path = next.to_owned();
    }
    assert_eq!((found.len(), pages), (2502, 3));
    assert!(found.iter().collect::<std::collections::BTreeSet<_>>().len() == 2502 && found.contains(&"US".to_owned()));
    assert_eq!(json(&server, "/v1/charts?limit=1&after=c00007")["charts"][1]["with_entries"]["scopes"][0], "c00008");
}

/// The web page revalidates only the first page of the list, and loads the others when the tag of
/// the first has changed.
#[test]
fn a_scope_that_comes_on_a_later_page_changes_the_tag_of_the_first() {
    let (server, http) = server();
    let play = |from: u32, to: u32, plays: i64| {
        let cell = |index| Cell { chart: 0, start_day: 20_773, scope: fixtures::country(&format!("c{index:05}")) };
        let ranked = (from..to).map(|index| ((cell(index), "S1".to_owned()), plays)).collect();
        http.state.charts_mut().apply(Changes { ranked, ..Changes::default() });
    };
    let first = || {
        let answer = send(&server, Method::GET, "/v1/charts");
        (answer.headers()["etag"].clone(), answer.json::<Value>().unwrap())
    };
    play(0, 1500, 1);
    let before = first();
    play(0, 1500, 1);
    assert_eq!(first(), before);
    play(1500, 1501, 1);
    let after = first();
    assert!(after.1 == before.1 && after.0 != before.0);
    // One scope appears as another disappears, so their number stays the same.
    play(1500, 1501, -1);
    play(1501, 1502, 1);
    assert!(first().0 != after.0);
}

/// The window slides while a client goes from page to page.
#[test]
fn pages_of_the_window_lead_on_when_it_has_moved() {
    let (server, http) = server();
    let country = |chart: u32, start_day: i32, name: &str| Finding::Country {
        cell: Cell { chart, start_day, scope: fixtures::country(name) },
        plays: 1,
        of_track: 0,
    };
    let page = |path: &str, found: Vec<Finding>| {
        let workers = workers(&http, found);
        let page = json(&server, path);
        workers.join().unwrap();
        page
    };
    let trending = || vec![country(TRENDING, 0, "DE"), country(TRENDING, 0, "US")];
    let first = page("/v1/geo?chart=trending&limit=1", trending());
    assert_eq!(
        (&first["countries"][0]["country"], first["end"].as_str()),
        (&"DE".into(), Some("2026-11-20T14:42:00Z"))
    );
    clock(&http, "2026-11-20T15:01:30Z");
    let second = page(first["next"].as_str().unwrap(), trending());
    assert_eq!(
        (&second["countries"][0]["country"], second["end"].as_str()),
        (&"US".into(), Some("2026-11-20T15:02:00Z"))
    );
    assert!(second.get("next").is_none());
    // For other charts the link names the period, so the next page is of the same one even if a new
    // period has begun.
    let weekly = page("/v1/geo?chart=weekly&limit=1", vec![country(0, 20_773, "DE"), country(0, 20_773, "US")]);
    assert_eq!(weekly["next"], "/v1/geo?chart=weekly&after=DE&limit=1&period=2026-W47");
}

/// The command in the message can be pasted into a shell.
#[test]
fn a_window_that_is_not_known_names_the_lake_that_has_it() {
    let (server, http) = server();
    for (lake, word) in [("", "LAKE"), ("/data/lake", "/data/lake"), ("/a b/it's", "'/a b/it'\\''s'")] {
        http.state.status_mut().lake = lake.into();
        let workers = workers(&http, vec![Finding::KnownFrom(i64::MAX)]);
        let command = format!("`reprise replay --lake {word} --chart trending --clock 2026-11-01T00:00:00Z`");
        refused(&server, "/v1/trending?at=2026-11-01", 404, &command);
        workers.join().unwrap();
        // The next query of this kind has to wait for a moment.
        std::thread::sleep(Duration::from_millis(60));
    }
}

#[test]
fn a_wrong_token_is_told_from_none() {
    let (_, http) = server();
    let access = Access { token: Some(access::Token::new("0123456789abcdef").unwrap()), ..Access::default() };
    let server = start(SocketAddr::from(([127, 0, 0, 1], 0)), http, access).unwrap();
    let client = Client::builder().no_proxy().build().unwrap();
    let detail = |sent: Option<&str>| {
        let request = client.get(format!("http://{}/v1/status", server.address));
        let answer =
            sent.into_iter().fold(request, |request, sent| request.header("authorization", sent)).send().unwrap();
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["www-authenticate"]),
            (401, &"Bearer".parse().unwrap())
        );
        answer.json::<Problem>().unwrap().detail
    };
    assert!(detail(None).starts_with("a token is needed here"));
    for sent in ["Bearer fedcba9876543210", "Basic fedcba9876543210", "fedcba9876543210"] {
        let detail = detail(Some(sent));
        assert!(detail.starts_with("the token that was sent is not the one of this server"), "{detail}");
        assert!(!detail.contains("fedcba"), "{detail}");
    }
}

/// A value that is not known yet is null, not 0: the ends of the partitions, and with them the lag.
#[test]
fn the_status_tells_uncommitted_from_unknown() {
    let (server, http) = server();
    let status = || json(&server, "/v1/status");
    assert_eq!((&status()["phase"], &status()["lag"]), (&"opening".into(), &Value::Null));
    let read = |accepted| {
        let mut partition = PartitionReport::new(0, 0);
        (partition.next, partition.accepted) = (accepted as i64, accepted);
        http.state.reported(Report::Kafka(KafkaReport { partitions: vec![partition], ..KafkaReport::default() }));
    };
    read(7);
    let status_now = status();
    assert_eq!((&status_now["lag"], &status_now["partitions"][0]["end_offset"]), (&Value::Null, &Value::Null));
    assert_eq!((&status_now["uncommitted_plays"], &status_now["next_commit_ms"]), (&7.into(), &Value::Null));
    http.state.set_extents(&[(0, Extent { first: 0, end: 9 })].into(), None, true);
    assert_eq!(status()["lag"], 2);
    // More has been read since the broker said where the partition ends.
    read(10);
    assert_eq!(status()["lag"], 0);

    http.state.commit_is_due(Some(Instant::now() + Duration::from_secs(60)));
    assert!(status()["next_commit_ms"].as_u64().is_some_and(|ms| ms > 0 && ms <= 60_000), "{}", status());
    let cut = CutPoint { epoch: 1, clock_us: None };
    let offsets = [(0, 9)].into();
    http.state.committed(&Committed { cut, version: 1, plays: 8, dead_letters: 2, files: 1, bytes: 9, offsets });
    http.state.commit_is_due(None);
    let committed = status();
    assert_eq!((&committed["uncommitted_plays"], &committed["next_commit_ms"]), (&2.into(), &Value::Null));
    assert_eq!((&committed["lake_plays"], &committed["lake_dead_letters"]), (&8.into(), &2.into()));
    for (rebuilt, caught_up, phase) in [(true, false, "catching_up"), (true, true, "live")] {
        http.state.ticked(rebuilt, caught_up);
        assert_eq!(status()["phase"], phase);
    }
}
