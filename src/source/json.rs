//! JSON events into columns.
