//! docs/configuration.md is made from the options of the program, and must be as they are.
//!
//! `REPRISE_WRITE_DOCS=1 cargo test --release --lib configuration` writes it.

use std::fmt::Write;
use std::path::Path;

use clap::{Arg, Command, CommandFactory};

use super::Reprise;

const HEAD: &str = "# Configuration

Every option of every command. A test keeps this page equal to the options of the program.

An option on the command line wins over its environment variable, and that over the file that
`--config` names. The file is TOML, with the long names of options without their dashes
(`commit-interval = \"30s\"`).
";

fn text(text: Option<&clap::builder::StyledStr>) -> String {
    let text = text.map(ToString::to_string).unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

fn name(option: &Arg) -> String {
    let long = option.get_long().map(|long| format!("--{long}"));
    let short = option.get_short().map(|short| format!("-{short}"));
    let names: Vec<String> = short.into_iter().chain(long).collect();
    let values = option.get_value_names().unwrap_or_default();
    let takes = option.get_action().takes_values();
    let value =
        values.first().filter(|_| takes).map(|value| format!(" {}", value.replace('|', "\\|"))).unwrap_or_default();
    match names.is_empty() {
        true => format!("`{}`", values.first().map_or(option.get_id().as_str(), |value| value.as_str())),
        false => format!("`{}{value}`", names.join("`, `")),
    }
}

fn row(option: &Arg, page: &mut String) {
    let mut words = text(option.get_help());
    let possible: Vec<String> =
        option.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect();
    if option.get_action().takes_values() && !possible.is_empty() {
        let _ = write!(words, ". One of {}.", possible.join(", "));
    }
    let default: Vec<String> =
        option.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
    // It depends on the machine.
    let default = if option.get_id() == "workers" { vec!["the processors".to_owned()] } else { default };
    let default = if option.get_action().takes_values() && !default.is_empty() {
        format!("`{}`", default.join(" "))
    } else {
        String::new()
    };
    let environment = option.get_env().map(|variable| format!("`{}`", variable.to_string_lossy())).unwrap_or_default();
    let _ = writeln!(page, "| {} | {default} | {environment} | {words} |", name(option));
}

fn section(command: &Command, path: &str, globals: &[&str], page: &mut String) {
    let _ = writeln!(page, "\n## {path}\n\n{}\n", text(command.get_about()));
    let options: Vec<&Arg> = (command.get_arguments())
        .filter(|option| !option.is_hide_set() && !globals.contains(&option.get_id().as_str()))
        .collect();
    if !options.is_empty() {
        page.push_str("| option | default | environment | |\n|---|---|---|---|\n");
        options.into_iter().for_each(|option| row(option, page));
    }
    for command in command.get_subcommands().filter(|command| !command.is_hide_set() && command.get_name() != "help") {
        section(command, &format!("{path} {}", command.get_name()), &["config", "log_format", "help", "version"], page);
    }
}

#[test]
fn the_page_on_configuration_is_that_of_the_program() {
    let mut command = Reprise::command();
    command.build();
    let mut page = HEAD.to_owned();
    section(&command, "reprise", &["help", "version"], &mut page);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    if std::env::var_os("REPRISE_WRITE_DOCS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "docs/configuration.md is not that of the program: write it by `REPRISE_WRITE_DOCS=1 cargo test --release --lib \
         configuration`"
    );
    assert!(page.matches("\n## ").count() > 15 && page.contains("--commit-interval"));
}
