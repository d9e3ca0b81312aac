//! JSON events into columns: one Kafka record is a play, or there is a reason why it is none.
//!
//! ```text
//!  bytes ─► guards (size, UTF-8) ─► quick ───────────────────────────────────────────────────────────► Play ─► Columns ─► PlayBatch
//!                                    └─► depth ─► serde_json ─► RecordFields (whatever the JSON has) ─► rules ─┘
//! ```
//!
//! The JSON is read leniently into the values of the known fields, and the rules are applied to those: a reason never comes
//! from a second reading that might disagree with the first. [`fast_path`] only spares the usual play this way, being several times
//! as fast; it refuses none, and what it reads is what the other way would have read.
//!
//! The verdict is a function of the record alone: neither the clock nor other records have a say. Where a record breaks
//! several rules the reason is the first of: empty, too large, not UTF-8, too deep, not JSON; then what is wrong with
//! the first bad field, in the order of [`crate::intake::schema`](crate::intake::schema). A key that occurs twice
//! counts with its last value, as it does for most readers of JSON. JSON here is what serde_json reads; its one limit
//! beyond the grammar is that the number of a known field must not be beyond 64-bit floating point (`1e400`).

mod explain;
mod fast_path;
mod fields;
mod format;
#[cfg(test)]
pub mod properties;
#[cfg(test)]
mod tests;

pub use format::Json;
