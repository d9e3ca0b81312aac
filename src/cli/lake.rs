//! `reprise lake`: inspects and maintains a lake. All subcommands may be used while an instance
//! runs on the lake.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::SignedDuration;
use reprise_dataflows::time::instant_name;

use super::instance::Format;
use super::lake_folder::LakeFolder;
use super::logging::{start_log, stop_flag};
use super::options::default_workers;
use super::parsers::parse_duration;
use super::run::workers;
use super::{checkpoint, verify};
use crate::lake::maintenance;
use crate::lake::maintenance::{Attention, DayUsage, Lock, TableUsage, Usage};
use crate::lake::store::Place;
use crate::process::failpoint;
use crate::terminal::output::table::columns;
use crate::terminal::output::unless_closed;
use crate::text::grouped;
use crate::text::{json, log};

/// How long to wait for another process that holds the maintenance lock.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// The subcommands of `reprise lake`.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Show the files, rows and bytes of each day in a lake, and its next offsets.
    Ls(LsOptions),
    /// Check that every file matches the log, and that every offset of the topic is accounted for
    /// exactly once.
    Check(CheckOptions),
    /// Merge many small files into few, hour by hour.
    Compact(CompactOptions),
    /// Delete the files that no retained version of the lake needs, and publish the merged files
    /// that replace them.
    Vacuum(VacuumOptions),
    /// Make a checkpoint of a lake now, so that the next start of `reprise run` is quick.
    Checkpoint(checkpoint::Options),
}

/// The options of `reprise lake ls`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  reprise lake ls ./lake
  reprise lake ls ./lake --format json | jq '.tables[0].total'")]
pub struct LsOptions {
    #[command(flatten)]
    lake: LakeFolder,
    /// The output format.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// The options of `reprise lake check`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  reprise lake check ./lake                   the same as `reprise verify ./lake`

The exit status is 0 if no problem was found, and 1 otherwise.")]
pub struct CheckOptions {
    #[command(flatten)]
    lake: LakeFolder,
    /// Threads that read files.
    #[arg(short, long, value_name = "N", default_value_t = default_workers(), value_parser = workers, env = "REPRISE_WORKERS")]
    workers: usize,
}

/// The options of `reprise lake compact`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  reprise lake compact ./lake                 merge files older than two hours, as `run` does by itself
  reprise lake compact ./lake --all           merge files of any age
  reprise lake vacuum ./lake --retain 1h      later: replace the small files by the merged ones

Readers that follow the log see the merged files at once. Readers that list files by name see the small files until a
vacuum deletes them, and the merged ones from then on.")]
pub struct CompactOptions {
    #[command(flatten)]
    lake: LakeFolder,
    /// Merge only files older than this.
    #[arg(long, alias = "quiet", value_name = "SPAN", default_value = "2h", value_parser = parse_duration)]
    older_than: Duration,
    /// Merge files of any age, also in hours that still receive plays.
    #[arg(long, conflicts_with = "older_than")]
    all: bool,
}

/// The options of `reprise lake vacuum`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  reprise lake vacuum ./lake --dry-run        show how much would be deleted
  reprise lake vacuum ./lake                  delete files that no version of the last hour contains
  reprise lake vacuum ./lake --retain 0s      delete all but the newest version; breaks readers that are still running")]
pub struct VacuumOptions {
    #[command(flatten)]
    lake: LakeFolder,
    /// Keep the files that any version of the last SPAN contains. Choose the longest time that a
    /// reader may take.
    #[arg(long, value_name = "SPAN", default_value = "1h", value_parser = parse_duration)]
    retain: Duration,
    /// Only print what would be deleted.
    #[arg(long)]
    dry_run: bool,
}

/// Runs a subcommand.
///
/// # Errors
/// If it fails, or a check finds a problem.
pub fn run(command: Command) -> Result<()> {
    start_log("warn");
    failpoint::warn_if_set();
    match command {
        Command::Ls(options) => options.lake.advise(ls(&options)),
        Command::Check(options) => options.lake.advise(verify::alone(&options.lake.open()?, options.workers)),
        Command::Compact(options) => options.lake.advise(compact(&options)),
        Command::Vacuum(options) => options.lake.advise(vacuum(&options)),
        Command::Checkpoint(options) => options.lake.advise(checkpoint::run(&options)),
    }
}

fn ls(options: &LsOptions) -> Result<()> {
    let usage = maintenance::usage(&options.lake.open()?)?;
    let text = match options.format {
        Format::Table => describe(&usage),
        Format::Json => String::from_utf8(json::to_vec(&usage)?)? + "\n",
    };
    let written = std::io::stdout().lock().write_all(text.as_bytes());
    unless_closed(written).context("standard output cannot be written")
}

fn compact(options: &CompactOptions) -> Result<()> {
    let lake = options.lake.to_write()?;
    let after = if options.all { Duration::ZERO } else { options.older_than };
    let lock = lock(&lake)?;
    let stop = stop_flag("finishing the commit under way")?;
    let compacted = with_bar("compacting", &stop, |attention| maintenance::compact(&lake, &lock, after, attention))?;
    if compacted.partitions == 0 && compacted.failed == 0 {
        log::note(&nothing_compacted(after));
    } else {
        log::note(&format!(
            "compacted {} {}: {} files of {} became {} of {}",
            grouped(compacted.partitions as u64),
            if compacted.partitions == 1 { "partition" } else { "partitions" },
            grouped(compacted.files_before as u64),
            HumanBytes(compacted.bytes_before),
            grouped(compacted.files_after as u64),
            HumanBytes(compacted.bytes_after)
        ));
    }
    if compacted.failed > 0 {
        bail!("{} partitions could not be compacted, for the reasons above; the others were", compacted.failed);
    }
    Ok(())
}

/// The message if there was nothing to merge among the files older than `after`.
fn nothing_compacted(after: Duration) -> String {
    let span = SignedDuration::try_from(after).unwrap_or_default();
    if span.is_zero() {
        return "compacted nothing: no hour has several small files".to_owned();
    }
    format!(
        "compacted nothing: no hour has several small files that are older than {span:#}; --all takes files of any age"
    )
}

fn vacuum(options: &VacuumOptions) -> Result<()> {
    let lake = options.lake.to_write()?;
    let lock = lock(&lake)?;
    let stop = stop_flag("leaving the rest for another time")?;
    let (retain, dry_run) = (options.retain, options.dry_run);
    let vacuumed =
        with_bar("deleting", &stop, |attention| maintenance::vacuum(&lake, &lock, retain, dry_run, attention))?;
    let deleted = if dry_run { "would delete" } else { "deleted" };
    let (files, names) = (vacuumed.files - vacuumed.names, vacuumed.names);
    log::note(&format!("{deleted} {} files, {}", grouped(files as u64), HumanBytes(vacuumed.bytes)));
    if vacuumed.published > 0 {
        let published = grouped(vacuumed.published as u64);
        log::note(&format!("put {published} compacted files in the place of those that they replace"));
    }
    if names == 1 {
        log::note(&format!("{deleted} the second name, in _merged, of a file that stays"));
    } else if names > 1 {
        let names = grouped(names as u64);
        log::note(&format!("{deleted} the second names, in _merged, of {names} files that stay"));
    }
    if !dry_run {
        maintenance::clean_logs(&lake, &lock, retain)?;
    }
    Ok(())
}

/// Takes the maintenance lock. A running instance holds it for a moment each minute, so this waits
/// up to [`LOCK_WAIT`].
fn lock(lake: &Place) -> Result<Lock> {
    let began = Instant::now();
    loop {
        match Lock::take(lake)? {
            Some(lock) => return Ok(lock),
            None if began.elapsed() < LOCK_WAIT => std::thread::sleep(LOCK_WAIT / 100),
            None => {
                bail!("another process compacts or vacuums the lake {lake}: let it finish, then try again")
            }
        }
    }
}

/// Shows the progress of `work`, if stderr is a terminal.
fn with_bar<T>(
    doing: &'static str,
    stop: &Arc<AtomicBool>,
    work: impl FnOnce(&Attention<'_>) -> Result<T>,
) -> Result<T> {
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{msg} {bar:40} {bytes} of {total_bytes}, {eta} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_message(doing);
    let progress = |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    };
    let outcome = work(&Attention { stop, progress: &progress });
    bar.finish_and_clear();
    outcome
}

/// The usage as tables.
fn describe(usage: &Usage) -> String {
    let offsets: Vec<String> =
        usage.offsets.iter().map(|(partition, next)| format!("{partition}: {}", grouped(*next))).collect();
    let mut text = format!("incarnation {}", usage.incarnation);
    text.extend(usage.epoch.map(|epoch| format!(" · epoch {epoch}")));
    text.extend(usage.clock_us.map(|clock_us| format!(" · clock {}", instant_name(clock_us))));
    text.extend((!offsets.is_empty()).then(|| format!("\nnext offsets {}", offsets.join(" · "))));
    for table in &usage.tables {
        text.push_str(&format!(
            "\n\n{} · version {} · a log of {} files\n{}\n",
            table.table,
            table.version,
            grouped(table.log_files as u64),
            days(table)
        ));
        if table.staged_files > 0 {
            text.push_str(&format!("{} files are staged for a commit\n", table.staged_files));
        }
        if table.untracked_files > 0 {
            let (files, bytes) = (table.untracked_files, HumanBytes(table.untracked_bytes));
            text.push_str(&format!("{files} files, {bytes}, are not in this version: `reprise lake vacuum`\n"));
        }
    }
    text
}

fn days(usage: &TableUsage) -> String {
    let row = |name: &str, day: &DayUsage| {
        let bytes = [day.bytes, day.smallest_bytes, day.largest_bytes].map(|bytes| HumanBytes(bytes).to_string());
        let counts = [day.partitions as u64, day.files as u64, day.rows].map(grouped);
        [vec![name.to_owned()], counts.to_vec(), bytes.to_vec()].concat()
    };
    let rows = usage.days.iter().map(|(date, day)| row(date, day)).chain([row("all", &usage.total)]);
    columns(&["day", "#partitions", "#files", "#rows", "#size", "#smallest", "#largest"], rows, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compaction_of_nothing_says_why() {
        let old = nothing_compacted(Duration::from_secs(2 * 3600));
        assert!(old.ends_with("that are older than 2h; --all takes files of any age"), "{old}");
        assert!(!nothing_compacted(Duration::ZERO).contains("--all"));
    }
}
