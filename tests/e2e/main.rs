//! End-to-end tests: the real program against a real Kafka broker.
//!
//! Each test has its own topics and lake, and compares the program's output with
//! `support/oracle.rs`, a brute-force implementation that uses none of our crates. `scripts/test`
//! starts the broker; without it, the first test that needs one does. All tests are one crate,
//! because most of their build time is linking.

mod accounting;
mod api;
mod changelog;
mod chaos;
mod checkpoints;
mod client_commands;
mod clock;
mod cluster;
mod cluster_join;
mod command_line;
mod dead_letters;
mod demo;
mod disk;
mod docs;
mod edge_cases;
mod faults;
mod foreign_lakes;
mod http;
mod kafka;
mod lake_folders;
mod logging;
mod maintenance;
mod many_clients;
mod memory;
mod network_cut;
mod readers;
mod restart;
mod same_answer;
mod shutdown;
mod spread;
mod support;
mod takeovers;
mod terminal;
mod tour;
mod usage;
mod verify;
