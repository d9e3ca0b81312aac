//! `reprise completions` and `reprise man`: what shells and manuals say of the options, made from the options themselves.

use anyhow::{Context, Result};
use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;

use super::usage::WrongUsage;
use crate::terminal::output;

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  reprise completions bash > ~/.local/share/bash-completion/completions/reprise
  reprise completions fish > ~/.config/fish/completions/reprise.fish
  source <(reprise completions zsh)")]
pub struct CompletionsOptions {
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  reprise man | man -l -
  reprise man lake compact | man -l -
  reprise man > /usr/local/share/man/man1/reprise.1")]
pub struct ManOptions {
    /// The command that the page is of, instead of all.
    #[arg(value_name = "COMMAND")]
    path: Vec<String>,
}

/// Prints the completions of `command` for a shell.
pub fn completions(mut command: Command, options: &CompletionsOptions) -> Result<()> {
    let (name, mut script) = (command.get_name().to_owned(), Vec::new());
    clap_complete::generate(options.shell, &mut command, name, &mut script);
    output::print_text(&String::from_utf8(script)?)
}

/// Prints the manual page of `command`, or of one of its subcommands.
pub fn man(mut command: Command, options: &ManOptions) -> Result<()> {
    // It tells each subcommand what it is called as a whole.
    command.build();
    let page_of = options.path.iter().try_fold(&command, |command, name| {
        command.find_subcommand(name).with_context(|| format!("`{}` has no command `{name}`", command.get_name()))
    });
    let mut page = Vec::new();
    Man::new(page_of.wrong_usage()?.clone()).render(&mut page)?;
    output::print_text(&String::from_utf8(page)?)
}
