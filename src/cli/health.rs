//! `reprise health`: whether an instance lives, as an exit status. Docker asks so, having no shell or curl in the image.

use anyhow::Result;

use super::client::Failure;
use super::instance::Instance;
use crate::terminal::output;

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  reprise health
  reprise health --ready && reprise trending

The exit status is 0 if it answers, and 1 if not.")]
pub struct Options {
    #[command(flatten)]
    instance: Instance,
    /// Ask whether the charts of its lake are whole, too.
    #[arg(long)]
    ready: bool,
}

pub fn run(options: &Options) -> Result<()> {
    let (path, expected) = if options.ready { ("readyz", "ready") } else { ("healthz", "ok") };
    let url = options.instance.url(&[path], &[])?;
    options.instance.client()?.probe(&url, expected).map_err(Failure::into_error)?;
    output::print_text(&format!("{expected}\n"))
}
