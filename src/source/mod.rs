//! Where plays come from.

pub mod json;
