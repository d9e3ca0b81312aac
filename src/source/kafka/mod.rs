//! Kafka → plays: an operator over ticks that reads the partitions of its worker.
//!
//! It holds the capability of the newest tick, stamps what it reads with it, and drops it at the
//! next tick. A cut is therefore the same for all workers: it includes what was read before its
//! tick and excludes what is read after it.
//!
//! ```text
//! resume     where each partition resumes, and whether it is the lake's topic
//! discovery  a thread that finds added partitions, and a topic that was deleted or recreated
//! origin     whether the topic is still the same during the run
//! reader     a consumer: every offset is a play, a dead letter, a hole, or missing
//! ```
//!
//! Errors of Kafka that may pass are retried. Permanent errors end the run through [`Shutdown`]:
//! what was read before is committed.

mod discovery;
mod held;
mod operator;
mod origin;
mod partition;
mod reader;
mod resume;
mod retry;
mod share;
mod spread;

pub use discovery::{AddedPartitions, discover};
pub use operator::kafka;
pub use origin::Origin;
pub use resume::{PASSED, Resumption, check_recreated, extents, lost, resume};
pub use retry::retry_for;
pub use share::Share;
