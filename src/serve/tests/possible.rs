//! What is asked for and is not there: what cannot be is 404, what could be is empty, and both say what there is. And what the
//! status does not know yet.

use reprise_dataflows::label::Label;

use super::*;
use crate::broker::Extent;

/// The problem document that `path` is answered with.
fn missing(server: &Server, path: &str) -> Value {
    let response = send(server, Method::GET, path);
    assert_eq!((path, response.status().as_u16()), (path, 404));
    response.json().unwrap()
}

#[test]
fn a_scope_that_cannot_be_is_not_found_and_the_answer_says_what_there_is() {
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
fn what_could_have_plays_and_has_none_says_what_does() {
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

/// Countries are what plays call them, and so are devices.
#[test]
fn a_name_that_plays_have_is_a_scope_whatever_it_looks_like() {
    let (server, shared) = server();
    // No device has been seen at all, so nobody can tell.
    assert_eq!(cell(&server, "/v1/charts/artists?scope=device:watch").entries.len(), 0);
    let played = |chart, scope| ((Cell { chart, start_day: 0, scope }, "Anna".to_owned()), 1);
    let ranked = vec![played(0, Scope::Country(Label::new("Mars"))), played(1, Scope::Device(Label::new("mobile")))];
    shared.charts_mut().apply(Changes { ranked, ..Changes::default() });
    assert_eq!(cell(&server, "/v1/charts/weekly?scope=Mars").entries.len(), 1);
    assert_eq!(cell(&server, "/v1/trending?scope=Mars").entries.len(), 0);
    refused(&server, "/v1/charts/artists?scope=device:watch", 404, "device that was ever seen");
    refused(&server, "/v1/charts/artists?scope=device:Mobile", 404, "Did you mean `device:mobile`?");
    // Before the charts are whole nobody knows what plays have.
    shared.ready.store(false, Ordering::Release);
    refused(&server, "/v1/charts/weekly?scope=Venus", 503, "still being made");
}

/// However many scopes there are, an answer has a bound, and the pages together have all of them.
#[test]
fn many_scopes_come_in_pages() {
    let (server, shared) = server();
    let country = |index: u32| Scope::Country(Label::new(&format!("c{index:05}")));
    let cells =
        (0..2500).map(|index| ((Cell { chart: 0, start_day: 20_773, scope: country(index) }, "S1".to_owned()), 1));
    shared.charts_mut().apply(Changes { ranked: cells.collect(), ..Changes::default() });
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

/// What nobody has said yet is unknown, not 0: where the partitions end, and with it the lag.
#[test]
fn the_status_says_what_is_not_in_the_lake_and_what_is_not_known() {
    let (server, shared) = server();
    let status = || json(&server, "/v1/status");
    assert_eq!((&status()["phase"], &status()["lag"]), (&"opening".into(), &Value::Null));
    let read = |accepted| {
        let mut partition = PartitionReport::new(0, 0);
        (partition.next, partition.accepted) = (accepted as i64, accepted);
        shared.reported(Report::Kafka(KafkaReport { partitions: vec![partition], ..KafkaReport::default() }));
    };
    read(7);
    let status_now = status();
    assert_eq!((&status_now["lag"], &status_now["partitions"][0]["end_offset"]), (&Value::Null, &Value::Null));
    assert_eq!((&status_now["uncommitted_plays"], &status_now["next_commit_ms"]), (&7.into(), &Value::Null));
    shared.measured(&[(0, Extent { first: 0, end: 9 })].into(), None, true);
    assert_eq!(status()["lag"], 2);
    // The broker's word is older than what has been read since.
    read(10);
    assert_eq!(status()["lag"], 0);

    shared.commit_is_due(Some(Instant::now() + Duration::from_secs(60)));
    assert!(status()["next_commit_ms"].as_u64().is_some_and(|ms| ms > 0 && ms <= 60_000), "{}", status());
    let cut = CutPoint { epoch: 1, clock_us: None };
    let offsets = [(0, 9)].into();
    shared.committed(&Committed { cut, version: 1, plays: 8, dead_letters: 2, files: 1, bytes: 9, offsets });
    shared.commit_is_due(None);
    let committed = status();
    assert_eq!((&committed["uncommitted_plays"], &committed["next_commit_ms"]), (&2.into(), &Value::Null));
    assert_eq!((&committed["lake_plays"], &committed["lake_dead_letters"]), (&8.into(), &2.into()));
    for (rebuilt, caught_up, phase) in [(true, false, "catching_up"), (true, true, "live")] {
        shared.ticked(rebuilt, caught_up);
        assert_eq!(status()["phase"], phase);
    }
}
