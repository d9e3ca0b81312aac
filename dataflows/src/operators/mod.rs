//! The operators that run all logic, and the exchange of updates between workers.
//!
//! Code outside this folder holds no capability of timely. It implements one of these instead:
//!
//! | the logic | implements | runs in |
//! |---|---|---|
//! | keeps state | [`EpochFold`] | [`by_epoch`] |
//! | reads from outside | [`TickedSource`] | [`by_tick`] |
//! | hands work to another thread | [`OffThread`] | [`off_thread`] |
//! | only observes | a function | [`observe`] |

mod by_epoch;
mod by_tick;
pub mod exchange;
mod observe;
mod off_thread;
mod outputs;
mod stash;

pub use by_epoch::{Closing, EpochFold, by_epoch};
pub use by_tick::{TickedSource, Turn, by_tick};
pub use observe::observe;
pub use off_thread::{OffThread, off_thread};
pub use outputs::Outputs;
