//! How texts and instants are written for people and programs: JSON, escapes, the log.

mod escape;
mod grouped;
pub mod instant;
pub mod json;
pub mod log;

pub use escape::{acts_on_terminal, escape, printable};
pub use grouped::grouped;
