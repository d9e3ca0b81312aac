//! The command line: wrong usage exits with status 2, every command has help with examples, and
//! completions and manual pages cover all options.

use crate::support::fixture::folder;
use crate::support::program::reprise;

/// Command lines that are wrong by themselves or by the files they name, regardless of other state:
/// one per line, with a part of the expected message. FOLDER contains invalid files.
const WRONG: &str = "
nonsense                                                 | unrecognized subcommand
run --lake x --format json                               | --until-caught-up
run --lake x --frmo latest                               | --frmo
run --lake x --listen nowhere                            | --listen
run --lake x --topic a/b                                 | --topic
run --lake x --from yesterday                            | --from
run --lake x --changelog song-plays                      | another topic
run --lake x --charts FOLDER/wrong                       | charts file
run --lake x --charts FOLDER/none                        | charts file
run --lake x --token-file FOLDER/none                    | FOLDER/none
run --lake x --until-caught-up --format parquet          | --output
run --lake x -X nonsense=1                               | nonsense
run --lake x -X fetch.wait.max.ms=soon                   | fetch.wait.max.ms
run --lake x -X enable.partition.eof=false               | enable.partition.eof
run --lake x -X sasl.password=@FOLDER/none               | FOLDER/none
run --lake x -n 2                                        | --hostfile
run --lake x -p 1                                        | --hostfile
run --lake x --hostfile FOLDER/none -p 0                 | FOLDER/none
run --lake x --hosts a:1,b:1 -p 2                        | 2
run --lake s3://bucket/x                                 | object stores
run --lake x --brokers foo:bar                           | foo:bar
run --lake x --config FOLDER/wrong                       | FOLDER/wrong
run --lake x --config FOLDER/none                        | FOLDER/none
demo --lake FOLDER                                       | exists already
demo --rate 0                                            | --rate
demo --keep --lake x                                     | --keep
demo --format parquet                                    | --output
demo --output x                                          | --format
demo --all                                               | --format
generate --brokers a:1,foo:bar                           | foo:bar
generate --start 1999-01-01                              | --start
generate --count 1 --history 1d --history-plays 2        | --count
generate --duplicates 0.6 --malformed 0.6                | --malformed
generate --skew 2                                        | --songs
generate --rate 0                                        | --rate
generate -X nonsense=1                                   | nonsense
replay                                                   | which lake
replay x --lake y                                        | twice
replay x y                                               | unexpected
replay x --scope                                         | --scope
replay x --from 2026-11-02 --to 2026-11-01               | --from must be before --to
replay x --chart nonsense                                | nonsense
replay x --chart weekly --period 2026-11                 | 2026-11
replay x --period 2026-W99                               | a week such as
replay x --period 2026-13                                | a month such as
replay x --chart weekly --scope device:mobile            | device
replay x --charts FOLDER/wrong                           | charts file
replay x --format parquet                                | --output
replay s3://bucket/x                                     | object stores
replay x -n 2                                            | --hostfile
verify                                                   | which lake
verify x --against ftp://a                               | --against
verify x --against http://                               | --against
verify x --against https://a                             | plain http
verify x --against a:1 --token-file FOLDER/none          | FOLDER/none
verify file:///x                                         | object stores
lake                                                     | Usage
lake ls x y                                              | unexpected
lake ls s3://bucket/x                                    | object stores
lake check                                               | which lake
lake compact x --all --quiet 1h                          | --all
lake vacuum x --retain soon                              | --retain
lake checkpoint x --charts FOLDER/wrong                  | charts file
cluster -n 2 -- lake ls                                  | which lake
cluster -n 2 -- status                                   | only `run` and `replay`
cluster -n 0 -- run                                      | 0
trending --url ftp://a                                   | plain http
trending --limit 0                                       | a whole number from 1
dead-letters ls --limit 0                                | a whole number from 1
trending --token-file FOLDER/none                        | FOLDER/none
chart                                                    | <NAME>
chart ../weekly                                          | lower-case
chart weekly --url http://                               | --url
status --format csv                                      | --format
search                                                   | <TEXT>
search x --limit none                                    | a whole number from 1
track                                                    | <ID>
track a --period 2026-11                                 | --chart
health --url https://a                                   | plain http
completions                                              | <SHELL>
completions tcsh                                         | tcsh
man nonsense                                             | nonsense
";

#[test]
fn wrong_usage_exits_with_status_2() {
    let folder = folder();
    let name = folder.path().to_str().unwrap();
    std::fs::write(folder.path().join("wrong"), "[[nonsense]]\nx = 1\n").unwrap();
    let mut failures = Vec::new();
    for line in WRONG.lines().filter(|line| !line.is_empty()) {
        let (arguments, expected) = line.split_once('|').expect("a command and a message");
        let arguments: Vec<String> =
            arguments.split_whitespace().map(|argument| argument.replace("FOLDER", name)).collect();
        let (ended, expected) = (reprise(&arguments).end(), expected.trim().replace("FOLDER", name));
        if ended.status.code() != Some(2) || !ended.stderr.contains(&expected) || !ended.stdout.is_empty() {
            failures.push(format!("{line}\n{}: {}", ended.status, ended.stderr));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing has been created");
}

/// Every command's help has examples.
#[test]
fn every_help_has_examples() {
    let mut commands = vec![Vec::<String>::new()];
    let mut seen = 0;
    while let Some(command) = commands.pop() {
        let help = reprise(command.iter().map(String::as_str).chain(["--help"])).succeed().stdout;
        let below: Vec<&str> = help.split_once("\nCommands:\n").map_or(Vec::new(), |(_, rest)| {
            let lines = rest.lines().take_while(|line| !line.is_empty());
            // A description may continue on the next line, with a larger indent.
            lines
                .filter_map(|line| line.strip_prefix("  ")?.split(' ').next().filter(|name| !name.is_empty()))
                .collect()
        });
        for name in below.iter().filter(|name| **name != "help") {
            commands.push([&command[..], &[(*name).to_owned()]].concat());
        }
        assert!(help.contains("\nExamples:\n"), "{command:?} has no examples:\n{help}");
        seen += 1;
    }
    assert!(seen > 15, "{seen}");
}

/// The option groups of `run` appear in the order in which users need them.
#[test]
fn option_groups_appear_in_order() {
    let help = reprise(["run", "--help"]).succeed().stdout;
    let headings = ["Source:", "Lake:", "Charts:", "Serving:", "Cluster ", "Advanced:"];
    let positions: Vec<Option<usize>> = headings.iter().map(|heading| help.find(&format!("\n{heading}"))).collect();
    assert!(positions.iter().all(Option::is_some) && positions.is_sorted(), "{positions:?}\n{help}");
}

#[test]
fn completions_and_manual_pages_cover_the_options() {
    for shell in ["bash", "fish", "zsh"] {
        let script = reprise(["completions", shell]).succeed().stdout;
        assert!(script.contains("until-caught-up") && script.contains("dead-letters"), "{shell}: {script}");
    }
    let page = reprise(["man"]).succeed().stdout;
    assert!(page.contains(".TH reprise 1") && page.contains("reprise\\-run(1)"), "{page}");
    let page = reprise(["man", "lake", "compact"]).succeed().stdout;
    assert!(page.contains(".TH reprise-lake-compact 1") && page.contains("older"), "{page}");
}
