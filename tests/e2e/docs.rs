//! The pages in docs/: all of their shell commands succeed, in the order of the page.

use std::time::Duration;

use crate::support::fixture::folder;
use crate::support::program::Program;
use crate::support::running::Running;
use crate::support::{eventually, heavy, repository, unique};
use crate::tour::{ADDRESS, commands_in, shell};

/// Runs the commands of a page from top to bottom, in an empty folder and with a topic of its own.
/// Fails if the page has fewer than `commands_min`.
fn walk(page: &str, commands_min: usize) {
    let text = std::fs::read_to_string(repository().join("docs").join(page)).unwrap();
    let commands = commands_in(&text);
    assert!(commands.len() >= commands_min, "{page} has {} commands", commands.len());
    let (folder, topic) = (folder(), unique("docs"));
    let _heavy = heavy();
    let mut running = None::<Running>;
    for line in commands {
        let address = running.as_ref().map_or(ADDRESS, |running| &running.address).to_owned();
        let spawned = || Program::spawn(&mut shell(&line, folder.path(), &topic, &address));
        if line.starts_with("reprise run") && !line.contains("--until-caught-up") {
            let started = Running::of(spawned());
            eventually("everything is read", || (started.status()["caught_up"] == true).then_some(()));
            running = Some(started);
        } else {
            let ended = spawned().end_within(Duration::from_secs(300));
            assert!(ended.status.success(), "{page}: {line}\n{}\n{}", ended.stdout, ended.stderr);
        }
    }
    running.into_iter().for_each(Running::stop);
}

#[test]
fn concepts() {
    walk("concepts.md", 5);
}

#[test]
fn your_own_events() {
    walk("your-own-events.md", 3);
}

#[test]
fn sizing() {
    walk("sizing.md", 2);
}

#[test]
fn operating() {
    walk("operating.md", 5);
}

#[test]
fn erasing_and_correcting() {
    walk("erasing-and-correcting.md", 4);
}

/// Pages that are not run have no shell commands, and no link of any page is dead.
#[test]
fn other_pages_have_no_commands_and_no_page_has_a_dead_link() {
    let docs = repository().join("docs");
    let walked = ["concepts.md", "your-own-events.md", "sizing.md", "operating.md", "erasing-and-correcting.md"];
    for entry in std::fs::read_dir(&docs).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if !name.ends_with(".md") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(walked.contains(&&*name) || commands_in(&text).is_empty(), "{name} has commands that no test runs");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
            let is_dead = !link.is_empty() && !link.contains("://") && !docs.join(link).exists();
            assert!(!is_dead, "{name} links to {link}, which does not exist");
        }
    }
}
