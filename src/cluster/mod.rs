//! A cluster: several processes of this binary that run one dataflow, each with workers of its own.
//!
//! ```text
//! process I ── connect ──► process 0: hello ─ proof ─ what it runs ─► held, until all have come
//!           ◄─ welcome ──             the session, a number that this start of the cluster alone has
//!           ── connect ──► processes 1 … I − 1: hello ─ proof ─ session
//!           ── linked ───►            when it is connected with everybody
//!           ◄─ together ─             when all are
//!           ◄─ start ────             once process 0 has taken over the lake: where to go on
//! ```
//!
//! Then timely gets the links ([`link`]), and runs as it does in one process. Its rule is that a process that dies ends them
//! all, so what is left to do is to notice that soon, to start again together (`supervise/`, systemd, Kubernetes), and to
//! let nobody in who does not belong here.
//!
//! **Invariants**
//! 1. Nothing that a stranger sends is handed to timely, which trusts every byte: both ends have proved that they know the
//!    secret before ([`handshake`]).
//! 2. Two processes are linked only in the same session. A process that was started again finds no place in a cluster that
//!    runs, so old and new never mix.
//! 3. The lake is taken over when all have come and agree, never before: a start that fails leaves the writer alone.
//! 4. Who hears nothing from a peer for the stall timeout ends. Each process ends by itself; none has to be told.

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
