//! The operators that run all logic, and the exchange of updates between workers.
//!
//! Code outside this folder holds no capability of timely. It implements one of these instead:
//!
//! | the logic | implements | runs in |
//! |---|---|---|
//! | keeps state | [`EpochFold`] | [`by_epoch`] |
//! | reads from outside | [`TickedSource`] | [`by_tick`] |
//! | hands work to another thread | [`Correspondent`] | [`answered_later`] |
//! | only observes | a function | [`pass_on`] |

mod answered_later;
mod by_epoch;
mod by_tick;
pub mod exchange;
mod outputs;
mod pass_on;
mod stash;

pub use answered_later::{Correspondent, answered_later};
pub use by_epoch::{Closing, EpochFold, by_epoch};
pub use by_tick::{TickedSource, Turn, by_tick};
pub use outputs::Outputs;
pub use pass_on::pass_on;
