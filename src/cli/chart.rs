//! `reprise trending` and `reprise chart`: the charts of a running instance.

use std::io::{self, BufWriter, Write};
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use url::Url;

use super::client::{Client, Failure};
use super::instance::Instance;
use crate::state::charts::ChartCell;
use crate::terminal::output::{self, Format, table};
use crate::terminal::screen;
use crate::text::log;

/// How often `--watch` asks.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// The options of `reprise trending`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  reprise trending
  reprise trending --scope DE --limit 10 --watch
  reprise trending --scope '*' --format csv")]
pub struct TrendingOptions {
    #[command(flatten)]
    query: QueryOptions,
}

/// The options of `reprise chart`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  reprise chart weekly
  reprise chart weekly --scope US --period 2026-W47 --limit 10
  reprise chart monthly --scope '*' --period '*' --format json")]
pub struct ChartOptions {
    /// The name of the chart, such as `weekly`.
    #[arg(value_parser = chart_name)]
    name: String,
    /// The period, such as `2026-W47`, or `*` for all [default: the newest that has entries].
    #[arg(long)]
    period: Option<String>,
    #[command(flatten)]
    query: QueryOptions,
}

/// The options of both commands.
#[derive(clap::Args)]
struct QueryOptions {
    #[command(flatten)]
    instance: Instance,
    /// The scope: `global`, a country such as `US`, or a device such as `device:mobile`; `*` for
    /// all.
    #[arg(long, default_value = "global")]
    scope: String,
    /// The number of entries to show, from the top [default: all].
    #[arg(long, value_parser = limit)]
    limit: Option<NonZeroUsize>,
    /// Ask again every second, until Ctrl-C.
    #[arg(long)]
    watch: bool,
    /// The output format.
    #[arg(long, default_value = "table", value_parser = text_format())]
    format: Format,
}

/// Runs `reprise trending`.
///
/// # Errors
/// If the instance does not answer or refuses, or standard output cannot be written.
pub fn trending(options: TrendingOptions) -> Result<()> {
    let url = address(&options.query, &["v1", "trending"], None)?;
    options.query.show(&url)
}

/// Runs `reprise chart`.
///
/// # Errors
/// If the instance does not answer or refuses, or standard output cannot be written.
pub fn chart(options: ChartOptions) -> Result<()> {
    let url = address(&options.query, &["v1", "charts", &options.name], options.period.as_deref())?;
    options.query.show(&url)
}

/// Parses the name of a chart. The name becomes part of the URL's path, so only characters of chart
/// names are accepted: another path of the server cannot be reached by it.
///
/// # Errors
/// If no chart can have that name.
pub fn chart_name(text: &str) -> Result<String, &'static str> {
    let possible = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_name = !text.is_empty() && text.bytes().all(possible);
    is_name.then(|| text.to_owned()).ok_or("names of charts are lower-case letters, digits and hyphens")
}

/// Parses `--limit`.
///
/// # Errors
/// If it is not a positive number.
pub fn limit(text: &str) -> Result<NonZeroUsize, &'static str> {
    text.parse().map_err(|_| "it must be a whole number from 1")
}

/// The formats without Parquet, which needs a file: these commands write to standard output.
fn text_format() -> impl TypedValueParser<Value = Format> {
    PossibleValuesParser::new(["table", "json", "csv"]).try_map(|name| Format::from_str(&name, false))
}

fn address(query: &QueryOptions, path: &[&str], period: Option<&str>) -> Result<Url> {
    let limit = query.limit.map(|limit| limit.to_string());
    let parameters = [("scope", Some(query.scope.as_str())), ("period", period), ("limit", limit.as_deref())];
    query.instance.url(path, &parameters)
}

impl QueryOptions {
    fn show(&self, url: &Url) -> Result<()> {
        let client = self.instance.client()?;
        if self.watch {
            return self.watch(&client, url);
        }
        let cells = client.cells(url).map_err(Failure::into_error)?;
        output::write(self.format, &cells, None)
    }

    /// Asks until Ctrl-C. An instance that does not answer may be restarting: its last answer stays
    /// on the screen until it is back. A request that it refuses would be refused again, so that
    /// ends the watch.
    fn watch(&self, client: &Client, url: &Url) -> Result<()> {
        let mut cells = Vec::new();
        let mut was_away = false;
        let mut first = true;
        loop {
            let asked = Instant::now();
            let away = match client.cells(url) {
                Ok(now) => {
                    cells = now;
                    None
                }
                Err(Failure::Unavailable(error)) => Some(error),
                Err(refused) => return Err(refused.into_error()),
            };
            let shown = match output::screen_size().filter(|_| self.format == Format::Table) {
                Some((width, height)) => redraw(&cells, away.as_ref(), (width, height), first),
                None => self.append(&cells, away.as_ref().filter(|_| !was_away), away.is_none()),
            };
            if let Err(error) = shown {
                return output::unless_closed(Err(error)).context("standard output cannot be written");
            }
            (was_away, first) = (away.is_some(), false);
            std::thread::sleep(WATCH_INTERVAL.saturating_sub(asked.elapsed()));
        }
    }

    /// For a file or a pipe: appends the cells, followed by an empty line. Prints to standard error
    /// that the server does not answer.
    fn append(&self, cells: &[ChartCell], gone: Option<&anyhow::Error>, answered: bool) -> io::Result<()> {
        if let Some(error) = gone {
            log::note(&format!("retrying every second: {error:#}"));
        }
        if !answered {
            return Ok(());
        }
        let mut out = BufWriter::new(io::stdout().lock());
        output::write_text(self.format, cells, output::screen_width(), &mut out)?;
        out.write_all(b"\n")?;
        out.flush()
    }
}

/// Redraws the cells in place, cut to the terminal, with a line below them if the server does not
/// answer.
fn redraw(
    cells: &[ChartCell],
    away: Option<&anyhow::Error>,
    (width, height): (u16, u16),
    first: bool,
) -> io::Result<()> {
    const CLEAR: &str = "\x1b[2J";
    let tables = table::tables(cells, Some(width));
    let note = away.map(|error| table::fitted(&format!("retrying every second: {error:#}"), Some(width)));
    let lines_max = usize::from(height).saturating_sub(1 + usize::from(note.is_some()));
    let lines: Vec<&str> = tables.lines().take(lines_max).chain(note.as_deref()).collect();
    let mut out = io::stdout().lock();
    write!(
        out,
        "{}{}",
        if first { CLEAR } else { "" },
        screen::in_place(&output::emphasised(lines.join("\n"), &io::stdout()))
    )?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use clap::{Args, Command, FromArgMatches};

    use super::*;

    fn asked(arguments: &[&str]) -> Result<String, String> {
        let command = ChartOptions::augment_args(Command::new("chart").no_binary_name(true));
        let matches = command.try_get_matches_from(arguments).map_err(|error| error.to_string())?;
        let options = ChartOptions::from_arg_matches(&matches).map_err(|error| error.to_string())?;
        let url = address(&options.query, &["v1", "charts", &options.name], options.period.as_deref());
        url.map(String::from).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn options_become_a_url() {
        let url = |arguments: &[&str]| asked(arguments).unwrap();
        assert_eq!(url(&["weekly"]), "http://127.0.0.1:7878/v1/charts/weekly?scope=global");
        let all = ["weekly", "--url", "host:80", "--scope", "*", "--period", "2026-W47", "--limit", "3"];
        assert_eq!(url(&all), "http://host/v1/charts/weekly?scope=*&period=2026-W47&limit=3");
        let below = ["weekly", "--url", "http://host/charts/?x=1", "--scope", "a&b=c"];
        assert_eq!(url(&below), "http://host/charts/v1/charts/weekly?scope=a%26b%3Dc");
    }

    #[test]
    fn wrong_options_are_refused() {
        let refused = |arguments: &[&str], says: &str| {
            let error = asked(arguments).unwrap_err();
            assert!(error.contains(says), "{arguments:?}: {error}");
        };
        refused(&["weekly", "--url", "https://host"], "plain http://");
        refused(&["weekly", "--url", "http://"], "is not a URL");
        for limit in ["0", "-1", "1.5", "ten"] {
            refused(&["weekly", &format!("--limit={limit}")], "it must be a whole number from 1");
        }
        refused(&["weekly", "--format", "parquet"], "[possible values: table, json, csv]");
        for name in ["..", "", "Weekly", "a/b", "%2e"] {
            refused(&[name], "lower-case letters");
        }
    }
}
