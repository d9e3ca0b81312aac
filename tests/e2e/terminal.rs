//! What a person sees: a screenful on a terminal, all of it in a pipe, and nothing that a title can do to either.

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
const TITLE: &str = "\u{1b}[2J\u{1b}]0;owned\u{7}=1+1\u{9b}31m\u{7f}";

/// Runs `reprise` on a terminal of its own, its log elsewhere. Returns what the terminal got.
#[track_caller]
fn on_terminal(words: &[&str]) -> Ended {
    let spawn = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";
    let within = format!("stty cols {WIDTH} rows 40; exec \"$0\" \"$@\" 2>/dev/null");
    let mut command = Command::new("python3");
    clean(&mut command);
    // Without our own colours: every escape that is left is one of a title.
    command.env("NO_COLOR", "1");
    command.args(["-c", spawn, "sh", "-c", &within, env!("CARGO_BIN_EXE_reprise")]).args(words);
    let mut ended = Program::spawn(&mut command).succeed();
    // A terminal gets a carriage return with each line feed.
    ended.stdout = ended.stdout.replace("\r\n", "\n");
    ended
}

/// The lists that were printed: chart, scope and period.
fn lists(text: &str) -> Vec<String> {
    let heading = |line: &&str| line.split(" · ").count() >= 3 && !line.starts_with(' ');
    let name = |line: &str| line.split(" · ").take(3).collect::<Vec<_>>().join(" · ");
    text.lines().filter(heading).map(name).collect()
}

/// Reads a topic of plays in many weeks and countries into a lake.
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
fn a_terminal_gets_a_screenful_and_a_pipe_all() {
    let folder = folder();
    let topic = filled(folder.path());
    let lake = folder.path().to_str().unwrap();
    let replay = ["replay", "--lake", lake];
    let json = succeed([&replay[..], &["--format", "json"]].concat()).stdout;
    let count = json.lines().count();
    let heads =
        ["all-time · global · all", "monthly · global · 2025-06", "trending · global", "weekly · global · 2025-W23"];
    let run_words = run(&topic, folder.path(), &["--until-caught-up", "--format", "table"]);
    let run_words: Vec<&str> = run_words.iter().map(String::as_str).collect();
    for words in [&replay[..], &run_words[..]] {
        let shown = on_terminal(words).stdout;
        let found = lists(&shown);
        assert_eq!(found.len(), heads.len(), "{shown}");
        assert!(found.iter().zip(heads).all(|(found, head)| found.starts_with(head)), "{found:?}");
        assert!(shown.contains(&format!("4 of {count} lists")) && shown.contains("--all"), "{shown}");
        // Ten of thirty songs, a header and a line below it.
        let longest = shown.split("\n\n").map(|table| table.lines().count()).max();
        assert_eq!(longest, Some(13), "{shown}");
    }
    for more in [&["--all"][..], &["--chart", "weekly"], &["--scope", "US"], &["--period", "2025-W01"]] {
        let words = [&replay[..], more].concat();
        let (shown, piped) = (on_terminal(&words).stdout, succeed(&words).stdout);
        assert!(lists(&shown).len() > 1 || more[0] == "--period", "{more:?}: {shown}");
        assert_eq!(lists(&shown).len(), lists(&piped).len(), "{more:?}");
        assert!(!shown.contains(" lists, the newest"), "{more:?}");
    }
    assert_eq!(lists(&succeed(replay).stdout).len(), count);
    assert_eq!(lists(&on_terminal(&[&replay[..], &["--all"]].concat()).stdout).len(), count);
    let json = [&replay[..], &["--format", "json"]].concat();
    assert_eq!(on_terminal(&json).stdout, succeed(&json).stdout);
}

/// Titles, ids and countries that are sequences of a terminal or formulas of a spreadsheet are shown, and nothing else.
#[test]
fn what_plays_hold_controls_no_terminal_and_no_spreadsheet() {
    let folder = folder();
    filled(folder.path());
    let lake = folder.path().to_str().unwrap();
    for format in ["table", "csv", "json"] {
        let words = ["replay", "--lake", lake, "--all", "--format", format];
        for text in [succeed(words).stdout, on_terminal(&words).stdout] {
            assert!(text.contains("owned") || format == "table", "{text}");
            assert_eq!(text.chars().find(|character| character.is_control() && *character != '\n'), None, "{format}");
        }
        if format == "table" {
            let shown = on_terminal(&words).stdout;
            assert!(shown.lines().all(|line| line.width() <= WIDTH), "{shown}");
        }
    }
    let csv = succeed(["replay", "--lake", lake, "--format", "csv", "--chart", "all-time"]).stdout;
    assert!(csv.lines().any(|row| row.starts_with("all-time,all,,,'-1,1,'=s")), "{csv}");
}
