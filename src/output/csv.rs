//! Entries as CSV (RFC 4180, with plain line feeds): what a spreadsheet or a data frame reads.

use std::borrow::Cow;
use std::io::{self, Write};

use reprise_dataflows::calendar::instant_name;

use crate::charts::ChartCell;

/// One row per entry below a header. What a row has not (the end of all time, the title of an artist) is empty.
pub fn write(cells: &[ChartCell], out: &mut dyn Write) -> io::Result<()> {
    out.write_all(b"chart,period,start,end,scope,rank,track_id,title,artist,plays\n")?;
    for cell in cells {
        let (start, end) = (cell.start_us.map(instant_name), cell.end_us.map(instant_name));
        let (start, end) = (start.unwrap_or_default(), end.unwrap_or_default());
        let (chart, period, scope) = (quoted(&cell.chart), quoted(&cell.period), quoted(&cell.scope));
        for entry in &cell.entries {
            let track_id = quoted(entry.track_id.as_deref().unwrap_or_default());
            let title = quoted(entry.title.as_deref().unwrap_or_default());
            let (rank, artist, plays) = (entry.rank, quoted(&entry.artist), entry.plays);
            writeln!(out, "{chart},{period},{start},{end},{scope},{rank},{track_id},{title},{artist},{plays}")?;
        }
    }
    Ok(())
}

/// `field`, in quotes if it has a character that would end it early.
fn quoted(field: &str) -> Cow<'_, str> {
    if field.contains([',', '"', '\n', '\r']) {
        Cow::Owned(format!("\"{}\"", field.replace('"', "\"\"")))
    } else {
        Cow::Borrowed(field)
    }
}
