//! Errors are printed once, with what to do about them: status 1 and one line for a failure, status
//! 2 for wrong usage.

use std::net::TcpListener;
use std::path::Path;

use insta::assert_snapshot;

use crate::support::broker;
use crate::support::fixture::folder;
use crate::support::plays::Play;
use crate::support::program::reprise;
use crate::support::running::{run, run_to_end};

/// Runs a command that must fail, and returns its status and its stderr. In the result, the texts
/// in `names` are replaced, because they differ from run to run.
#[track_caller]
pub fn refusal<S: AsRef<std::ffi::OsStr>>(arguments: &[S], names: &[(&str, &str)]) -> String {
    let ended = reprise(arguments).end();
    assert_eq!(ended.stdout, "");
    let status = ended.status.code().map_or_else(|| ended.status.to_string(), |code| code.to_string());
    let stderr = names.iter().fold(ended.stderr, |stderr, (text, name)| stderr.replace(text, name));
    format!("status {status}\n{stderr}")
}

/// The arguments of a run that reads to the end of the topic.
pub fn bounded_run(topic: &str, lake: &Path, options: &[&str]) -> Vec<String> {
    run(topic, lake, &[&["--until-caught-up"], options].concat())
}

/// Creates a topic with one play.
pub fn topic_with_a_play() -> String {
    let topic = broker::topic("usage", 1);
    broker::produce(&topic, 0, [Play::new("a", "2025-01-01T00:00:00Z").json()]);
    topic
}

#[test]
fn messages_for_wrong_options() {
    let wrong = |arguments: &[&str]| refusal(arguments, &[]);
    assert_snapshot!(wrong(&["run"]), @r"
    status 2
    error: the following required arguments were not provided:
      --lake <DIR>

    Usage: reprise run --lake <DIR>

    For more information, try '--help'.
    ");
    assert_snapshot!(wrong(&["lake", "ls"]), @r"
    status 2
    error: which lake? Give its folder as an argument, with --lake, or in REPRISE_LAKE

    For more information, try '--help'.
    ");
    let run = ["run", "--brokers", "x", "--lake", "x"];
    let wrong_run = |options: &[&str]| wrong(&[&run, options].concat());
    assert_snapshot!(wrong_run(&["-w", "0"]), @r"
    status 2
    error: invalid value '0' for '--workers <N>': it must be a number from 1 to 256

    For more information, try '--help'.
    ");
    assert_snapshot!(wrong_run(&["--commit-interval", "soon"]), @r"
    status 2
    error: invalid value 'soon' for '--commit-interval <SPAN>': it must be a span of time such as 500ms, 10s, 5m or 30d, ten years at most

    For more information, try '--help'.
    ");
    assert_snapshot!(wrong_run(&["-X", "nonsense"]), @r"
    status 2
    error: invalid value 'nonsense' for '-X <NAME=VALUE>': it must be written name=value, as in socket.timeout.ms=10000

    For more information, try '--help'.
    ");
    assert_snapshot!(wrong(&["replay", "--lake", "x", "--clock", "soon"]), @r"
    status 2
    error: invalid value 'soon' for '--clock <T>': `soon` is not a time such as `2026-11-20`, `2026-11-20 14:00:00` (UTC) or `2026-11-20T14:00:00+01:00`

    For more information, try '--help'.
    ");
}

#[test]
fn message_for_a_broker_that_does_not_answer() {
    let folder = folder();
    // Nothing listens on a port that has just been released.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let lake = folder.path().join("lake");
    let mut arguments = bounded_run("plays", &lake, &[]);
    arguments[2] = address.clone();
    let refused = refusal(&arguments, &[(&address, "ADDRESS")]);
    // Without the parenthesis, which has the duration and the number of attempts.
    let (start, rest) = refused.split_once(" (after ").unwrap_or((&refused, ""));
    let end = rest.find("): ").map_or("", |position| &rest[position..]);
    assert_snapshot!(format!("{start}{end}"), @r"
    status 1
    error: no Kafka broker answers at ADDRESS within 10 s (BrokerTransportFailure (Local: Broker transport failure); ADDRESS/bootstrap: Connect to ipv4#ADDRESS failed: Connection refused): is it running, and is the address right? `scripts/kafka start` starts one here, and `reprise demo` needs none
    ");
    assert!(!lake.exists(), "nothing has been created");
    // The generator reports the same, once, although the library reports it repeatedly.
    let refused = refusal(&["generate", "--brokers", &address], &[(&address, "ADDRESS")]);
    assert!(refused.starts_with("status 1\nerror: cannot reach Kafka at ADDRESS"), "{refused}");
    assert_eq!(refused.lines().count(), 2, "{refused}");
}

#[test]
fn message_for_a_missing_topic() {
    let folder = folder();
    let lake = folder.path().join("lake");
    let refused = refusal(&bounded_run("no-such-topic", &lake, &[]), &[(broker::servers(), "ADDRESS")]);
    assert_snapshot!(refused, @r"
    status 1
    error: topic no-such-topic does not exist on ADDRESS: create it, or let `reprise generate --brokers ADDRESS --topic no-such-topic` create and fill it
    ");
    assert!(!lake.exists(), "nothing has been created");
}

/// A folder below a file cannot be created even by root.
#[test]
fn messages_for_a_lake_that_cannot_be_written() {
    let (topic, folder) = (topic_with_a_play(), folder());
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let names = [(folder.path().to_str().unwrap(), "FOLDER")];
    assert_snapshot!(refusal(&bounded_run(&topic, &file.join("lake"), &[]), &names), @r"
    status 1
    error: cannot make a lake in FOLDER/file/lake: give --lake a writable folder: cannot create the folder FOLDER/file/lake/song_plays/_staging: Not a directory (os error 20)
    ");
    assert_snapshot!(refusal(&bounded_run(&topic, &file, &[]), &names), @r"
    status 1
    error: cannot make a lake in FOLDER/file: give --lake a writable folder: cannot create the folder FOLDER/file/song_plays/_staging: Not a directory (os error 20)
    ");
}

#[test]
fn messages_for_a_folder_that_is_not_a_lake() {
    let (topic, folder) = (topic_with_a_play(), folder());
    let names = [(folder.path().to_str().unwrap(), "FOLDER")];
    let replayed = |lake: &Path| refusal(&["replay", "--lake", lake.to_str().unwrap()], &names);
    assert_snapshot!(replayed(&folder.path().join("none")), @r"
    status 1
    error: there is no lake FOLDER/none: `reprise run --lake FOLDER/none` makes one
    ");
    assert_snapshot!(replayed(folder.path()), @r"
    status 1
    error: the folder FOLDER is empty, so it is not a lake yet: `reprise run --lake FOLDER` makes it one
    ");
    std::fs::create_dir(folder.path().join("song_plays")).unwrap();
    std::fs::write(folder.path().join("song_plays/data.csv"), "").unwrap();
    assert_snapshot!(refusal(&bounded_run(&topic, folder.path(), &[]), &names), @r"
    status 1
    error: FOLDER/song_plays holds data.csv, but no _delta_log: it is not a lake of ours; give --lake another folder
    ");
}

#[test]
fn message_for_a_lake_of_another_topic() {
    let (topic, other, folder) = (topic_with_a_play(), topic_with_a_play(), folder());
    run_to_end(&topic, folder.path(), &[]);
    let names = [(folder.path().to_str().unwrap(), "LAKE"), (topic.as_str(), "TOPIC"), (other.as_str(), "OTHER")];
    assert_snapshot!(refusal(&bounded_run(&other, folder.path(), &[]), &names), @r"
    status 1
    error: the lake LAKE holds the topic TOPIC, not OTHER: give each topic a lake of its own
    ");
}

#[test]
fn messages_for_an_invalid_charts_file() {
    let folder = folder();
    let file = folder.path().join("charts.toml");
    let names = [(folder.path().to_str().unwrap(), "FOLDER")];
    let charts = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let mut arguments = bounded_run("plays", &folder.path().join("lake"), &["--charts", file.to_str().unwrap()]);
        // The file is read before the broker is contacted.
        arguments[2] = "127.0.0.1:1".to_owned();
        refusal(&arguments, &names)
    };
    assert_snapshot!(charts("[[chart]]\nname = \"x\"\nperiod = \"fortnight\"\n"), @r#"
    status 2
    error: cannot use the charts file FOLDER/charts.toml: line 3: chart `x`: `period` is "fortnight", but must be `day`, `week`, `month`, `year` or `all`

    For more information, try '--help'.
    "#);
    assert_snapshot!(charts("[[chart]\n"), @r"
    status 2
    error: cannot use the charts file FOLDER/charts.toml: line 1: not TOML: unclosed array table, expected `]`

    For more information, try '--help'.
    ");
    assert_snapshot!(charts("[[chart]]\nname = \"x\"\nperiod = \"day\"\nmeasure = \"listeners\"\n"), @r"
    status 2
    error: cannot use the charts file FOLDER/charts.toml: line 4: chart `x`: this version does not have `listeners` for `measure` yet

    For more information, try '--help'.
    ");
    std::fs::remove_file(&file).unwrap();
    let arguments = ["replay", "--lake", "x", "--charts", file.to_str().unwrap()];
    assert_snapshot!(refusal(&arguments, &names), @r"
    status 2
    error: cannot use the charts file FOLDER/charts.toml: No such file or directory (os error 2)

    For more information, try '--help'.
    ");
}

/// A configuration file supplies options that are not given as flags, and is validated as strictly.
#[test]
fn options_come_from_a_configuration_file() {
    let (topic, folder) = (topic_with_a_play(), folder());
    let file = folder.path().join("reprise.toml");
    let names = [(folder.path().to_str().unwrap(), "FOLDER")];
    let config = |text: &str, arguments: &[&str]| {
        std::fs::write(&file, text).unwrap();
        reprise(arguments.iter().chain(&["--config", file.to_str().unwrap()])).end()
    };
    let (servers, lake) = (broker::servers(), folder.path().join("lake"));
    let all = format!(
        "brokers = {servers:?}\ntopic = {topic:?}\nlake = {lake:?}\nlisten = \"127.0.0.1:0\"\nworkers = 1\n\
         until-caught-up = true\nformat = \"csv\"\n"
    );
    let read = config(&all, &["run"]);
    assert!(read.status.success(), "{}", read.stderr);
    assert!(read.stdout.contains(",all,"), "no charts, although the file asks for them: {}", read.stdout);
    assert_eq!(config(&all, &["run", "--topic", "no-such-topic"]).status.code(), Some(1), "a flag beats the file");

    let wrong = config("lake = \"x\"\ncommit-interval = \"soon\"\n", &["run"]);
    let of_file = format!("{}: invalid value 'soon' for '--commit-interval", file.display());
    assert_eq!((wrong.status.code(), wrong.stderr.contains(&of_file)), (Some(2), true), "{}", wrong.stderr);
    let wrong = config(&all, &["run", "--commit-interval", "later"]);
    let of_flag = wrong.stderr.contains("'later'") && !wrong.stderr.contains("configuration file");
    assert_eq!((wrong.status.code(), of_flag), (Some(2), true), "{}", wrong.stderr);

    let wrong = config("tpoic = 1\n", &["run"]);
    let stderr = names.iter().fold(wrong.stderr, |stderr, (text, name)| stderr.replace(text, name));
    assert_eq!(wrong.status.code(), Some(2));
    assert_snapshot!(stderr, @r"
    error: cannot use the configuration file FOLDER/reprise.toml: no command has an option `tpoic`; write options as they are called on the command line, without the dashes

    For more information, try '--help'.
    ");
}

#[test]
fn message_for_a_port_that_is_taken() {
    let (topic, folder) = (topic_with_a_play(), folder());
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap().to_string();
    let mut arguments = bounded_run(&topic, folder.path(), &[]);
    let listen = arguments.iter().position(|argument| argument == "127.0.0.1:0").unwrap();
    arguments[listen] = address.clone();
    assert_snapshot!(refusal(&arguments, &[(&address, "ADDRESS")]), @r"
    status 1
    error: something already listens on ADDRESS, perhaps another reprise: stop it, or choose another address with --listen (127.0.0.1:0 takes a free port)
    ");
}

#[test]
fn messages_for_refused_librdkafka_options() {
    let folder = folder();
    let option = |option: &str| refusal(&bounded_run("plays", folder.path(), &["-X", option]), &[]);
    assert_snapshot!(option("enable.partition.eof=false"), @r"
    status 2
    error: the Kafka option enable.partition.eof cannot be changed: it guarantees that no play is lost or counted twice

    For more information, try '--help'.
    ");
    assert_snapshot!(option("nonsense=1"), @r#"
    status 2
    error: the Kafka option nonsense is not possible: No such configuration property: "nonsense"

    For more information, try '--help'.
    "#);
}

/// Plays that Kafka deleted before they were read are missing, and the run does not continue
/// silently.
#[test]
fn message_for_plays_deleted_by_retention() {
    let (topic, folder) = (topic_with_a_play(), folder());
    run_to_end(&topic, folder.path(), &[]);
    broker::produce(&topic, 0, [1, 2, 3].map(|_| Play::new("b", "2025-01-01T00:00:00Z").json()));
    broker::delete_before(&topic, 0, 3);
    assert_snapshot!(refusal(&bounded_run(&topic, folder.path(), &[]), &[(&topic, "TOPIC")]), @r"
    status 1
    error: cannot resume from this lake: 2 offsets are missing, which the lake needs next: TOPIC/0: 1 … 2 (2). Kafka has deleted them before they were read: give the topic more retention. To continue without them, start with --accept-gap; the lake records them as missing
    ");
}
