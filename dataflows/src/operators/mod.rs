//! What touches timely: the shells that semantics run in, and how updates travel.
//!
//! Nothing outside of this folder holds a capability. A semantic is an [`EpochFold`], which [`by_epoch`] makes an operator of; a
//! source is a [`TickedSource`] in [`by_tick`]; what another thread works on is handed over by a [`Correspondent`] in
//! [`answered_later`]; and what only looks is a function in [`pass_on`].

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
