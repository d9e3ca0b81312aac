//! Queries to the workers: a track in all cells and a search (`track.rs`), an artist (`artist.rs`),
//! plays by country (`geo.rs`), and trending windows of the past (`past_window.rs`). `cells.rs`
//! needs no worker: it resolves the parameters of a request to cells of the charts.
//!
//! The charts that are served hold only the top of each cell. The workers hold all counts, each
//! worker those of the tracks that it owns. So a query goes to all workers, and this module merges
//! what they find.

pub mod artist;
pub mod cells;
mod common;
pub mod geo;
pub mod past_window;
pub mod track;
