//! Records → plays: the formats of events.

pub mod json;
