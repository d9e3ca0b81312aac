//! What a chart is, and what has to be counted for it.

pub mod charts_toml;
pub mod definition;
pub mod plan;
