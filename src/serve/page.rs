//! The web page: the files of `web/`, built into the program, so that a browser needs nothing but
//! this server.

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::problem::Problem;

/// A file of the page: its name below `/web/`, its media type, its bytes.
type File = (&'static str, &'static str, &'static [u8]);

macro_rules! file {
    ($name:literal, $kind:expr) => {
        ($name, $kind, include_bytes!(concat!("../../web/", $name)))
    };
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

const FILES: &[File] = &[
    file!("alerts.js", SCRIPT),
    file!("api.js", SCRIPT),
    file!("app.js", SCRIPT),
    file!("artist.js", SCRIPT),
    file!("base.css", CSS),
    file!("catalogue.js", SCRIPT),
    file!("charts.js", SCRIPT),
    file!("csv.js", SCRIPT),
    file!("dead-letters.js", SCRIPT),
    file!("dom.js", SCRIPT),
    file!("icon.svg", "image/svg+xml"),
    file!("index.html", HTML),
    file!("list.js", SCRIPT),
    file!("live.js", SCRIPT),
    file!("map.js", SCRIPT),
    file!("nothing.js", SCRIPT),
    file!("pickers.js", SCRIPT),
    file!("rewind.js", SCRIPT),
    file!("saves.js", SCRIPT),
    file!("scroll.js", SCRIPT),
    file!("search.js", SCRIPT),
    file!("server.js", SCRIPT),
    file!("standing.js", SCRIPT),
    file!("status.js", SCRIPT),
    file!("theme.js", SCRIPT),
    file!("token.js", SCRIPT),
    file!("track.js", SCRIPT),
    file!("travel.js", SCRIPT),
    file!("trending.js", SCRIPT),
    file!("views.css", CSS),
    file!("words.js", SCRIPT),
    file!("world.js", SCRIPT),
    file!("world.json", "application/json"),
];

/// Answers with `index.html`.
pub async fn index() -> Response {
    answer("index.html").into_response()
}

/// Answers with the file `name` of the page. The name is looked up in the list of files and never
/// used as a path, so no request leads out of the list.
///
/// # Errors
/// Not found, if the page has no such file.
pub async fn file(name: Result<Path<String>, PathRejection>) -> Result<Response, Problem> {
    let Path(name) = name.map_err(|_| nothing())?;
    answer(&name)
}

fn answer(name: &str) -> Result<Response, Problem> {
    let (_, kind, bytes) = FILES.iter().find(|(other, _, _)| *other == name).ok_or_else(nothing)?;
    Ok(([(header::CONTENT_TYPE, *kind)], *bytes).into_response())
}

fn nothing() -> Problem {
    Problem::not_found("the page has no such part")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every file in `web/` is served, and nothing else.
    #[test]
    fn every_part_of_the_page_is_there() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/web");
        let names = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        let mut served: Vec<&str> = FILES.iter().map(|(name, _, _)| *name).collect();
        served.sort_unstable();
        assert_eq!(served, names);
    }

    #[test]
    fn no_name_leads_elsewhere() {
        for name in ["", ".", "..", "../Cargo.toml", "app.js/", "/app.js", "APP.JS", "app.js\0"] {
            assert!(answer(name).is_err(), "{name}");
        }
    }
}
