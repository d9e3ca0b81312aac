//! `reprise health`: whether an instance is alive, as an exit status. The health check of the
//! Docker image uses it, since the image has neither a shell nor curl.

use anyhow::Result;

use super::client::Failure;
use super::instance::Instance;
use crate::terminal::output;

/// The options of `reprise health`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  reprise health
  reprise health --ready && reprise trending

The exit status is 0 if the instance answers, and 1 if not.")]
pub struct Options {
    #[command(flatten)]
    instance: Instance,
    /// Check also that it is ready: its charts contain all plays of its lake.
    #[arg(long)]
    ready: bool,
}

/// Probes the instance.
///
/// # Errors
/// If it does not answer, or is not ready.
pub fn run(options: &Options) -> Result<()> {
    let (path, expected) = if options.ready { ("readyz", "ready") } else { ("healthz", "ok") };
    let url = options.instance.url(&[path], &[])?;
    options.instance.client()?.probe(&url, expected).map_err(Failure::into_error)?;
    output::print_text(&format!("{expected}\n"))
}
