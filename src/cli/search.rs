//! `reprise search`: searches the tracks and artists of a running instance by a part of their
//! names.

use anyhow::Result;
use serde::Deserialize;

use super::chart::limit;
use super::instance::{Format, Instance};
use crate::terminal::output::table::{columns, fitted, heading};
use crate::text::grouped;

/// The options of `reprise search`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  reprise search bell
  reprise search \"the late\" --limit 5
  reprise search bell --format json | jq -r '.tracks[].track_id'")]
pub struct Options {
    /// A part of a title or of an artist's name.
    #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
    text: String,
    /// The most tracks, and the most artists, to show [default: 20].
    #[arg(long, value_name = "N", value_parser = limit)]
    limit: Option<std::num::NonZeroUsize>,
    #[command(flatten)]
    instance: Instance,
    /// The output format.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

#[derive(Deserialize)]
struct Search {
    query: String,
    chart: String,
    period: String,
    tracks: Vec<Track>,
    artists: Vec<Artist>,
}

#[derive(Deserialize)]
struct Track {
    track_id: String,
    title: String,
    artist: String,
    plays: i64,
}

#[derive(Deserialize)]
struct Artist {
    artist: String,
    plays: i64,
    tracks: u64,
}

/// Asks the instance, and prints its answer.
///
/// # Errors
/// If the instance does not answer, or refuses.
pub fn run(options: &Options) -> Result<()> {
    let limit = options.limit.map(|limit| limit.to_string());
    let parameters = [("q", Some(options.text.as_str())), ("limit", limit.as_deref())];
    options.instance.print(&["v1", "search"], &parameters, options.format, describe)
}

fn describe(found: Search, width: Option<u16>) -> String {
    if found.tracks.is_empty() && found.artists.is_empty() {
        return fitted(&format!("nothing has {:?} in its name", found.query), width);
    }
    let name = fitted(&format!("plays of {}", heading([&found.chart, &found.period])), width);
    let tracks = found.tracks.into_iter().map(|it| vec![it.track_id, it.title, it.artist, grouped(it.plays)]);
    let artists = found.artists.into_iter().map(|it| vec![it.artist, grouped(it.tracks), grouped(it.plays)]);
    let tables = [
        columns_of_some(&["track", "title", "artist", "#plays"], tracks, width),
        columns_of_some(&["artist", "#tracks", "#plays"], artists, width),
    ];
    format!("{name}\n{}", tables.into_iter().flatten().collect::<Vec<_>>().join("\n\n"))
}

/// The table of `rows`, if there are any.
fn columns_of_some(
    header: &[&str],
    rows: impl ExactSizeIterator<Item = Vec<String>>,
    width: Option<u16>,
) -> Option<String> {
    (rows.len() > 0).then(|| columns(header, rows, width))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tables_with_rows_are_shown() {
        let shown = |tracks: &str, artists: &str| {
            let answer = format!(
                r#"{{"query":"bell","chart":"trending","period":"../..","tracks":[{tracks}],"artists":[{artists}]}}"#
            );
            describe(serde_json::from_str(&answer).unwrap(), None)
        };
        let track = r#"{"track_id":"33","title":"Bell","artist":"Moon","plays":43}"#;
        let artist = r#"{"artist":"Bell Hops","plays":7,"tracks":2}"#;
        insta::assert_snapshot!(shown(track, ""), @r"
        plays of trending
         track   title   artist   plays
        ────────────────────────────────
         33      Bell    Moon        43
        ");
        insta::assert_snapshot!(shown("", artist), @r"
        plays of trending
         artist      tracks   plays
        ────────────────────────────
         Bell Hops        2       7
        ");
        assert_eq!(shown(track, artist).matches("artist").count(), 2);
        assert!(shown("", "").starts_with("nothing has"));
    }
}
