//! Chart cells for people and programs: a table, JSON lines, CSV, Parquet.
//!
//! `replay` and the client commands print through here, so the same cells look the same wherever
//! they come from.

mod csv;
mod parquet;
pub mod table;

use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::state::charts::ChartCell;
use crate::text::json;

/// How chart cells are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people: fits the terminal.
    Table,
    /// One JSON object per chart cell per line, the same that HTTP returns.
    Json,
    /// One row per entry, below a header.
    Csv,
    /// One row per entry, in a Parquet file.
    Parquet,
}

/// Checks that cells can be written in this format to the file `path`, or to standard output,
/// before long work for them begins. Creates the file if it does not exist.
///
/// # Errors
/// If the file cannot be written, or [`Format::Parquet`] has no file.
pub fn check(format: Format, path: Option<&Path>) -> Result<()> {
    match path {
        None if format == Format::Parquet => {
            bail!("Parquet is not text for the screen: name its file with --output PATH")
        }
        None => Ok(()),
        Some(path) => {
            let file = File::options().create(true).append(true).open(path);
            file.map(drop).with_context(|| format!("{} cannot be written", path.display()))
        }
    }
}

/// Writes `cells` to the file `path`, or to standard output if there is none.
///
/// # Errors
/// If the output cannot be written, or [`Format::Parquet`] has no file. A reader that closes
/// standard output early (`| head`) causes no error.
pub fn write(format: Format, cells: &[ChartCell], path: Option<&Path>) -> Result<()> {
    let Some(path) = path else { return print(format, cells) };
    let file = File::create(path).with_context(|| format!("{} cannot be written", path.display()))?;
    let mut file = BufWriter::new(file);
    let written = match format {
        Format::Parquet => parquet::write(cells, &mut file),
        _ => write_text(format, cells, None, &mut file).map_err(Into::into),
    };
    let flushed = written.and_then(|()| Ok(file.flush()?));
    flushed.with_context(|| format!("{} could not be written to the end, and is incomplete", path.display()))
}

fn print(format: Format, cells: &[ChartCell]) -> Result<()> {
    check(format, None)?;
    let mut out = BufWriter::new(io::stdout().lock());
    let written = match format {
        Format::Table => out.write_all(emphasised(table::tables(cells, screen_width()), &io::stdout()).as_bytes()),
        _ => write_text(format, cells, None, &mut out),
    };
    let written = written.and_then(|()| out.flush());
    unless_closed(written).context("standard output cannot be written")
}

/// `text` with its headings in bold, if `stream` shows colours. Headings are the first line and
/// each line after an empty one.
pub fn emphasised(text: String, stream: &impl IsTerminal) -> String {
    if colours(stream) { table::emphasised(&text) } else { text }
}

/// Whether `stream` is a terminal that shows colours, and `NO_COLOR` is not set
/// (<https://no-color.org>).
pub fn colours(stream: &impl IsTerminal) -> bool {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    stream.is_terminal() && !is_set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Prints `text` to standard output.
///
/// # Errors
/// If standard output cannot be written. A reader that closes it early causes no error.
pub fn print_text(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    unless_closed(written).context("standard output cannot be written")
}

/// Writes `cells` as text. A table is cut to `width` columns, if one is given.
///
/// # Errors
/// The errors of `out`; and always for [`Format::Parquet`], which is not text.
pub fn write_text(format: Format, cells: &[ChartCell], width: Option<u16>, out: &mut dyn Write) -> io::Result<()> {
    match format {
        Format::Table => out.write_all(table::tables(cells, width).as_bytes()),
        Format::Csv => csv::write(cells, out),
        Format::Json => cells.iter().try_for_each(|cell| {
            json::to_writer(&mut *out, cell)?;
            out.write_all(b"\n")
        }),
        Format::Parquet => Err(io::Error::new(ErrorKind::Unsupported, "Parquet is not text")),
    }
}

/// Turns a broken pipe into success: the reader has closed it because it has read what it needs.
///
/// # Errors
/// Every other error of `written`.
pub fn unless_closed(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// The columns of the terminal, if standard output is one.
pub fn screen_width() -> Option<u16> {
    screen_size().map(|(width, _)| width)
}

/// The columns and lines of the terminal, if standard output is one.
pub fn screen_size() -> Option<(u16, u16)> {
    if !io::stdout().is_terminal() {
        return None;
    }
    terminal_size::terminal_size().map(|(width, height)| (width.0, height.0))
}

#[cfg(test)]
mod tests;
