//! Chart cells as tables for people.
//!
//! Titles, artists and countries come from whoever writes to the topic. On a terminal they are shown, never obeyed:
//! control characters and the ones that turn the direction of text around are written as escapes, and what is too long
//! is cut to its column.

use std::borrow::Cow;

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Row, Table, TableStyle, presets};
use reprise_dataflows::calendar::instant_name;
use unicode_width::UnicodeWidthChar;

use crate::charts::{ChartCell, Entry};

/// One table per cell, an empty line between them. Cut to `width` columns, if one is given.
pub fn tables(cells: &[ChartCell], width: Option<u16>) -> String {
    let tables: Vec<String> = cells.iter().map(|cell| table(cell, width)).collect();
    tables.join("\n")
}

/// The name of the cell, then its entries.
pub fn table(cell: &ChartCell, width: Option<u16>) -> String {
    let clock = cell.as_of.clock_us.map(|clock_us| format!(" · as of {}", instant_name(clock_us)));
    let name = format!("{} · {} · {}{}", cell.chart, cell.scope, cell.period, clock.unwrap_or_default());
    let entries = match cell.entries.is_empty() {
        true => fitted(" no plays", width),
        false => list(&cell.entries, width),
    };
    format!("{}\n{entries}\n", fitted(&name, width))
}

/// The entries in columns, without their cell's name and without a final line feed.
pub fn list(entries: &[Entry], width: Option<u16>) -> String {
    const LINE_BELOW_HEADER: TableStyle =
        presets::NOTHING.header_separator(comfy_table::LineStyle::none().fill('─').junction('─'));
    let tracks = entries.iter().any(|entry| entry.title.is_some());
    let mut table = Table::new();
    // No text has a NUL after `printable`, so nothing is broken at words: what is too long is cut where its column ends.
    table.load_style(LINE_BELOW_HEADER).set_content_arrangement(ContentArrangement::Dynamic).set_delimiter('\0');
    if let Some(width) = width {
        table.set_width(width);
    }
    let title = tracks.then_some("title");
    table.set_header(line(["rank"].into_iter().chain(title).chain(["artist", "plays"]).map(str::to_owned)));
    for entry in entries {
        let title = tracks.then(|| printable(entry.title.as_deref().unwrap_or_default()).into_owned());
        let ends = [printable(&entry.artist).into_owned(), grouped(entry.plays)];
        table.add_row(line([entry.rank.to_string()].into_iter().chain(title).chain(ends)));
    }
    for number in [0, table.column_count() - 1] {
        if let Some(column) = table.column_mut(number) {
            column.set_cell_alignment(CellAlignment::Right);
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    table.trim_fmt()
}

fn line(texts: impl Iterator<Item = String>) -> Row {
    let mut row = Row::from(texts.collect::<Vec<_>>());
    row.max_height(1);
    row
}

/// `text`, escaped as [`printable`] does and cut to `width` columns.
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

/// `text` with the characters that a terminal would act upon written as escapes, like `\n` or `\u{1b}`.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(acts_on_terminal) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match acts_on_terminal(character) {
            true => escaped.extend(character.escape_default()),
            false => escaped.push(character),
        }
    }
    Cow::Owned(escaped)
}

/// Control characters, line and paragraph separators, and the marks that turn the direction of the text after them.
fn acts_on_terminal(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// `1234567` as `1,234,567`.
pub fn grouped(number: impl Into<i128>) -> String {
    let number = number.into();
    let digits = number.unsigned_abs().to_string();
    let mut grouped = String::from(if number < 0 { "-" } else { "" });
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}
