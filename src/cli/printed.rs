//! Printing charts after `replay`, `demo` or a finished `run`: all lists for programs, the newest
//! ones on a terminal.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::usage::WrongUsage;
use crate::lake::Snapshot;
use crate::lake::store::Place;
use crate::state::charts::{AsOf, ChartCell, Charts, Filter};
use crate::terminal::output::table::fitted;
use crate::terminal::output::{self, Format};
use crate::text::grouped;

/// Entries of each list on a terminal without `--all`.
const HEAD_ENTRIES: usize = 10;
/// Printed below the newest lists: how to see the others.
const MORE: &str = "Every list: --all, a pipe, or --format json.";

/// Where charts are printed, and how much of them.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Printed {
    /// The file to write the charts to, instead of stdout.
    #[arg(long, value_name = "PATH")]
    pub output: Option<PathBuf>,
    /// Print every list with all of its entries, also on a terminal, where only the newest list of
    /// each chart is printed otherwise.
    #[arg(long)]
    pub all: bool,
}

impl Printed {
    /// Prints the cells of `charts` that match `filter`, and returns their number. On a terminal,
    /// as tables and without a filter, prints only the newest list of each chart, and then how to print
    /// the others; `selection` adds how to print a single one.
    ///
    /// # Errors
    /// If the file or standard output cannot be written.
    pub fn print(&self, charts: &Charts, filter: &Filter, format: Format, selection: &str) -> Result<usize> {
        let count = charts.keys(filter).len();
        let is_filtered = filter.chart.is_some() || filter.scope.is_some() || filter.period.is_some();
        let is_for_people = format == Format::Table && self.output.is_none() && io::stdout().is_terminal();
        if is_filtered || self.all || !is_for_people {
            output::write(format, &charts.cells(filter), self.output.as_deref())?;
            return Ok(count);
        }
        let heads = charts.heads(HEAD_ENTRIES);
        output::write(format, &heads, None)?;
        if count > 0 {
            output::print_text(&note(&heads, count, selection, output::screen_width()))?;
        }
        Ok(count)
    }

    /// Checks, before long work begins, that the result can be written.
    ///
    /// # Errors
    /// If it cannot, or the format needs a file and none is named.
    pub fn check(&self, format: Format) -> Result<()> {
        check_output(format, self.output.as_deref())
    }

    /// Whether `--output` or `--all` is given.
    pub fn is_asked(&self) -> bool {
        self.all || self.output.is_some()
    }
}

/// Checks, before long work begins, that its result can be written in this format to this path.
///
/// # Errors
/// If it cannot. That a format needs a file and none is named is wrong usage.
pub fn check_output(format: Format, path: Option<&Path>) -> Result<()> {
    let checked = output::check(format, path);
    if path.is_none() { checked.wrong_usage() } else { checked }
}

/// A note on the lists that are not shown, in lines that fit the terminal.
fn note(heads: &[ChartCell], count: usize, selection: &str, width: Option<u16>) -> String {
    let (shown, count) = (grouped(heads.len() as u64), grouped(count as u64));
    let above = format!("{shown} of {count} lists, the newest of each chart, with up to {HEAD_ENTRIES} entries.");
    format!("\n{}\n{}\n", fitted(&above, width), fitted(&format!("{MORE}{selection}"), width))
}

/// The `as_of` of charts that contain every play of `snapshot`: its version, and the epoch of the
/// newest commit of plays.
pub fn as_of(snapshot: &Snapshot, clock_us: Option<i64>) -> AsOf {
    let epoch = snapshot.progress().epoch.unwrap_or(0);
    AsOf { epoch, clock_us, lake_version: Some(snapshot.version()), durable: true }
}

/// The charts of a run that has ended, as of its last commit: byte for byte those that a replay of
/// `lake` prints.
///
/// # Errors
/// If the log of the lake cannot be read.
pub fn committed(charts: &Charts, incarnation: i64, lake: &Place) -> Result<Charts> {
    let mut charts = charts.clone();
    let snapshot = Snapshot::open(lake, None)?;
    // If another process has taken the lake over since, the charts are as of this run's last
    // commit.
    if snapshot.progress().incarnation == incarnation {
        charts.set_as_of(as_of(&snapshot, charts.as_of().clock_us));
    }
    Ok(charts)
}
