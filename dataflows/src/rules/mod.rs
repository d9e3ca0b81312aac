//! The definitions of charts, and the plan of the counts that they need.

pub mod charts_toml;
pub mod definition;
pub mod plan;
