//! The HTTP answers of a running instance, and the commands that query it.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::support::charts::default_charts;
use crate::support::fixture::{Traffic, folder};
use crate::support::oracle::{Chart, assert_same, cells};
use crate::support::plays::Play;
use crate::support::program::{reprise, succeed};
use crate::support::running::Running;
use crate::support::{broker, eventually, unique};

/// The cells of an answer without `as_of`, and their clock.
fn split(answer: Value) -> (Vec<Value>, Option<Timestamp>) {
    let mut cells = if answer.is_array() { answer.as_array().unwrap().clone() } else { vec![answer] };
    let as_of = cells.iter_mut().map(|cell| cell.as_object_mut().unwrap().remove("as_of").expect("an as_of")).last();
    let clock = as_of.and_then(|as_of| Some(as_of["clock"].as_str()?.parse().expect("an instant")));
    (cells, clock)
}

/// Compares the answer to `path` with the brute-force cells for which `wanted` holds.
#[track_caller]
fn check(running: &Running, path: &str, plays: &[Play], chart: &str, wanted: impl Fn(&Value) -> bool) {
    let (found, clock) = split(running.json(path));
    let charts: Vec<Chart> = default_charts().into_iter().filter(|known| known.name == chart).collect();
    let expected: Vec<Value> = cells(plays, &charts, clock).into_iter().filter(wanted).collect();
    assert!(!expected.is_empty(), "nothing is expected for {path}");
    assert_same(&expected, &found);
}

#[test]
fn chart_answers_equal_a_brute_force() {
    let topic = unique("http");
    let options = "--seed 5 --history 2h --history-plays 16000 --count 20000 --rate 4000 --late 0.1 --malformed 0.01";
    let traffic = Traffic::generate(&topic, &options.split_whitespace().collect::<Vec<_>>());
    let (plays, folder) = (&traffic.plays, folder());
    let running = Running::start(&topic, folder.path(), &["-w", "2"]);
    assert_eq!(running.get("/healthz"), (200, "ok\n".to_owned()));
    let status = running.caught_up(&topic);
    assert_eq!((&status["address"], &status["ready"]), (&json!(running.address), &json!(true)));
    assert_eq!(running.get("/readyz"), (200, "ready\n".to_owned()));

    check(&running, "/v1/trending", plays, "trending", |cell| cell["scope"] == "global");
    check(&running, "/v1/trending?scope=JP", plays, "trending", |cell| cell["scope"] == "JP");
    check(&running, "/v1/trending?scope=*", plays, "trending", |_| true);
    check(&running, "/v1/charts/all-time", plays, "all-time", |cell| cell["scope"] == "global");
    check(&running, "/v1/charts/weekly?scope=*&period=*", plays, "weekly", |_| true);
    let month = plays.iter().map(|play| play.time).max().unwrap().strftime("%Y-%m").to_string();
    let path = format!("/v1/charts/monthly?scope=US&period={month}");
    check(&running, &path, plays, "monthly", |cell| cell["scope"] == "US" && cell["period"] == *month);
    let three = running.json("/v1/charts/all-time?limit=3");
    assert_eq!(
        three["entries"].as_array().unwrap()[..],
        running.json("/v1/charts/all-time")["entries"].as_array().unwrap()[..3]
    );

    let charts = running.json("/v1/charts");
    let names: Vec<&Value> = charts["charts"].as_array().unwrap().iter().map(|chart| &chart["name"]).collect();
    assert_eq!(names, ["trending", "weekly", "monthly", "all-time"]);
    assert_eq!(charts["charts"][3]["with_entries"]["periods"], json!(["all"]));

    commands_print_what_http_answers(&running);
    invalid_queries_are_refused(&running);
    a_new_play_is_seen_soon(&running, &topic);
    running.stop();
}

fn commands_print_what_http_answers(running: &Running) {
    let url = ["--url", running.address.as_str()];
    let stdout = |arguments: &[&str]| succeed(arguments.iter().chain(&url)).stdout;
    let printed: Value = serde_json::from_str(&stdout(&["trending", "--format", "json"])).unwrap();
    let (cells, _) = split(printed);
    assert_same(&split(running.json("/v1/trending")).0, &cells);

    let answer = running.json("/v1/charts/monthly?scope=BR&limit=4");
    let csv = stdout(&["chart", "monthly", "--scope", "BR", "--limit", "4", "--format", "csv"]);
    assert_eq!(csv.lines().count(), 1 + 4, "{csv}");
    let csv = csv.replace("\"\"", "\"");
    let table = stdout(&["chart", "monthly", "--scope", "BR", "--limit", "4"]);
    for entry in answer["entries"].as_array().unwrap() {
        let plays = entry["plays"].to_string();
        for text in [entry["title"].as_str().unwrap(), entry["artist"].as_str().unwrap(), &plays] {
            assert!(csv.contains(text) && table.contains(text), "{text:?} in\n{csv}\n{table}");
        }
    }
}

fn invalid_queries_are_refused(running: &Running) {
    let refused = |path: &str, expected: u16| {
        let (status, body) = running.get(path);
        let problem: Value = serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body}"));
        assert_eq!((status, &problem["status"]), (expected, &json!(expected)), "{path}: {body}");
        assert!(problem["detail"].is_string(), "{path}: {body}");
    };
    refused("/v1/charts/nope", 404);
    refused("/v1/charts/weekly?scope=device:mobile", 404);
    refused("/v1/charts/weekly?period=yesterday", 404);
    refused("/v1/charts/weekly?scope=Germany", 404);
    refused("/v1/charts/weekly?scpoe=US", 400);
    refused("/v1/nothing", 404);
    let ended = reprise(["chart", "nope", "--url", &running.address]).end();
    assert_eq!((ended.status.code(), ended.stdout.as_str()), (Some(1), ""));
    assert_eq!(
        ended.stderr,
        "error: there is no chart `nope`; the charts are `trending`, `weekly`, `monthly`, `all-time`\n"
    );
}

fn a_new_play_is_seen_soon(running: &Running, topic: &str) {
    let before = running.status()["accepted"].as_i64().unwrap();
    let new = Play { country: "XX".to_owned(), ..Play::new("new", &Timestamp::now().to_string()) };
    broker::produce(topic, 0, [new.json()]);
    eventually("the new play is counted", || {
        let cell = running.json("/v1/charts/all-time?scope=XX");
        (cell["entries"]
            == json!([{"rank": 1, "track_id": "new", "title": new.title, "artist": new.artist, "plays": 1}]))
        .then_some(())
    });
    // The trending list has advanced with the clock of this play.
    let trending = running.json("/v1/trending?scope=XX");
    assert_eq!(trending["entries"][0]["track_id"], "new", "{trending}");
    assert_eq!(running.status()["accepted"], before + 1);
}

/// Without plays, the clock starts to advance after a while, at the speed of real time, so that the
/// window drains.
#[test]
fn the_window_drains_without_plays() {
    let topic = broker::topic("drains", 1);
    let old = Play::new("old", "2024-07-07T07:07:07Z");
    broker::produce(&topic, 0, [old.json()]);
    let folder = folder();
    let charts = folder.path().join("charts.toml");
    std::fs::write(&charts, "[trending]\nwindow = \"5s\"\nslide = \"1s\"\n").unwrap();
    let began = Timestamp::now();
    let options = ["--idle", "1s", "--charts", charts.to_str().unwrap()];
    let running = Running::start(&topic, &folder.path().join("lake"), &options);
    running.caught_up(&topic);
    let drained = eventually("the window is empty", || {
        let trending = running.json("/v1/trending");
        (trending["entries"] == json!([])).then_some(trending)
    });
    let clock: Timestamp = drained["as_of"]["clock"].as_str().unwrap().parse().unwrap();
    let (moved, passed) = (clock.duration_since(old.time), Timestamp::now().duration_since(began));
    assert!(moved > jiff::SignedDuration::from_secs(3) && moved <= passed, "{moved} in {passed}");
    assert_eq!(running.json("/v1/charts/all-time")["entries"][0]["plays"], 1);
    running.stop();
}
