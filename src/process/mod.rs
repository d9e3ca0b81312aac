//! The process: how it ends, what it may hold, its threads and its clock.

pub mod failpoint;
pub mod host;
pub mod memory;
pub mod shutdown;
pub mod threads;
pub mod wall;
