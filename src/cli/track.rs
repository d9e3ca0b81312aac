//! `reprise track`: the plays of a track in a running instance, by chart, period and scope.

use anyhow::Result;
use clap::builder::NonEmptyStringValueParser;
use serde::Deserialize;

use super::chart::chart_name;
use super::instance::{Format, Instance};
use crate::state::charts::Available;
use crate::terminal::output::table::{columns, fitted, no_plays};
use crate::text::grouped;

/// The options of `reprise track`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  reprise search bell                              shows ids: S000033 of `reprise demo`, 33 of `reprise generate`
  reprise track S000033
  reprise track 33 --chart weekly --scope global
  reprise track 33 --format json")]
pub struct Options {
    /// The id of the track, as `reprise search` and the charts show it.
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    id: String,
    /// Show only plays in this chart.
    #[arg(long, value_name = "NAME", value_parser = chart_name)]
    chart: Option<String>,
    /// Show only plays in this period, such as 2026-W47, of the chart given with --chart.
    #[arg(long, value_name = "P", requires = "chart")]
    period: Option<String>,
    /// Show only plays in this scope: global, a country such as US, or device:mobile.
    #[arg(long, value_name = "S")]
    scope: Option<String>,
    #[command(flatten)]
    instance: Instance,
    /// The output format.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

#[derive(Deserialize)]
struct Track {
    track_id: String,
    title: Option<String>,
    artist: Option<String>,
    plays: Vec<Plays>,
    /// The charts, periods or scopes in which the track has plays, if it has none for the given
    /// filters.
    #[serde(default)]
    available: Option<Available>,
}

#[derive(Deserialize)]
struct Plays {
    chart: String,
    period: String,
    scope: String,
    plays: i64,
}

/// Asks the instance, and prints its answer.
///
/// # Errors
/// If the instance does not answer, or refuses.
pub fn run(options: &Options) -> Result<()> {
    let Options { chart, period, scope, .. } = options;
    let filters = [("chart", chart.as_deref()), ("scope", scope.as_deref()), ("period", period.as_deref())];
    // The id is a parameter, because in the path the ids `.` and `..` would mean folders.
    let parameters = [&[("id", Some(options.id.as_str()))], &filters[..]].concat();
    options.instance.print(&["v1", "tracks"], &parameters, options.format, describe)
}

fn describe(track: Track, width: Option<u16>) -> String {
    let unknown = || "–".to_owned();
    let (title, artist) = (track.title.unwrap_or_else(unknown), track.artist.unwrap_or_else(unknown));
    let name = fitted(&format!("{} · {title} · {artist}", track.track_id), width);
    if track.plays.is_empty() {
        return format!("{name}\n{}", fitted(&no_plays(track.available.as_ref()), width));
    }
    let rows = track.plays.into_iter().map(|it| vec![it.chart, it.period, it.scope, grouped(it.plays)]);
    format!("{name}\n{}", columns(&["chart", "period", "scope", "#plays"], rows, width))
}
