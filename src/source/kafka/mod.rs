//! Kafka → plays: an operator over ticks that reads the partitions that its worker owns.
//!
//! It holds the capability of the newest tick, stamps with it what it reads, and gives it back at the next tick. So a cut
//! is the same for all workers: what was read before its tick is in, and what is read after it is out.
//!
//! ```text
//!  resume     where each partition goes on, and whether it is the topic that the lake knows
//!  discovery  a thread that hears of partitions that are added, and of a topic that is deleted or made anew
//!  origin     whether it is still the same topic
//!  reader     a consumer: every offset is a play, a dead letter, a hole, or missing
//! ```
//!
//! What goes wrong with Kafka and may pass is waited for; what will not pass ends the run by [`Shutdown`]: what was read
//! before it is committed.

mod discovery;
mod held;
mod operator;
mod origin;
mod partition;
mod patience;
mod reader;
mod resume;
mod share;
mod spread;

pub use discovery::{AddedPartitions, discover};
pub use operator::kafka;
pub use origin::Origin;
pub use patience::patiently;
pub use resume::{PASSED, Resumption, check_remade, extents, lost, resume};
pub use share::Share;
