//! The lake as a whole: whatever happens between a writer and the log, each play is in the lake once, and no file lies
//! about that the log does not name.

mod account;
mod commits;
mod crashes;
mod many;
mod reading;
mod spread;
pub mod support;
mod takeovers;
