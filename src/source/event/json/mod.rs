//! JSON events into columns: one Kafka record is a play, or there is a reason why it is none.
//!
//! ```text
//!  bytes ─► guards (size, UTF-8) ─► fast path ───────────────────────────────────────────────────────► Play ─► Columns ─► PlayBatch
//!                                    └─► depth ─► serde_json ─► RecordFields (whatever the JSON has) ─► rules ─┘
//! ```
//!
//! The general path reads the JSON leniently into the values of the known fields, and applies the
//! rules to these values, so a reason never comes from a second reading that might disagree with the
//! first. [`fast_path`] reads the usual play several times as fast. It rejects no record: it reads a
//! play exactly as the general path would, or leaves the record to that path.
//!
//! The verdict is a function of the record alone, not of the clock or of other records. If a record
//! breaks several rules, the reason is the first of: empty, too large, not UTF-8, too deep, not
//! JSON; then the fault of the first bad field, in the order of [`crate::intake::schema`]. If a key
//! occurs twice, its last value counts, as for most readers of JSON. JSON means what serde_json
//! reads; its only limit beyond the grammar is that a number of a known field must fit a 64-bit
//! float (`1e400` does not).

mod explain;
mod fast_path;
mod fields;
mod format;
#[cfg(test)]
pub mod properties;
#[cfg(test)]
mod tests;

pub use format::Json;
