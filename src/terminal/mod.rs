//! What people see: chart cells as tables and files, and a run while it goes on.

pub mod monitor;
pub mod output;
pub mod screen;
