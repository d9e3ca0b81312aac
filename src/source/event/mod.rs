//! Records → plays: one file, or one folder, for each format of events.
//!
//! ```text
//!  bytes ─► EventFormat (one of the files here) ─► Play, or a reason ─► Columns ─► PlayBatch
//! ```
//!
//! A format knows how its bytes are read. The rules of a play (`intake`), the columns and the batches are the same for all.

mod columns;
#[cfg(test)]
mod csv_tests;
mod decoder;
mod format;
pub mod json;
pub mod timestamp;
mod verdict;

pub use decoder::Decoder;
pub use format::Record;
