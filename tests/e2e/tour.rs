//! The tour of the README: all of its commands succeed as written.

use std::path::Path;
use std::process::Command;

use crate::support::fixture::folder;
use crate::support::program::{Program, clean};
use crate::support::running::Running;
use crate::support::{broker, eventually, heavy, repository, unique};

/// The address in the README. The tests use a free port instead.
pub const ADDRESS: &str = "http://127.0.0.1:7878";
/// The sections of the README that make up the tour.
const SECTIONS: [&str; 5] =
    ["### With a real Kafka", "### Look at it", "### Query it", "### Replay it", "### Verify it"];

/// The shell commands of these sections, without their comments.
fn commands(readme: &str) -> Vec<String> {
    let mut commands = Vec::new();
    for section in SECTIONS {
        let (_, text) = readme.split_once(section).unwrap_or_else(|| panic!("the README has no {section}"));
        commands.extend(commands_in(text.split("\n###").next().unwrap_or_default()));
    }
    commands
}

/// The shell commands of a text, without their comments.
pub fn commands_in(text: &str) -> Vec<String> {
    let blocks = text.split("```sh\n").skip(1).filter_map(|block| block.split("\n```").next());
    let lines = blocks.flat_map(str::lines).map(|line| line.split(" #").next().unwrap_or_default().trim().to_owned());
    lines.filter(|line| !line.is_empty()).collect()
}

/// The command that runs a line in a shell in `folder`, with the tests' broker and the tested
/// program.
pub fn shell(line: &str, folder: &Path, topic: &str, address: &str) -> Command {
    let line = line.replace(ADDRESS, address);
    let line = line.strip_prefix("reprise ").map_or(line.clone(), |rest| format!("exec \"$REPRISE\" {rest}"));
    // A line may use the output of another `reprise` command.
    let line = format!("reprise() {{ \"$REPRISE\" \"$@\"; }}; {line}");
    let mut command = Command::new("sh");
    clean(&mut command);
    command.args(["-c", &line]).current_dir(folder).env("REPRISE", env!("CARGO_BIN_EXE_reprise"));
    command.env("KAFKA_BOOTSTRAP_SERVERS", broker::servers()).env("REPRISE_TOPIC", topic);
    command.env("REPRISE_LISTEN", "127.0.0.1:0").env("REPRISE_URL", address);
    command
}

#[test]
fn the_tour_succeeds_as_written() {
    let readme = std::fs::read_to_string(repository().join("README.md")).unwrap();
    let (folder, topic) = (folder(), unique("tour"));
    std::fs::copy(repository().join("examples/charts.toml"), folder.path().join("other.toml")).unwrap();
    let _heavy = heavy();
    let (mut running, mut kinds) = (None::<Running>, Vec::new());
    for line in commands(&readme) {
        let address = running.as_ref().map_or(ADDRESS, |running| &running.address).to_owned();
        let spawned = || Program::spawn(&mut shell(&line, folder.path(), &topic, &address));
        let kind = line.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
        match kind.as_str() {
            // The tests already have a broker.
            "scripts/kafka start" | "eval \"$(scripts/kafka" => {}
            "reprise run" => {
                let started = Running::of(spawned());
                // A user would see this in the table before continuing.
                eventually("everything is read", || (started.status()["caught_up"] == true).then_some(()));
                running = Some(started);
            }
            _ if line.ends_with("--watch") => {
                let program = spawned();
                eventually(&line, || program.transcript().contains("trending · ").then_some(()));
                program.signal("KILL");
                program.end();
            }
            _ => {
                let ended = spawned().end_within(std::time::Duration::from_secs(300));
                assert!(ended.status.success(), "{line}\n{}\n{}", ended.stdout, ended.stderr);
                if kind == "reprise verify" {
                    let of_plays = |text: &&str| text.starts_with("song_plays: ");
                    let plays = ended.stdout.lines().find(of_plays).unwrap_or_default();
                    assert!(!plays.contains(" 0 rows"), "{line}: {}", ended.stdout);
                    assert!(ended.stdout.contains("same") || ended.stdout.contains("complete"), "{}", ended.stdout);
                }
            }
        }
        kinds.push(kind);
    }
    running.expect("the tour runs an instance").stop();
    for kind in
        ["reprise generate", "reprise run", "reprise trending", "reprise chart", "reprise replay", "reprise verify"]
    {
        assert!(kinds.iter().any(|seen| seen == kind), "the tour has no {kind}: {kinds:?}");
    }
}
