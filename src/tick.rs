//! Worker 0's decisions: epochs, clock, cuts.
