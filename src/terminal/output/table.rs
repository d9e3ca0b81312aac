//! Chart cells as tables for people.
//!
//! Titles, artists and countries are texts that any producer can write to the topic. A terminal
//! must show them and not act on them: control characters, and those that change the direction of
//! text, are written as escapes. A text that is too long is cut to its column.

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Row, Table, TableStyle, presets};
use reprise_dataflows::time::instant_name;
use unicode_width::UnicodeWidthChar;

use crate::state::charts::{Available, ChartCell, Entry};
use crate::text::{grouped, printable};

/// The name of a period whose start and end are not known, by ISO 8601.
const UNKNOWN_PERIOD: &str = "../..";

/// One table per cell, with an empty line between them. Lines are cut to `width` columns, if it is
/// given.
pub fn tables(cells: &[ChartCell], width: Option<u16>) -> String {
    let tables: Vec<String> = cells.iter().map(|cell| table(cell, width)).collect();
    tables.join("\n")
}

/// The name of the cell, then its entries. Lines are cut to `width` columns, if it is given.
pub fn table(cell: &ChartCell, width: Option<u16>) -> String {
    let clock = cell.as_of.clock_us.map(|clock_us| format!(" · as of {}", instant_name(clock_us)));
    let name = heading([&cell.chart, &cell.scope, &cell.period]) + &clock.unwrap_or_default();
    let entries = match cell.entries.is_empty() {
        true => fitted(&no_plays(cell.available.as_ref()), width),
        false => list(&cell.entries, width),
    };
    format!("{}\n{entries}\n", fitted(&name, width))
}

/// The `parts` of a heading with dots between them. A period that is not known, because there is no
/// clock yet, is left out.
pub fn heading<const N: usize>(parts: [&str; N]) -> String {
    parts.into_iter().filter(|part| *part != UNKNOWN_PERIOD).collect::<Vec<_>>().join(" · ")
}

/// The line in place of the entries of an empty cell. It says which cells have entries, if that is
/// known.
pub fn no_plays(available: Option<&Available>) -> String {
    match available {
        Some(available) => format!(" no plays; {available}"),
        None => " no plays".to_owned(),
    }
}

/// The entries in columns, without the name of their cell and without a final line feed. Lines are
/// cut to `width` columns, if it is given.
pub fn list(entries: &[Entry], width: Option<u16>) -> String {
    let tracks = entries.iter().any(|entry| entry.title.is_some());
    let header: &[&str] = if tracks { &["#rank", "title", "artist", "#plays"] } else { &["#rank", "artist", "#plays"] };
    let rows = entries.iter().map(|entry| {
        let title = tracks.then(|| entry.title.clone().unwrap_or_default());
        let ends = [entry.artist.clone().unwrap_or_default(), grouped(entry.plays)];
        [entry.rank.to_string()].into_iter().chain(title).chain(ends).collect()
    });
    columns(header, rows, width)
}

/// `rows` of texts below `header`, one line each, cut to `width` columns if it is given, without a
/// final line feed. Columns whose header begins with `#` are numbers: they are aligned to the
/// right, and never cut.
pub fn columns(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>, width: Option<u16>) -> String {
    const LINE_BELOW_HEADER: TableStyle =
        presets::NOTHING.header_separator(comfy_table::LineStyle::none().fill('─').junction('─'));
    let line = |texts: Vec<String>| {
        let mut row = Row::from(texts.iter().map(|text| printable(text)).collect::<Vec<_>>());
        row.max_height(1);
        row
    };
    let mut table = Table::new();
    // NUL separates words here, and no text has one after `printable`. So texts are not broken at
    // words: a text that is too long is cut where its column ends.
    table.load_style(LINE_BELOW_HEADER).set_content_arrangement(ContentArrangement::Dynamic).set_delimiter('\0');
    if let Some(width) = width {
        table.set_width(width);
    }
    table.set_header(line(header.iter().map(|name| name.trim_start_matches('#').to_owned()).collect()));
    for row in rows {
        table.add_row(line(row));
    }
    for (number, _) in header.iter().enumerate().filter(|(_, name)| name.starts_with('#')) {
        if let Some(column) = table.column_mut(number) {
            column.set_cell_alignment(CellAlignment::Right);
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    table.trim_fmt()
}

/// `text`, escaped as by [`printable`], and cut to `width` columns if it is given.
pub fn fitted(text: &str, width: Option<u16>) -> String {
    let text = printable(text);
    let Some(width) = width.map(usize::from) else { return text.into_owned() };
    let columns = |character: char| character.width().unwrap_or(0);
    if text.chars().map(columns).sum::<usize>() <= width {
        return text.into_owned();
    }
    let mut used = 0;
    let fits = text.chars().take_while(|&character| {
        used += columns(character);
        used < width
    });
    let mut fitting: String = fits.collect();
    fitting.extend((width > 0).then_some('…'));
    fitting
}

/// `text` with its headings in bold: the first line, and each line after an empty one.
pub fn emphasised(text: &str) -> String {
    let mut is_heading = true;
    let lines = text.split_inclusive('\n').map(|line| {
        let content = line.trim_end_matches('\n');
        let bold = std::mem::replace(&mut is_heading, content.is_empty()) && !content.is_empty();
        if bold { format!("\x1b[1m{content}\x1b[0m{}", &line[content.len()..]) } else { line.to_owned() }
    });
    lines.collect()
}
