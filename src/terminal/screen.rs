//! The live screen of `run` and `demo`: the trending window, and the status of the run.
//!
//! This file only makes text. `monitor/` decides when to show it, and whether there is a terminal
//! to show it on.

use reprise_dataflows::rules::definition::{Scope, TRENDING};
use reprise_dataflows::time::instant_name;

use super::output::table::{fitted, list};
use crate::state::Status;
use crate::state::charts::Charts;
use crate::text::{grouped, printable};

/// The most entries to show, however tall the terminal is.
const ENTRIES_MAX: usize = 15;
/// The lines besides the entries: the name of the list, its header and the line below that, an
/// empty line, and two lines of status.
const OTHER_LINES: usize = 6;

/// The top of the global trending window and the status below, for a terminal of `width` columns
/// and `height` lines. The text has fewer lines than `height`, each with a line feed at its end, so
/// that the cursor stays below them.
pub fn live_screen(charts: &Charts, status: &Status, width: u16, height: u16) -> String {
    let lines_max = usize::from(height).saturating_sub(1);
    let limit = lines_max.saturating_sub(OTHER_LINES).clamp(1, ENTRIES_MAX);
    let cell = charts.cell(TRENDING, &Scope::Global, Some(0), Some(limit));
    let entries = match cell.entries.is_empty() {
        true => " nothing yet".to_owned(),
        false => list(&cell.entries, Some(width)),
    };
    let name = fitted(&format!("trending · global · {}", cell.period), Some(width));
    let [counts, place] = status_lines(status).map(|line| fitted(&line, Some(width)));
    let screen = format!("{name}\n{entries}\n\n{counts}\n{place}");
    let mut screen: String = screen.lines().take(lines_max).collect::<Vec<_>>().join("\n");
    screen.push('\n');
    screen
}

/// The two lines of status below the table: the counts, and the clock, version of the lake and
/// address.
fn status_lines(status: &Status) -> [String; 2] {
    let rejected: u64 = status.dead_letters.values().sum();
    let reasons: Vec<String> =
        status.dead_letters.iter().map(|(reason, count)| format!("{reason} {}", grouped(*count))).collect();
    let reasons = if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join(", ")) };
    let unknown = || "unknown".to_owned();
    let counts = format!(
        "{} plays/s · {} accepted · {} dead letters{reasons} · lag {}",
        grouped(status.plays_per_second.round() as u64),
        grouped(status.accepted),
        grouped(rejected),
        status.lag.map_or_else(unknown, grouped),
    );
    let cluster = match status.processes {
        0 | 1 => String::new(),
        processes => format!(" · {processes} processes, {} bytes exchanged", grouped(status.exchanged_bytes)),
    };
    let place = format!(
        "clock {} · lake version {} · {}{cluster}",
        status.clock_us.map_or_else(unknown, instant_name),
        status.lake_version.map_or_else(|| "none".to_owned(), |version| version.to_string()),
        status.address,
    );
    [counts, place].map(|line| printable(&line).into_owned())
}

/// `screen` with the control sequences that draw it over the previous screen, from the upper left
/// corner and without flicker.
pub fn in_place(screen: &str) -> String {
    const HOME: &str = "\x1b[H";
    const CLEAR_TO_END_OF_LINE: &str = "\x1b[K";
    const CLEAR_BELOW: &str = "\x1b[J";
    let lines: String = screen.lines().flat_map(|line| [line, CLEAR_TO_END_OF_LINE, "\r\n"]).collect();
    format!("{HOME}{lines}{CLEAR_BELOW}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::charts::tests::{charts, filled};

    fn status() -> Status {
        Status {
            address: "http://127.0.0.1:7878".to_owned(),
            clock_us: Some(1_795_185_700_000_000),
            lake_version: Some(41),
            accepted: 1_234_567,
            dead_letters: [("not_json".to_owned(), 1_000), ("too_old".to_owned(), 2)].into(),
            plays_per_second: 98_765.4,
            lag: Some(12),
            ..Status::default()
        }
    }

    #[test]
    fn shows_what_is_trending_and_how_the_run_is_doing() {
        insta::assert_snapshot!(live_screen(&filled(), &status(), 100, 40), @"
        trending · global · 2026-11-20T14:32:00Z/2026-11-20T14:42:00Z
         rank   title      artist   plays
        ──────────────────────────────────
            1   Title S1   Anna         3

        98,765 plays/s · 1,234,567 accepted · 1,002 dead letters (not_json 1,000, too_old 2) · lag 12
        clock 2026-11-20T14:41:40Z · lake version 41 · http://127.0.0.1:7878
        ");
    }

    #[test]
    fn a_cluster_says_how_many_it_is() {
        let status = Status { processes: 3, exchanged_bytes: 1_234_567, ..status() };
        assert!(status_lines(&status)[1].ends_with(":7878 · 3 processes, 1,234,567 bytes exchanged"));
    }

    /// Before anything is known, the screen says so instead of staying empty.
    #[test]
    fn a_run_that_has_just_begun() {
        let status = Status { address: "http://127.0.0.1:7878".to_owned(), ..Status::default() };
        insta::assert_snapshot!(live_screen(&charts(), &status, 100, 40), @"
        trending · global · ../..
         nothing yet

        0 plays/s · 0 accepted · 0 dead letters · lag unknown
        clock unknown · lake version none · http://127.0.0.1:7878
        ");
    }

    #[test]
    fn fits_any_terminal() {
        use unicode_width::UnicodeWidthStr;
        for (width, height) in (0..100).flat_map(|width| [(width, 2), (width, 8), (width, 24)]) {
            let screen = live_screen(&filled(), &status(), width, height);
            assert!(screen.lines().count() < usize::from(height), "{width} {height}\n{screen}");
            assert!(width < 30 || screen.lines().all(|line| line.width() <= usize::from(width)), "{width}\n{screen}");
        }
    }

    #[test]
    fn drawing_in_place_only_moves_the_cursor() {
        assert_eq!(in_place("a\nb\n"), "\x1b[Ha\x1b[K\r\nb\x1b[K\r\n\x1b[J");
    }
}
