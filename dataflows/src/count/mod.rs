//! Plays → weighted updates: each worker counts the plays that it has read before anything travels.

mod combinations;
mod grouped;
mod packed;
pub(crate) mod pane;
pub mod summarise;
mod tally;
