//! The process: shutdown, memory limit, threads, clock, host name and failpoints.

pub mod failpoint;
pub mod host;
pub mod memory;
pub mod shutdown;
pub mod threads;
pub mod wall;
