//! Counts plays: each worker counts the plays that it has read, and sends only the counts to
//! others.

pub mod by_user;
mod combinations;
mod grouped;
mod packed;
pub(crate) mod pane;
pub mod summarise;
mod tally;
mod varint;
