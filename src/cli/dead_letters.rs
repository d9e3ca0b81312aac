//! `reprise dead-letters`: the records that a running instance has set aside because they are not
//! valid plays.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Deserialize;

use super::chart::limit;
use super::instance::{Format, Instance};
use crate::terminal::output::table::{columns, fitted};
use crate::text::grouped;

/// The subcommands of `reprise dead-letters`.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Show the newest dead letters, with partition, offset and reason, and the count of each
    /// reason.
    Ls(LsOptions),
}

/// The options of `reprise dead-letters ls`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  reprise dead-letters ls
  reprise dead-letters ls --limit 5
  reprise dead-letters ls --format json | jq -r '.dead_letters[].value'")]
pub struct LsOptions {
    /// The number of dead letters to show, newest first [default: as many as the instance returns].
    #[arg(long, value_name = "N", value_parser = limit)]
    limit: Option<std::num::NonZeroUsize>,
    #[command(flatten)]
    instance: Instance,
    /// The output format.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

#[derive(Deserialize)]
struct DeadLetters {
    dead_letters: Vec<DeadLetter>,
    counts: BTreeMap<String, u64>,
    #[serde(default)]
    lake_dead_letters: u64,
    #[serde(default)]
    lake: String,
}

#[derive(Deserialize)]
struct DeadLetter {
    topic: String,
    partition: i32,
    offset: i64,
    time: Option<String>,
    reason: String,
    detail: String,
}

/// Asks the instance, and prints its answer.
///
/// # Errors
/// If the instance does not answer, or refuses.
pub fn run(Command::Ls(options): &Command) -> Result<()> {
    let limit = options.limit.map(|limit| limit.to_string());
    let parameters = [("limit", limit.as_deref())];
    options.instance.print(&["v1", "dead-letters"], &parameters, options.format, describe)
}

fn describe(DeadLetters { dead_letters, counts, lake_dead_letters, lake }: DeadLetters, width: Option<u16>) -> String {
    let is_none = counts.is_empty() && dead_letters.is_empty();
    if is_none && lake_dead_letters > 0 {
        let earlier = grouped(lake_dead_letters);
        let note = format!("no dead letters since the start; earlier ones in {lake}/dead_letters: {earlier}");
        return fitted(&note, width);
    }
    if is_none {
        return "no dead letters".to_owned();
    }
    let counts =
        columns(&["reason", "#records"], counts.into_iter().map(|(name, count)| vec![name, grouped(count)]), width);
    let letters = dead_letters.into_iter().map(|letter| {
        let place = format!("{}/{} at {}", letter.topic, letter.partition, letter.offset);
        vec![place, letter.time.unwrap_or_else(|| "–".to_owned()), letter.reason, letter.detail]
    });
    let heading = fitted("newest first", width);
    format!("{counts}\n\n{heading}\n{}", columns(&["place", "time", "reason", "detail"], letters, width))
}
