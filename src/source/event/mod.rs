//! Records → plays: one file, or one folder, for each format of events.
//!
//! ```text
//!  bytes ─► EventFormat (one of the files here) ─► Play, or a reason ─► Columns ─► PlayBatch
//! ```
//!
//! A format knows how its bytes are read. `fields.rs` has the fields of a play, from which the lists of the other files are made. The rules of a play (`intake`), the columns and the batches are the same for all.

mod columns;
#[cfg(test)]
mod csv_tests;
mod decoder;
pub mod fields;
pub mod format;
pub mod json;
pub mod timestamp;
pub mod verdict;

pub use decoder::Decoder;
pub use format::{Record, Unread};
