//! Answers that the workers are asked for: a track anywhere, a search. `geo.rs` asks for the map, and
//! `past_window.rs` asks for windows of the past.
//!
//! The charts that are served know only what is in a top. The workers know all, each of the tracks that it owns, so
//! they are asked together, and what they say is put together here.

pub mod artist;
mod ask;
pub mod cells;
pub mod geo;
pub mod past_window;
pub mod track;
