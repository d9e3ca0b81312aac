//! The tour of the README, as it is typed: every command of it succeeds, from the first play to the proof.

use std::path::Path;
use std::process::Command;

use crate::support::fixture::folder;
use crate::support::program::{Program, clean};
use crate::support::running::Running;
use crate::support::{broker, eventually, heavy, repository, unique};

/// Where the README says that an instance answers. The tests take a free port.
pub const ADDRESS: &str = "http://127.0.0.1:7878";
/// How much of the tour is one lake on one machine.
const SECTIONS: [&str; 5] =
    ["### With a real Kafka", "### Look at it", "### Ask it", "### Play it again", "### Is it true?"];

/// The lines of the shell in these sections, without their comments.
fn commands(readme: &str) -> Vec<String> {
    let mut commands = Vec::new();
    for section in SECTIONS {
        let (_, text) = readme.split_once(section).unwrap_or_else(|| panic!("the README has no {section}"));
        commands.extend(commands_in(text.split("\n###").next().unwrap_or_default()));
    }
    commands
}

/// The lines of the shell in a text, without their comments.
pub fn commands_in(text: &str) -> Vec<String> {
    let blocks = text.split("```sh\n").skip(1).filter_map(|block| block.split("\n```").next());
    let lines = blocks.flat_map(str::lines).map(|line| line.split(" #").next().unwrap_or_default().trim().to_owned());
    lines.filter(|line| !line.is_empty()).collect()
}

/// A line as a shell runs it in `folder`, with the broker of the tests and the program that is tested.
pub fn shell(line: &str, folder: &Path, topic: &str, address: &str) -> Command {
    let line = line.replace(ADDRESS, address);
    let line = line.strip_prefix("reprise ").map_or(line.clone(), |rest| format!("exec \"$REPRISE\" {rest}"));
    // One command may take what another has printed.
    let line = format!("reprise() {{ \"$REPRISE\" \"$@\"; }}; {line}");
    let mut command = Command::new("sh");
    clean(&mut command);
    command.args(["-c", &line]).current_dir(folder).env("REPRISE", env!("CARGO_BIN_EXE_reprise"));
    command.env("KAFKA_BOOTSTRAP_SERVERS", broker::servers()).env("REPRISE_TOPIC", topic);
    command.env("REPRISE_LISTEN", "127.0.0.1:0").env("REPRISE_URL", address);
    command
}

#[test]
fn the_tour_passes_as_it_is_typed() {
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
            // The tests have a broker already.
            "scripts/kafka start" | "eval \"$(scripts/kafka" => {}
            "reprise run" => {
                let started = Running::of(spawned());
                // A person sees that in the table, and goes on.
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
        assert!(kinds.iter().any(|typed| typed == kind), "the tour has no {kind}: {kinds:?}");
    }
}
