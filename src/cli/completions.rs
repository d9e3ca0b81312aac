//! `reprise completions` and `reprise man`: shell completions and manual pages, generated from the
//! options.

use anyhow::{Context, Result};
use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;

use super::usage::WrongUsage;
use crate::terminal::output;

/// The options of `reprise completions`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  reprise completions bash > ~/.local/share/bash-completion/completions/reprise
  reprise completions fish > ~/.config/fish/completions/reprise.fish
  source <(reprise completions zsh)")]
pub struct CompletionsOptions {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

/// The options of `reprise man`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  reprise man | man -l -
  reprise man lake compact | man -l -
  reprise man > /usr/local/share/man/man1/reprise.1")]
pub struct ManOptions {
    /// The command to print the page of, instead of the whole program.
    #[arg(value_name = "COMMAND")]
    path: Vec<String>,
}

/// Prints the completions of `command` for a shell.
///
/// # Errors
/// If standard output cannot be written.
pub fn completions(mut command: Command, options: &CompletionsOptions) -> Result<()> {
    let (name, mut script) = (command.get_name().to_owned(), Vec::new());
    clap_complete::generate(options.shell, &mut command, name, &mut script);
    output::print_text(&String::from_utf8(script)?)
}

/// Prints the manual page of `command`, or of one of its subcommands.
///
/// # Errors
/// If there is no such subcommand, or standard output cannot be written.
pub fn man(mut command: Command, options: &ManOptions) -> Result<()> {
    // Sets the full name of each subcommand, such as `reprise lake compact`.
    command.build();
    let page_of = options.path.iter().try_fold(&command, |command, name| {
        command.find_subcommand(name).with_context(|| format!("`{}` has no command `{name}`", command.get_name()))
    });
    let mut page = Vec::new();
    Man::new(page_of.wrong_usage()?.clone()).render(&mut page)?;
    output::print_text(&String::from_utf8(page)?)
}
