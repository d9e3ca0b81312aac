//! Realistic traffic.
