//! The HTTP API: queries that the workers answer, event streams, tokens, metrics, and the OpenAPI
//! document.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::process::Command;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::support::charts::default_charts;
use crate::support::fixture::{Traffic, folder};
use crate::support::oracle::cells;
use crate::support::plays::Play;
use crate::support::program::{Program, reprise, reprise_with};
use crate::support::running::{Running, run};
use crate::support::{broker, eventually, python, repository, unique};

const TOKEN: &str = "a-token-for-the-tests-only";

fn split(options: &str) -> Vec<&str> {
    options.split_whitespace().collect()
}

#[test]
fn query_answers_equal_a_brute_force() {
    let topic = unique("queries");
    let options = split(
        "--seed 7 --start 2025-05-05T05:00:00Z --history 40m --history-plays 15000 --count 16000 --rate 4000 --late 0.1 --songs 300",
    );
    let traffic = Traffic::generate(&topic, &options);
    let (plays, folder) = (&traffic.plays, folder());
    let running = Running::start(&topic, folder.path(), &["-w", "2"]);
    running.caught_up(&topic);
    eventually("the charts of the lake are served", || (running.get("/readyz").0 == 200).then_some(()));
    let completed: Vec<&Play> = plays.iter().filter(|play| play.completed).collect();

    let song = &completed[completed.len() / 2];
    let mut expected = BTreeMap::<String, i64>::new();
    for play in completed.iter().filter(|play| play.song_id == song.song_id) {
        *expected.entry("global".to_owned()).or_default() += 1;
        *expected.entry(play.country.clone()).or_default() += 1;
    }
    let track = running.json(&format!("/v1/tracks/{}?chart=all-time", song.song_id));
    assert_eq!((&track["title"], &track["artist"]), (&json!(song.title), &json!(song.artist)));
    let found = track["plays"].as_array().unwrap().iter();
    let found = found.map(|plays| (plays["scope"].as_str().unwrap().to_owned(), plays["plays"].as_i64().unwrap()));
    assert_eq!(found.collect::<BTreeMap<_, _>>(), expected);
    let all = running.json(&format!("/v1/tracks/{}", song.song_id));
    assert!(all["plays"].as_array().unwrap().iter().any(|plays| plays["chart"] == "weekly"), "{all}");

    let mut by_country = BTreeMap::<&str, [i64; 2]>::new();
    for play in &completed {
        let counts = by_country.entry(&play.country).or_default();
        counts[0] += 1;
        counts[1] += i64::from(play.song_id == song.song_id);
    }
    let geo = running.json(&format!("/v1/geo?chart=all-time&track={}", song.song_id));
    let expected = by_country
        .iter()
        .map(|(country, [plays, of_track])| json!({"country": country, "plays": plays, "track_plays": of_track}));
    assert_eq!(geo["countries"], Value::Array(expected.collect()));

    let text: String = song.title.chars().skip(1).take(6).collect::<String>().to_uppercase();
    let found = running.json(&search(&running, &text));
    let holds = |play: &Play| {
        let holds = |name: &str| name.to_lowercase().contains(&text.to_lowercase());
        holds(&play.title) || holds(&play.artist)
    };
    let mut tracks = BTreeMap::<&str, i64>::new();
    completed.iter().filter(|play| holds(play)).for_each(|play| *tracks.entry(&play.song_id).or_default() += 1);
    let mut tracks: Vec<(i64, &str)> = tracks.into_iter().map(|(id, plays)| (-plays, id)).collect();
    tracks.sort_unstable();
    let found = found["tracks"].as_array().unwrap().iter().filter(|track| track["plays"] != 0);
    let found: Vec<(i64, &str)> =
        found.map(|track| (-track["plays"].as_i64().unwrap(), track["track_id"].as_str().unwrap())).collect();
    assert_eq!(found, tracks.into_iter().take(20).collect::<Vec<_>>());

    artists(&running, song, &completed);
    past_windows(&running, &topic, plays);
    invalid_queries_are_refused(&running);
    running.stop();
}

/// The artist of `song`: their tracks, and the plays of all of these by chart, period and scope. A
/// track's id as a query parameter gives the same answer as in the path.
fn artists(running: &Running, song: &Play, completed: &[&Play]) {
    let of_artist = || completed.iter().filter(|play| play.artist == song.artist);
    let query = |path: &str, parameter: &str, value: &str| {
        let mut url = reqwest::Url::parse(&format!("{}{path}", running.address)).unwrap();
        url.query_pairs_mut().append_pair(parameter, value);
        running.json(&url[url::Position::BeforePath..])
    };
    let artist = query("/v1/artists", "name", &song.artist);
    let ids: std::collections::BTreeSet<&str> = of_artist().map(|play| &*play.song_id).collect();
    assert_eq!((&artist["artist"], &artist["track_count"]), (&json!(song.artist), &json!(ids.len())));
    let first = &artist["tracks"][0];
    let plays_of = |id: &Value| of_artist().filter(|play| *id == *play.song_id).count();
    assert_eq!(first["plays"], plays_of(&first["track_id"]), "{artist}");
    let cell = |chart: &str, scope: &str| {
        let mut cells = artist["plays"].as_array().unwrap().iter();
        cells.find(|cell| cell["chart"] == chart && cell["scope"] == scope).map(|cell| cell["plays"].clone())
    };
    assert_eq!(cell("all-time", "global"), Some(json!(of_artist().count())), "{artist}");
    let here = of_artist().filter(|play| play.country == song.country).count();
    assert_eq!(cell("all-time", &song.country), Some(json!(here)), "{artist}");
    let by_path = running.json(&format!("/v1/tracks/{}", song.song_id));
    assert_eq!(query("/v1/tracks", "id", &song.song_id)["plays"], by_path["plays"]);
}

fn search(running: &Running, text: &str) -> String {
    let mut url = reqwest::Url::parse(&format!("{}/v1/search", running.address)).unwrap();
    url.query_pairs_mut().append_pair("q", text);
    url[url::Position::BeforePath..].to_owned()
}

/// A past trending window includes plays that arrived after it.
fn past_windows(running: &Running, topic: &str, plays: &[Play]) {
    let clock = |running: &Running| -> Timestamp {
        running.json("/v1/trending")["as_of"]["clock"].as_str().unwrap().parse().unwrap()
    };
    let first_clock = clock(running);
    let play = |song: &str, time: Timestamp| Play { time, ..Play::new(song, "2025-05-05T05:05:00Z") };
    let now = first_clock + SignedDuration::from_mins(4);
    let new = [play("new", now), play("late", first_clock - SignedDuration::from_mins(1)), play("late", first_clock)];
    broker::produce(topic, 0, new.iter().map(Play::json));
    eventually("the window has moved on", || (clock(running) == now).then_some(()));
    running.caught_up(topic);
    let plays: Vec<Play> = plays.iter().cloned().chain(new).collect();
    let chart: Vec<_> = default_charts().into_iter().filter(|chart| chart.name == "trending").collect();
    for (minutes, scope) in [(0, "global"), (4, "global"), (4, "US"), (2, "JP"), (1, "global")] {
        let at = now - SignedDuration::from_mins(minutes);
        let mut answer = running.json(&format!("/v1/trending?at={at}&scope={scope}"));
        answer.as_object_mut().unwrap().remove("as_of");
        let expected = cells(&plays, &chart, Some(at)).into_iter().find(|cell| cell["scope"] == *scope);
        assert_eq!(Some(answer), expected, "{minutes} minutes before the clock");
    }
    let earliest = running.json("/v1/trending?at=earliest");
    let end: Timestamp = earliest["end"].as_str().unwrap().parse().unwrap();
    let (known, before) = (end - SignedDuration::from_secs(1), end - SignedDuration::from_secs(61));
    assert_eq!(running.json(&format!("/v1/trending?at={known}"))["period"], earliest["period"]);
    assert_eq!(running.get(&format!("/v1/trending?at={before}")).0, 404);
}

fn invalid_queries_are_refused(running: &Running) {
    let refused = |path: &str, expected: u16, text: &str| {
        let (status, body) = running.get(path);
        assert!(status == expected && body.contains(text), "{path}: {status} {body}");
    };
    refused("/v1/tracks/nobody-knows-it", 404, "/v1/search");
    refused("/v1/tracks?id=..", 404, "no track `..`");
    refused("/v1/tracks", 400, "`id` is missing");
    refused("/v1/artists?name=nobody", 404, "no artist `nobody`");
    refused("/v1/search", 400, "`q` is missing");
    refused("/v1/search?q=a&limit=1000", 400, "200 is the most");
    refused("/v1/geo?chart=nope", 404, "no chart `nope`");
    refused("/v1/geo?period=yesterday", 404, "yesterday");
    refused("/v1/tracks/S1?scope=Germany", 404, "Germany");
    refused("/v1/tracks/S1?period=yesterday", 404, "yesterday");
    refused("/v1/trending?at=2000-01-01T00:00:00Z", 404, "--trending-history");
    refused("/v1/trending?at=2999-01-01T00:00:00Z", 404, "after the current clock");
    refused("/v1/trending?at=soon", 400, "soon");
    refused("/v1/stream?chart=nope", 404, "no chart `nope`");
    refused("/v1/stream?every=60001", 400, "milliseconds");
}

/// Reads the events of a stream.
struct Events(BufReader<reqwest::blocking::Response>);

#[derive(Debug)]
struct Event {
    name: String,
    id: Option<String>,
    data: Value,
}

impl Events {
    fn open(running: &Running, path: &str, last: Option<&str>) -> Self {
        let client = reqwest::blocking::Client::builder().no_proxy().timeout(None).build().unwrap();
        let request = client.get(format!("{}{path}", running.address));
        let request = last.into_iter().fold(request, |request, last| request.header("Last-Event-ID", last));
        let response = request.send().unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self(BufReader::new(response))
    }

    fn next(&mut self) -> Event {
        let mut event = Event { name: String::new(), id: None, data: Value::Null };
        for line in self.0.by_ref().lines() {
            let line = line.unwrap();
            match line.split_once(": ") {
                Some(("event", name)) => name.clone_into(&mut event.name),
                Some(("id", id)) => event.id = Some(id.to_owned()),
                Some(("data", data)) => event.data = serde_json::from_str(data).unwrap(),
                _ if line.is_empty() && !event.name.is_empty() => return event,
                _ => {}
            }
        }
        panic!("the stream has ended")
    }
}

#[test]
fn a_stream_sends_changes_and_resumes_after_the_last_event_id() {
    let topic = broker::topic("stream", 1);
    let now = || Timestamp::now().to_string();
    broker::produce(&topic, 0, [Play::new("a", &now()).json(), Play::new("b", &now()).json()]);
    let folder = folder();
    let running = Running::start(&topic, folder.path(), &["--commit-interval", "500ms"]);
    running.caught_up(&topic);

    let path = "/v1/stream?chart=all-time&status=true";
    let mut events = Events::open(&running, path, None);
    let cell = events.next();
    assert_eq!((cell.name.as_str(), cell.data["entries"].as_array().unwrap().len()), ("cell", 2), "{cell:?}");
    broker::produce(&topic, 0, [Play::new("b", &now()).json()]);
    let change = loop {
        let event = events.next();
        if event.name == "change" {
            break event;
        }
        assert_eq!(event.name, "status");
        assert!(event.data["lake_version"].is_number(), "{event:?}");
    };
    let ranks: Vec<_> =
        change.data["entries"].as_array().unwrap().iter().map(|entry| entry["track_id"].as_str().unwrap()).collect();
    assert_eq!((ranks, &change.data["length"]), (vec!["b", "a"], &json!(2)));
    assert!(change.data["as_of"]["epoch"].is_number());
    drop(events);

    // A client that reconnects with its last event id receives only the changes since then.
    broker::produce(&topic, 0, [Play::new("c", &now()).json()]);
    eventually("the play is counted", || {
        let cell = running.json("/v1/charts/all-time");
        (cell["entries"].as_array().unwrap().len() == 3).then_some(())
    });
    std::thread::sleep(Duration::from_millis(500));
    let path = "/v1/stream?chart=all-time&status=true";
    let mut events = Events::open(&running, path, change.id.as_deref());
    let missed = events.next();
    assert_eq!(
        (missed.name.as_str(), missed.data["entries"][0]["track_id"].as_str()),
        ("change", Some("c")),
        "{missed:?}"
    );
    drop(events);

    // Event ids are valid within one run. After a restart the client receives the whole list.
    running.stop();
    let running = Running::start(&topic, folder.path(), &[]);
    running.caught_up(&topic);
    let mut events = Events::open(&running, path, missed.id.as_deref());
    let whole = events.next();
    assert_eq!((whole.name.as_str(), whole.data["entries"].as_array().unwrap().len()), ("cell", 3));
    assert_ne!(whole.id.unwrap().split('-').next(), missed.id.unwrap().split('-').next());
    running.stop();
}

#[test]
fn requests_without_the_token_get_401_and_the_log_never_contains_it() {
    let topic = broker::topic("token", 1);
    broker::produce(&topic, 0, [Play::new("a", "2025-05-05T05:05:00Z").json()]);
    let folder = folder();
    let token_file = folder.path().join("token");
    std::fs::write(&token_file, format!("{TOKEN}\n")).unwrap();
    let token_file = token_file.to_str().unwrap();
    let lake = folder.path().join("lake");
    let arguments = run(&topic, &lake, &["--token-file", token_file, "--cors", "https://charts.example"]);
    let running = Running::of(reprise_with(arguments, &[("RUST_LOG", "trace".to_owned())]));
    eventually("the run is ready", || (running.get("/readyz").0 == 200).then_some(()));
    for path in ["/v1/trending", "/v1/status", "/v1/stream", "/metrics", "/v1/nothing"] {
        let (status, body) = running.get(path);
        assert!(status == 401 && body.contains("token"), "{path}: {status} {body}");
    }
    assert_eq!(running.get("/").0, 200);

    let client = reqwest::blocking::Client::builder().no_proxy().build().unwrap();
    let answer = client.get(format!("{}/v1/trending", running.address)).bearer_auth(TOKEN).send().unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["access-control-allow-origin"]),
        (200, &"https://charts.example".parse().unwrap())
    );
    let tag = answer.headers()["etag"].clone();
    let again = client.get(format!("{}/v1/trending", running.address)).bearer_auth(TOKEN).header("If-None-Match", tag);
    assert_eq!(again.send().unwrap().status().as_u16(), 304);
    let preflight = client.request(reqwest::Method::OPTIONS, format!("{}/v1/trending", running.address));
    assert_eq!(preflight.send().unwrap().status().as_u16(), 204);

    let trending = |variables: &[(&str, String)], more: &[&str]| {
        let arguments = ["trending", "--format", "json", "--url", &running.address];
        reprise_with(arguments.iter().chain(more), variables).end()
    };
    assert!(trending(&[], &["--token-file", token_file]).status.success());
    assert!(trending(&[("REPRISE_TOKEN", TOKEN.to_owned())], &[]).status.success());
    let without = trending(&[], &[]);
    assert!(!without.status.success() && without.stderr.contains("--token-file"), "{}", without.stderr);
    let wrong = trending(&[("REPRISE_TOKEN", "another-token-of-this-length".to_owned())], &[]);
    assert!(!wrong.status.success() && !wrong.stderr.contains("another-token"), "{}", wrong.stderr);

    let log = running.program.stderr();
    assert!(!log.contains(TOKEN), "the token is in the log");
    running.stop();
    let short = reprise(run(&topic, &lake, &["--token-file", "/dev/null"])).end();
    assert!(short.status.code() == Some(2) && short.stderr.contains("openssl rand"), "{}", short.stderr);
}

/// With `--log-format json`, each log line is a JSON object. Listening on all addresses without a
/// token logs a warning.
#[test]
fn the_log_format_can_be_json() {
    let topic = broker::topic("json-log", 1);
    broker::produce(&topic, 0, [Play::new("a", "2025-05-05T05:05:00Z").json()]);
    let folder = folder();
    let arguments = run(&topic, folder.path(), &["--until-caught-up", "--listen", "0.0.0.0:0", "--log-format", "json"]);
    let ended = reprise(arguments).succeed();
    let lines =
        ended.stderr.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")));
    let lines: Vec<Value> = lines.collect();
    let logged = |level: &str, text: &str| {
        let mut lines = lines.iter();
        lines.any(|line| {
            line["level"] == level && line["message"].as_str().is_some_and(|message| message.contains(text))
        })
    };
    assert!(logged("INFO", "running") && logged("WARN", "--token-file"), "{}", ended.stderr);
}

/// `/v1/openapi.json` is a valid document, all answers conform to it, and a third-party parser
/// reads `/metrics`.
#[test]
fn answers_conform_to_the_openapi_document() {
    let Some(python) = python::environment() else {
        return eprintln!("SKIPPED: no Python to check the answers against the OpenAPI document");
    };
    let topic = unique("openapi");
    let traffic = Traffic::generate(
        &topic,
        &split("--seed 3 --history 2h --history-plays 3000 --count 4000 --rate 2000 --malformed 0.01"),
    );
    let folder = folder();
    let charts = folder.path().join("charts.toml");
    std::fs::copy(repository().join("examples/charts.toml"), &charts).unwrap();
    let options = ["--charts", charts.to_str().unwrap(), "--commit-interval", "500ms"];
    let running = Running::start(&topic, &folder.path().join("lake"), &options);
    running.caught_up(&topic);
    eventually("plays are in the lake", || running.status()["lake_plays"].as_u64().filter(|plays| *plays > 0));
    let song = &traffic.plays[0].song_id;
    let mut check = Command::new(python);
    check.arg(repository().join("tests/openapi.py")).args([&running.address, song]);
    eprint!("{}", Program::spawn(&mut check).succeed().stdout);
    running.stop();
}
