//! Output for people: a screenful on a terminal, everything in a pipe, and no control sequences
//! from titles in either.

use std::path::Path;
use std::process::Command;

use unicode_width::UnicodeWidthStr;

use crate::support::broker;
use crate::support::fixture::folder;
use crate::support::plays::Play;
use crate::support::program::{Ended, Program, clean, succeed};
use crate::support::running::run;

/// Columns of the terminal.
const WIDTH: usize = 60;
/// A title with terminal control sequences.
const TITLE: &str = "\u{1b}[2J\u{1b}]0;owned\u{7}=1+1\u{9b}31m\u{7f}";

/// Runs `reprise` on a pseudo-terminal, without its log. Returns what the terminal received.
#[track_caller]
fn on_terminal(arguments: &[&str]) -> Ended {
    let spawn = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";
    let within = format!("stty cols {WIDTH} rows 40; exec \"$0\" \"$@\" 2>/dev/null");
    let mut command = Command::new("python3");
    clean(&mut command);
    // Without our own colours, every escape sequence in the output comes from a title.
    command.env("NO_COLOR", "1");
    command.args(["-c", spawn, "sh", "-c", &within, env!("CARGO_BIN_EXE_reprise")]).args(arguments);
    let mut ended = Program::spawn(&mut command).succeed();
    // A terminal gets a carriage return with each line feed.
    ended.stdout = ended.stdout.replace("\r\n", "\n");
    ended
}

/// The headings of the printed lists: chart, scope and period.
fn lists(text: &str) -> Vec<String> {
    let heading = |line: &&str| line.split(" · ").count() >= 3 && !line.starts_with(' ');
    let name = |line: &str| line.split(" · ").take(3).collect::<Vec<_>>().join(" · ");
    text.lines().filter(heading).map(name).collect()
}

/// Fills a lake with plays of many weeks and countries, and returns the topic.
fn filled(lake: &Path) -> String {
    let topic = broker::topic("terminal", 1);
    let play = |number: usize| Play {
        title: format!("{TITLE} {number}"),
        country: ["US", "DE", "JP", "-1"][number % 4].to_owned(),
        ..Play::new(&format!("=s{}", number % 30), &format!("2025-0{}-05T05:05:00Z", 1 + number % 6))
    };
    broker::produce(&topic, 0, (0..240).map(|number| play(number).json()));
    succeed(run(&topic, lake, &["--until-caught-up"]));
    topic
}

#[test]
fn a_terminal_gets_a_screenful_and_a_pipe_everything() {
    let folder = folder();
    let topic = filled(folder.path());
    let lake = folder.path().to_str().unwrap();
    let replay = ["replay", "--lake", lake];
    let json = succeed([&replay[..], &["--format", "json"]].concat()).stdout;
    let count = json.lines().count();
    let heads =
        ["all-time · global · all", "monthly · global · 2025-06", "trending · global", "weekly · global · 2025-W23"];
    let run_arguments = run(&topic, folder.path(), &["--until-caught-up", "--format", "table"]);
    let run_arguments: Vec<&str> = run_arguments.iter().map(String::as_str).collect();
    for arguments in [&replay[..], &run_arguments[..]] {
        let shown = on_terminal(arguments).stdout;
        let found = lists(&shown);
        assert_eq!(found.len(), heads.len(), "{shown}");
        assert!(found.iter().zip(heads).all(|(found, head)| found.starts_with(head)), "{found:?}");
        assert!(shown.contains(&format!("4 of {count} lists")) && shown.contains("--all"), "{shown}");
        // Ten of thirty songs, a header, a separator and a heading.
        let longest = shown.split("\n\n").map(|table| table.lines().count()).max();
        assert_eq!(longest, Some(13), "{shown}");
    }
    for more in [&["--all"][..], &["--chart", "weekly"], &["--scope", "US"], &["--period", "2025-W01"]] {
        let arguments = [&replay[..], more].concat();
        let (shown, piped) = (on_terminal(&arguments).stdout, succeed(&arguments).stdout);
        assert!(lists(&shown).len() > 1 || more[0] == "--period", "{more:?}: {shown}");
        assert_eq!(lists(&shown).len(), lists(&piped).len(), "{more:?}");
        assert!(!shown.contains(" lists, the newest"), "{more:?}");
    }
    assert_eq!(lists(&succeed(replay).stdout).len(), count);
    assert_eq!(lists(&on_terminal(&[&replay[..], &["--all"]].concat()).stdout).len(), count);
    let json = [&replay[..], &["--format", "json"]].concat();
    assert_eq!(on_terminal(&json).stdout, succeed(&json).stdout);
}

/// Titles, ids and countries with terminal sequences or spreadsheet formulas are printed
/// harmlessly.
#[test]
fn texts_of_plays_cannot_control_a_terminal_or_a_spreadsheet() {
    let folder = folder();
    filled(folder.path());
    let lake = folder.path().to_str().unwrap();
    for format in ["table", "csv", "json"] {
        let arguments = ["replay", "--lake", lake, "--all", "--format", format];
        for text in [succeed(arguments).stdout, on_terminal(&arguments).stdout] {
            assert!(text.contains("owned") || format == "table", "{text}");
            assert_eq!(text.chars().find(|character| character.is_control() && *character != '\n'), None, "{format}");
        }
        if format == "table" {
            let shown = on_terminal(&arguments).stdout;
            assert!(shown.lines().all(|line| line.width() <= WIDTH), "{shown}");
        }
    }
    let csv = succeed(["replay", "--lake", lake, "--format", "csv", "--chart", "all-time"]).stdout;
    assert!(csv.lines().any(|row| row.starts_with("all-time,all,,,'-1,1,'=s")), "{csv}");
}
