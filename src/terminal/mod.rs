//! Output for people: chart cells as tables and files, and the progress of a run.

pub mod monitor;
pub mod output;
pub mod screen;
