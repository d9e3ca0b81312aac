//! The promises of `reprise`, kept by the real program against a real Kafka broker.
//!
//! Each test has topics and a lake of its own, and compares what the program says with what `support/oracle.rs` works
//! out by brute force, without our crates. `scripts/test` brings the broker; without it the first test that needs one
//! does. It is one crate, because the time to build these tests is the time to link them.

mod accounting;
mod api;
mod asking;
mod care;
mod changelog;
mod chaos;
mod checkpoints;
mod clock;
mod cluster;
mod command_line;
mod crowds;
mod cut;
mod dead_letters;
mod demo;
mod disk;
mod docs;
mod faults;
mod foreign;
mod http;
mod kafka;
mod lake_folders;
mod logging;
mod memory;
mod oddities;
mod readers;
mod restart;
mod same_answer;
mod spread;
mod stops;
mod strangers;
mod support;
mod takeovers;
mod terminal;
mod tour;
mod usage;
mod verify;
