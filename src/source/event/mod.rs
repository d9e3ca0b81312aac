//! Records → plays: one file, or one folder, for each format of events.
//!
//! ```text
//!  bytes ─► EventFormat (one of the files here) ─► Play, or a reason ─► Columns ─► PlayBatch
//! ```
//!
//! A format only reads its bytes. `fields.rs` has the table of fields, from which the lists in the
//! other files are generated. The rules of a play (`intake`), the columns and the batches are the
//! same for all formats.

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
