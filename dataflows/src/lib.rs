//! The charts of reprise as a timely and differential dataflow: no files, no network, no clock.

pub mod calendar;
pub mod catalogue;
mod charts_toml;
pub mod definition;
pub mod label;
pub mod play;
