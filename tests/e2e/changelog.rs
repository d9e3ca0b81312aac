//! `--changelog`: a consumer that reads the topic from its start ends up with the charts of the
//! lake, after any failure.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use rdkafka::producer::{BaseRecord, Producer};
use serde_json::Value;

use crate::support::broker::Record;
use crate::support::cluster::cluster;
use crate::support::fixture::{Traffic, folder};
use crate::support::mock::{Mock, has_read};
use crate::support::plays::Play;
use crate::support::program::{reprise, reprise_with, succeed};
use crate::support::running::{Running, replay, run, run_to_end};
use crate::support::{broker, eventually, heavy, unique};

/// Frequent commits, and a trending window that stays at the last play.
const OPTIONS: [&str; 4] = ["--commit-interval", "200ms", "--idle", "1h"];

type Cells = BTreeMap<String, Value>;

/// `cells` by their keys in the topic, without `as_of`.
fn keyed(cells: impl IntoIterator<Item = Value>) -> Cells {
    let keyed = |mut cell: Value| {
        let [chart, scope, period] = ["chart", "scope", "period"].map(|name| cell[name].as_str().unwrap().to_owned());
        drop(cell.as_object_mut().unwrap().remove("as_of"));
        let key = if chart == "trending" { format!("trending/{scope}") } else { format!("{chart}/{scope}/{period}") };
        (key, cell)
    };
    cells.into_iter().map(keyed).collect()
}

/// The last value of each key that has not been deleted.
fn held(changelog: &str) -> Cells {
    let mut held = BTreeMap::new();
    for Record { key, value, .. } in broker::read_all(changelog) {
        let key = String::from_utf8(key).expect("keys are text");
        let Some(value) = value else {
            held.remove(&key);
            continue;
        };
        let cell: Value = serde_json::from_slice(&value).expect("values are JSON");
        assert_eq!(cell["as_of"]["durable"], true);
        assert!(cell["as_of"]["lake_version"].is_u64(), "{cell}");
        held.insert(key, cell);
    }
    let cells = keyed(held.values().cloned());
    assert!(cells.keys().eq(held.keys()), "each key belongs to its value");
    cells
}

/// The durable charts of an instance, and their `as_of`.
fn durable(running: &Running) -> (Value, Cells) {
    let (status, body) = running.get("/v1/snapshot?durable=true");
    assert_eq!(status, 200, "{body}");
    let mut lines = body.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line is an object"));
    let as_of = lines.next().expect("a header")["as_of"].clone();
    (as_of, keyed(lines))
}

/// The charts of a replay of the lake.
fn replayed(lake: &Path) -> Cells {
    keyed(replay(lake, &[]).lines.iter().map(|line| serde_json::from_str(line).expect("a line is an object")))
}

/// Waits until all records of `topic` are in the lake and the changelog equals the durable charts.
#[track_caller]
fn follows(running: &Running, topic: &str, changelog: &str) -> Cells {
    running.caught_up(topic);
    let plays = running.status()["accepted"].clone();
    eventually("the changelog holds the durable charts", || {
        let committed = running.status()["accepted"] == plays && is_committed(running);
        let (as_of, cells) = durable(running);
        let same = held(changelog) == cells && durable(running).0 == as_of;
        (committed && same && broker::exists(changelog)).then_some(cells)
    })
}

fn is_committed(running: &Running) -> bool {
    let status = running.status();
    let partitions = status["partitions"].as_array().expect("partitions").iter();
    partitions.clone().all(|partition| partition["committed_offset"] == partition["next_offset"])
}

fn generate(topic: &str, seed: u32) {
    let seed = seed.to_string();
    let options =
        "--start 2025-10-01T00:00:00Z --history 20d --history-plays 9000 --count 10000 --rate max --songs 500";
    let options = options.split(' ').chain(["--seed", &seed]);
    Traffic::generate(topic, &options.collect::<Vec<_>>());
}

fn with<'a>(changelog: &'a str, options: &[&'a str]) -> Vec<&'a str> {
    [&OPTIONS[..], &["--changelog", changelog], options].concat()
}

/// Plays that change every list of one country.
fn produce(topic: &str, country: &str, count: usize) {
    let play = Play { country: country.to_owned(), ..Play::new("hit", "2025-10-03T05:05:00Z") };
    broker::produce(topic, 0, vec![play.json(); count]);
}

#[test]
fn a_consumer_from_the_start_holds_the_charts() {
    let (topic, changelog, folder) = (unique("changes"), unique("changelog"), folder());
    let _heavy = heavy();
    generate(&topic, 1);
    let running = Running::start(&topic, folder.path(), &with(&changelog, &["-w", "2"]));
    let first = follows(&running, &topic, &changelog);
    assert!(first.len() > 40 && first.contains_key("trending/global"), "{:?}", first.keys());
    assert_eq!(broker::option(&changelog, "cleanup.policy"), "compact");
    // Only changed cells are published again.
    let count = || broker::read_all(&changelog).len();
    let before = count();
    produce(&topic, "/", 3);
    let second = follows(&running, &topic, &changelog);
    let keys = first.keys().chain(second.keys()).collect::<BTreeSet<_>>();
    let changed = keys.into_iter().filter(|key| first.get(*key) != second.get(*key)).count();
    assert!(changed >= 3 && second.contains_key("weekly///2025-W40"), "{:?}", second.keys());
    assert!(count() - before <= 3 * changed, "{} messages for {changed} cells", count() - before);
    generate(&topic, 2);
    follows(&running, &topic, &changelog);
    running.stop();
    assert!(held(&changelog) == replayed(folder.path()), "the topic and a replay");

    // A run without changes publishes nothing. The final commit of a stopping run is published too.
    let before = count();
    run_to_end(&topic, folder.path(), &with(&changelog, &[]));
    assert_eq!(count(), before);
    let slow_commits = ["--changelog", &*changelog, "--commit-interval", "1h", "--idle", "1h"];
    let running = Running::start(&topic, folder.path(), &slow_commits);
    produce(&topic, "SE", 30);
    running.caught_up(&topic);
    running.stop();
    assert!(held(&changelog) == replayed(folder.path()), "the topic and a replay");
}

/// Kills between the commit and the changelog, before and after the end of a transaction, and at
/// random instants.
#[test]
fn kills_leave_no_wrong_last_value() {
    let (topic, changelog, folder) = (unique("killed"), unique("changelog"), folder());
    let _heavy = heavy();
    generate(&topic, 3);
    for (round, point) in ["changelog-sent", "changelog-committed", "appended*1", "changelog-sent"].iter().enumerate() {
        produce(&topic, "FI", round + 1);
        let arguments = run(&topic, folder.path(), &with(&changelog, &["--until-caught-up"]));
        let ended = reprise_with(arguments, &[("REPRISE_FAILPOINT", (*point).to_owned())]).end();
        assert!(ended.stderr.contains("the process dies"), "{point}: {}", ended.stderr);
    }
    let generator = std::thread::spawn({
        let topic = topic.clone();
        move || {
            Traffic::generate(
                &topic,
                &["--seed", "4", "--start", "2025-10-21T00:00:00Z", "--count", "40000", "--rate", "4000"],
            )
        }
    });
    let mut kills = 0;
    while !generator.is_finished() || kills < 5 {
        let workers = ["1", "2"][kills % 2];
        let running = Running::start(&topic, folder.path(), &with(&changelog, &["-w", workers]));
        std::thread::sleep(Duration::from_millis(rand::random_range(0..1500)));
        running.program.signal("KILL");
        running.program.end();
        kills += 1;
    }
    generator.join().expect("the generator succeeds");
    let running = Running::start(&topic, folder.path(), &with(&changelog, &[]));
    follows(&running, &topic, &changelog);
    running.stop();
    assert!(held(&changelog) == replayed(folder.path()), "the topic and a replay, after {kills} kills");
}

#[test]
fn deleted_cells_get_tombstones() {
    let (topic, changelog, folder) = (broker::topic("gone", 2), unique("changelog"), folder());
    produce(&topic, "SE", 3);
    run_to_end(&topic, folder.path(), &with(&changelog, &[]));
    let monthly = "monthly/SE/2025-10";
    assert!(held(&changelog).contains_key(monthly));
    let charts = folder.path().join("charts.toml");
    std::fs::write(&charts, "[[chart]]\nname = \"weekly\"\nperiod = \"week\"\n").unwrap();
    run_to_end(&topic, folder.path(), &with(&changelog, &["--charts", charts.to_str().unwrap()]));
    let keys: Vec<String> = held(&changelog).into_keys().collect();
    assert_eq!(keys, ["trending/SE", "trending/global", "weekly/SE/2025-W40", "weekly/global/2025-W40"]);
    let records = broker::read_all(&changelog).into_iter().filter(|record| record.key == monthly.as_bytes());
    let of_monthly: Vec<bool> = records.map(|record| record.value.is_some()).collect();
    assert_eq!(of_monthly, [true, false]);
    run_to_end(&topic, folder.path(), &with(&changelog, &[]));
    assert!(held(&changelog).contains_key(monthly));
}

/// A second producer with the same transactional id publishes wrong values, as an overtaken
/// instance might.
#[test]
fn a_fenced_publisher_fences_the_other_and_repairs_the_topic() {
    let (topic, changelog, folder) = (broker::topic("fenced", 2), unique("changelog"), folder());
    produce(&topic, "SE", 3);
    let running = Running::start(&topic, folder.path(), &with(&changelog, &[]));
    let cells = follows(&running, &topic, &changelog);
    let other = broker::transactional_as(&format!("reprise-changelog-{changelog}"));
    let key = "weekly/SE/2025-W40";
    let mut wrong = cells[key].clone();
    wrong["entries"][0]["plays"] = 1.into();
    wrong["as_of"] = serde_json::json!({"epoch": 1, "clock": null, "lake_version": 1, "durable": true});
    let records = broker::read_all(&changelog);
    let partition =
        records.iter().find(|record| record.key == key.as_bytes()).expect("the key was published").partition;
    let value = wrong.to_string();
    other.begin_transaction().expect("a transaction");
    let record = BaseRecord::to(&changelog).partition(partition).key(key).payload(&value);
    other.send(record).map_err(|(error, _)| error).expect("room in the queue");
    broker::commit(&other);
    assert_eq!(held(&changelog)[key]["entries"][0]["plays"], 1);
    // The plays below do not change Sweden's lists.
    produce(&topic, "DE", 3);
    follows(&running, &topic, &changelog);
    assert_eq!(held(&changelog)[key], cells[key]);
    assert_eq!(running.program.stderr().matches("taking it back").count(), 1);
    running.stop();
}

/// A process that is resumed after another one has taken over its lake publishes nothing more.
#[test]
fn an_overtaken_process_publishes_nothing() {
    let (topic, changelog, folder) = (broker::topic("overtaken", 2), unique("changelog"), folder());
    produce(&topic, "SE", 3);
    let first = Running::start(&topic, folder.path(), &with(&changelog, &[]));
    follows(&first, &topic, &changelog);
    first.program.signal("STOP");
    let second = Running::start(&topic, folder.path(), &with(&changelog, &["--take-over"]));
    produce(&topic, "SE", 3);
    follows(&second, &topic, &changelog);
    first.program.signal("CONT");
    let ended = first.program.end();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    produce(&topic, "DE", 3);
    follows(&second, &topic, &changelog);
    assert!(!second.program.stderr().contains("another producer"), "{}", second.program.stderr());
    second.stop();
}

#[test]
fn unsuitable_changelog_topics_are_reported() {
    let (topic, folder) = (broker::topic("plays", 2), folder());
    let foreign = broker::topic("others", 1);
    produce(&topic, "SE", 3);
    broker::produce(&foreign, 0, ["not ours"]);
    let ended = succeed(run(&topic, folder.path(), &with(&foreign, &["--until-caught-up"])));
    assert!(ended.stderr.contains("has a message of another program at offset 0"), "{}", ended.stderr);
    assert_eq!(broker::records(&foreign, 0), 1);

    let empty = broker::topic("deleting", 1);
    let ended = succeed(run(&topic, folder.path(), &with(&empty, &["--until-caught-up"])));
    assert!(ended.stderr.contains("is not compacted"), "{}", ended.stderr);
    assert!(held(&empty) == replayed(folder.path()), "the charts are published nevertheless");

    let (other, lake) = (broker::topic("other-plays", 1), self::folder());
    produce(&other, "DE", 3);
    let ended = succeed(run(&other, lake.path(), &with(&empty, &["--until-caught-up"])));
    let message = format!("charts of the topic {topic:?}, and ours are of {other}");
    assert!(ended.stderr.contains(&message), "{}", ended.stderr);
    assert!(held(&empty) == replayed(folder.path()), "the charts of the other topic stay");

    for (wrong, complaint) in [(&*topic, "another topic than that of the plays"), ("a b", "letters, digits")] {
        let ended = reprise(run(&topic, folder.path(), &["--changelog", wrong])).end();
        assert_eq!(ended.status.code(), Some(2), "{}", ended.stderr);
        assert!(ended.stderr.contains(complaint), "{}", ended.stderr);
    }
}

#[test]
fn a_cluster_publishes_once() {
    let (topic, changelog, folder) = (unique("together"), unique("changelog"), folder());
    let _heavy = heavy();
    generate(&topic, 5);
    succeed(cluster("2", run(&topic, folder.path(), &with(&changelog, &["--until-caught-up", "-w", "1"]))));
    let cells = replayed(folder.path());
    assert!(held(&changelog) == cells, "the topic and a replay");
    assert_eq!(broker::read_all(&changelog).len(), cells.len());
}

#[test]
fn a_run_can_be_stopped_while_nothing_can_be_published() {
    let (mut mock, folder) = (Mock::new(1), folder());
    let running = mock.run(folder.path(), &["--changelog", "changelog", "--commit-interval", "1h"]);
    mock.send(300);
    mock.arrived();
    has_read(&running, 300);
    mock.cluster.broker_down(1).unwrap();
    let began = Instant::now();
    let stderr = {
        running.program.signal("TERM");
        running.program.succeed().stderr
    };
    assert!(began.elapsed() < Duration::from_secs(30), "{} s", began.elapsed().as_secs());
    assert!(stderr.contains("the next start publishes them"), "{stderr}");
}
