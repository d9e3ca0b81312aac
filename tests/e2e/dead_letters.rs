//! Records that are not plays are kept unchanged, with a reason, and never stop a run.

use crate::support::cluster::cluster;
use crate::support::fixture::{PARTITIONS, folder, traffic};
use crate::support::lake::{self, DeadLetter};
use crate::support::plays::Play;
use crate::support::program::reprise;
use crate::support::running::{Running, offsets, run, run_to_end};
use crate::support::{broker, eventually, heavy};

/// The table holds exactly the invalid records that were sent, byte for byte.
#[test]
fn dead_letters_have_the_bytes_that_were_sent() {
    let traffic = traffic();
    let folder = folder();
    let _heavy = heavy();
    run_to_end(&traffic.topic, folder.path(), &["-w", "2"]);
    let letters = lake::dead_letters(folder.path());
    assert!(letters.iter().all(|letter| letter.topic == traffic.topic));

    let sorted = |mut letters: Vec<_>| {
        letters.sort();
        letters
    };
    let key = |letter: &DeadLetter| {
        (letter.partition, letter.reason.clone(), letter.key.clone().unwrap_or_default(), letter.base64.clone())
    };
    let found = sorted(letters.iter().map(key).collect());
    let sent = traffic.bad.iter().map(|bad| (bad.partition, bad.reason.clone(), bad.key.clone(), bad.base64.clone()));
    let sent = sorted(sent.collect());
    assert_eq!(found.len(), sent.len());
    let different = found.iter().zip(&sent).find(|(found, sent)| found != sent);
    let start = |text: &Option<String>| text.as_ref().map(|text| text.chars().take(200).collect::<String>());
    let shown = different.map(|(found, sent)| [found, sent].map(|l| (l.0, &l.1, &l.2, start(&l.3))));
    assert_eq!(shown, None, "the first difference: found, sent");
}

/// The API counts dead letters by reason, and plays and dead letters add up to all records.
#[test]
fn dead_letters_are_counted_by_reason() {
    let traffic = traffic();
    let folder = folder();
    let _heavy = heavy();
    let running = Running::start(&traffic.topic, folder.path(), &["-w", "2"]);
    let status = running.caught_up(&traffic.topic);
    assert_eq!(status["dead_letters"], serde_json::to_value(traffic.rejections()).unwrap());
    assert_eq!(status["accepted"], traffic.plays.len());
    assert_eq!(status["holes"], 0);
    eventually("the ends of the partitions are known", || (running.status()["lag"] == 0).then_some(()));
    assert_eq!(status["workers"], 2);
    assert_eq!(status["topic"], traffic.topic);
    let answer = running.json("/v1/dead-letters");
    assert_eq!(answer["counts"], status["dead_letters"]);
    let newest = answer["dead_letters"].as_array().unwrap();
    assert_eq!(newest.len(), traffic.bad.len().min(100));
    for letter in newest {
        let is_sent =
            traffic.bad.iter().any(|bad| letter["partition"] == bad.partition && letter["reason"] == *bad.reason);
        assert!(is_sent && letter["topic"] == traffic.topic && letter["detail"] != "", "{letter}");
    }
    let next = offsets(&status, "next_offset");
    assert_eq!(next.len().to_string(), PARTITIONS);
    assert_eq!(next.values().sum::<i64>(), traffic.records() as i64);
    running.stop();
}

/// Records made by hand from the documentation, instead of by `reprise generate`.
#[test]
fn every_documented_reason_occurs() {
    let play = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut event = serde_json::from_slice(&Play::new("a", "2020-06-01T00:00:00Z").json()).unwrap();
        change(&mut event);
        event.to_string().into_bytes()
    };
    let with = |name: &'static str, value: serde_json::Value| play(&|event| event[name] = value.clone());
    let nested = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let mut not_utf8 = with("title", "??".into());
    let position = not_utf8.windows(2).position(|pair| pair == b"??").unwrap();
    not_utf8[position] = 0xff;
    let records: Vec<(&str, Vec<u8>)> = vec![
        ("not_json", b"play".to_vec()),
        ("not_json", b"[]".to_vec()),
        ("not_json", [with("title", "x".into()), b"}".to_vec()].concat()),
        ("not_utf8", not_utf8),
        ("empty", Vec::new()),
        ("missing_field", with("song_id", "".into())),
        ("missing_field", play(&|event| drop(event.as_object_mut().unwrap().remove("country")))),
        ("missing_field", with("completed", serde_json::Value::Null)),
        ("wrong_type", with("completed", "true".into())),
        ("wrong_type", with("song_id", 1.into())),
        ("wrong_type", with("duration_ms", 1.5.into())),
        ("bad_timestamp", with("timestamp", "tomorrow".into())),
        ("too_old", with("timestamp", "1999-12-31 23:59:59".into())),
        ("too_far_ahead", with("timestamp", "2999-12-31 23:59:59".into())),
        ("bad_duration", with("duration_ms", (-1).into())),
        ("bad_duration", with("listened_ms", (-1).into())),
        ("text_too_long", with("title", "x".repeat(1025).into())),
        ("too_deep", with("more", serde_json::Value::Null).replace_null(&nested)),
        ("too_large", with("more", "x".repeat(2_000_000).into())),
    ];
    let good = with("title", "x".repeat(1024).into());
    let topic = broker::topic("by-hand", 1);
    broker::produce(&topic, 0, records.iter().map(|(_, value)| value).chain([&good]));

    let folder = folder();
    let printed = run_to_end(&topic, folder.path(), &["-w", "1"]);
    let all_time = printed.lines.iter().find(|line| line.contains(r#""chart":"all-time""#)).expect("a chart");
    assert!(all_time.contains(r#""plays":1"#), "{all_time}");
    let mut letters = lake::dead_letters(folder.path());
    letters.sort_by_key(|letter| letter.offset);
    let reasons: Vec<(i64, &str)> = letters.iter().map(|letter| (letter.offset, letter.reason.as_str())).collect();
    assert_eq!(reasons, (0..).zip(records.iter().map(|(reason, _)| *reason)).collect::<Vec<_>>());
}

trait ReplaceNull {
    fn replace_null(self, text: &str) -> Self;
}

impl ReplaceNull for Vec<u8> {
    /// Replaces the `null` with JSON that is too deep for `serde_json` to build.
    fn replace_null(self, text: &str) -> Self {
        String::from_utf8(self).unwrap().replace("null", text).into_bytes()
    }
}

/// Nine well-known event shapes, none of them a play, one per line: `format`, `note` and `record`.
const FOREIGN: &str = include_str!("../cases/raw-formats.jsonl");
const REQUIRED: [&str; 9] =
    ["song_id", "title", "artist", "user_id", "timestamp", "duration_ms", "completed", "device", "country"];

fn foreign_records() -> Vec<serde_json::Value> {
    FOREIGN.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["record"].clone()).collect()
}

/// A topic of foreign events ends the run with status 1, and each dead letter says which fields are
/// missing and which keys exist.
#[test]
fn a_topic_of_foreign_events_fails_with_the_missing_fields() {
    let (records, folder, topic) = (foreign_records(), folder(), broker::topic("foreign", 1));
    broker::produce(&topic, 0, records.iter().map(ToString::to_string));
    let arguments = run(&topic, folder.path(), &["-w", "1", "--until-caught-up", "--format", "json"]);
    let ended = reprise(&arguments).end();
    assert_eq!((ended.status.code(), ended.stdout.as_str()), (Some(1), ""), "{}", ended.stderr);
    let error = ended.stderr.lines().find(|line| line.starts_with("error: ")).unwrap_or_default();
    assert!(error.starts_with("error: 9 records, none is a play"), "{}", ended.stderr);
    assert!(error.contains("missing_field (missing: song_id, ") && error.contains("; keys: "), "{error}");
    assert!(error.ends_with(&format!("of {topic}/0")), "{error}");
    let warning = ended.stderr.lines().find(|line| line.contains("WARN") && line.contains("none is a play"));
    assert!(warning.is_some_and(|line| line.contains("LAKE/dead_letters")), "{}", ended.stderr);

    let mut letters = lake::dead_letters(folder.path());
    letters.sort_by_key(|letter| letter.offset);
    assert_eq!(letters.len(), records.len());
    for (letter, record) in letters.iter().zip(&records) {
        let (missing, keys) = letter.detail.split_once("; keys: ").unwrap_or_default();
        let absent = REQUIRED.iter().filter(|name| record.get(name).is_none());
        assert!(absent.clone().all(|name| missing.contains(name)), "{}: {record}", letter.detail);
        let first = record.as_object().unwrap().keys().next().unwrap();
        assert!(keys.contains(first.as_str()), "{}: {record}", letter.detail);
    }
    assert!(
        letters[7].detail.contains("payload.song_id"),
        "the detail shows the path into the envelope: {:?}",
        letters[7]
    );

    // A restart finds nothing new, and there are still no charts.
    let again = reprise(&arguments).end();
    assert_eq!(again.status.code(), Some(1), "{}", again.stderr);
    let error = "error: the lake holds 9 dead letters and no play";
    assert!(again.stderr.contains(error) && again.stderr.contains("WARN"), "{}", again.stderr);
}

/// The supervisor must not restart the cluster, because the second run would find nothing to read
/// and succeed.
#[test]
fn a_cluster_reports_that_no_record_is_a_play() {
    let (folder, topic) = (folder(), broker::topic("foreign-cluster", 2));
    broker::produce(&topic, 1, foreign_records().iter().map(ToString::to_string));
    let ended = reprise(cluster("2", run(&topic, folder.path(), &["-w", "1", "--until-caught-up"]))).end();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("9 records, none is a play"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("starting all again"), "{}", ended.stderr);
    assert_eq!(lake::dead_letters(folder.path()).len(), 9);
}

/// `/v1/status` reports this as long as it holds, and recognizes the framing of a schema registry.
#[test]
fn the_status_reports_that_no_record_is_a_play() {
    let (folder, topic) = (folder(), broker::topic("framed", 1));
    let framed = [&[0, 0, 0, 0, 7][..], b"\x02a\x06DE"].concat();
    broker::produce(&topic, 0, [&framed, &framed]);
    let running = Running::start(&topic, folder.path(), &["-w", "1"]);
    let status = running.caught_up(&topic);
    let no_plays = status["no_plays"].as_str().unwrap_or_default();
    let expected = "2 records, none is a play: not_json (framed for a schema registry (Avro or Protobuf, schema id 7)";
    assert!(no_plays.starts_with(expected), "{status}");
    let listing = reprise(["dead-letters", "ls", "--url", &running.address]).succeed().stdout;
    assert!(
        listing.contains("not_json") && listing.contains(&format!("{topic}/0 at 1")) && listing.contains("schema id 7"),
        "{listing}"
    );
    running.stop();
    let running = Running::start(&topic, folder.path(), &["-w", "1"]);
    let no_plays = running.caught_up(&topic)["no_plays"].clone();
    assert!(
        no_plays.as_str().is_some_and(|text| text.starts_with("the lake holds 2 dead letters and no play")),
        "{no_plays}"
    );
    let listing = reprise(["dead-letters", "ls", "--url", &running.address]).succeed().stdout;
    assert!(
        listing.starts_with("no dead letters since the start; earlier ones in /")
            && listing.contains("/dead_letters: 2"),
        "{listing}"
    );
    broker::produce(&topic, 0, [Play::new("a", "2025-01-01T00:00:00Z").json()]);
    assert_eq!(running.caught_up(&topic)["no_plays"], serde_json::Value::Null);
    running.stop();
}
