//! Tests of the lake as a whole: whatever happens between a writer and the log, each play is in the
//! lake once, and the log names every file.

mod account;
mod commits;
mod crashes;
mod many;
mod reading;
mod spread;
pub mod support;
mod takeovers;
