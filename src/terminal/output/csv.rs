//! Entries as CSV (RFC 4180, with plain line feeds), for spreadsheets and data frames.
//!
//! Titles, artists, ids and countries come from outside, and CSV has no types: a spreadsheet takes
//! a cell that begins with `=` for a formula, whoever wrote it. So texts follow the rule of OWASP
//! against CSV injection: one that begins with `=`, `+`, `-`, `@` (or the full-width forms of
//! these), a tab, a carriage return or a line feed gets an apostrophe in front, which spreadsheets
//! read as "this is text". Control characters become escapes such as `\u{1b}`, so that a row is one
//! line, and a terminal that shows it does not act on it. Numbers are written unchanged. JSON and
//! Parquet hold texts unchanged.

use std::borrow::Cow;
use std::io::{self, Write};

use reprise_dataflows::time::instant_name;

use crate::state::charts::ChartCell;
use crate::text::escape;

/// The characters that make a spreadsheet take a cell for a formula if it begins with one of them.
const FORMULA_STARTS: [char; 11] = ['=', '+', '-', '@', '＝', '＋', '－', '＠', '\t', '\r', '\n'];

/// Writes a header, and one row per entry below it. A value that a row does not have (the end of
/// all time, the title of an artist) is empty.
///
/// # Errors
/// If `out` cannot be written.
pub fn write(cells: &[ChartCell], out: &mut dyn Write) -> io::Result<()> {
    out.write_all(b"chart,period,start,end,scope,rank,track_id,title,artist,plays\n")?;
    for cell in cells {
        let (start, end) = (cell.start_us.map(instant_name), cell.end_us.map(instant_name));
        let (start, end) = (start.unwrap_or_default(), end.unwrap_or_default());
        let (chart, period, scope) = (text(&cell.chart), text(&cell.period), text(&cell.scope));
        for entry in &cell.entries {
            let track_id = text(entry.track_id.as_deref().unwrap_or_default());
            let title = text(entry.title.as_deref().unwrap_or_default());
            let (rank, artist, plays) = (entry.rank, text(entry.artist.as_deref().unwrap_or_default()), entry.plays);
            writeln!(out, "{chart},{period},{start},{end},{scope},{rank},{track_id},{title},{artist},{plays}")?;
        }
    }
    Ok(())
}

/// `text` as a cell that is safe to show in spreadsheets and terminals, in quotes if it has a
/// character that would end the cell early.
fn text(text: &str) -> Cow<'_, str> {
    let is_formula = text.starts_with(FORMULA_STARTS);
    if !is_formula && !text.contains(|character: char| character.is_control() || ",\"".contains(character)) {
        return Cow::Borrowed(text);
    }
    let mut cell = String::from(if is_formula { "'" } else { "" });
    for character in text.chars() {
        match character {
            '"' => cell.push_str("\"\""),
            control if control.is_control() => escape(control, &mut cell),
            other => cell.push(other),
        }
    }
    Cow::Owned(if cell.contains([',', '"']) { format!("\"{cell}\"") } else { cell })
}
