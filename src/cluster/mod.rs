//! A cluster: several processes of this binary that run one dataflow, each with workers of its own.
//!
//! ```text
//! process I ── connect ──► process 0: hello ─ proof ─ fingerprint ─► held until all have joined
//!           ◄─ welcome ──             the session: a random number of this start of the cluster
//!           ── connect ──► processes 1 … I − 1: hello ─ proof ─ session
//!           ── connected ►            when it is connected with all other processes
//!           ◄─ all connected ─        when all processes are
//!           ◄─ start ────             once process 0 has taken over the lake: where to resume
//! ```
//!
//! Then timely gets the links ([`link`]), and runs as it does in one process. When one
//! process of a timely cluster is lost, the others cannot continue. So this module detects a lost
//! process soon, starts all of them again together (`supervise/`; or systemd or Kubernetes does),
//! and refuses peers that do not belong to the cluster.
//!
//! **Invariants**
//! 1. Timely, which trusts every byte, gets bytes only after both ends have proved that they know the
//!    secret ([`handshake`]).
//! 2. Two processes are linked only in the same session. A process that was started again cannot
//!    join a running cluster, so processes of two starts never mix.
//! 3. The lake is taken over once all processes have joined and agree, never before: a start that
//!    fails does not disturb the current writer.
//! 4. A process that receives nothing from a peer for the stall timeout ends. Each process detects
//!    this itself, without a message.

mod acceptor;
mod bounded;
pub mod fingerprint;
mod handshake;
pub mod join;
pub mod link;
pub mod membership;
pub mod orders;
mod secret;
pub mod supervise;
pub mod team;
pub mod view;

pub use fingerprint::Fingerprint;
pub use join::join;
pub use membership::Membership;
pub use secret::Secret;
pub use team::Team;
