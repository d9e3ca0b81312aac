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
//! What goes wrong with Kafka and may pass is waited for; what will not pass ends the run by [`Ending`]: what was read
//! before it is committed.

mod discovery;
mod origin;
mod partition;
mod reader;
mod resume;
mod spread;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use reprise_dataflows::definition::Trending;
use reprise_dataflows::{Epoch, Stage, Tick};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use super::{Intake, Report, Source};
use crate::broker::Broker;
use crate::ending::Ending;

pub use discovery::{Found, discover};
pub use origin::{Origin, patiently};
use reader::Reader;
pub use resume::{PASSED, Resumption, check_remade, extents, lost, resume};

/// Records wake the operator. For what else there may be (errors, partitions that were added) it looks by itself.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// What one worker reads, and how much of it may be on the way to the lake.
#[derive(Clone)]
pub struct Share {
    pub worker: usize,
    pub workers: usize,
    /// All partitions, with the offset at which to begin.
    pub starts: Vec<(i32, i64)>,
    /// Those that were added later.
    pub found: Arc<Found>,
    /// Reading waits for the next cut when so many bytes have been read since the last one.
    pub uncommitted_bytes_max: u64,
    /// Go on behind offsets that Kafka no longer has.
    pub accept_gap: bool,
    /// Which window plays may be too old for.
    pub trending: Trending,
}

impl Share {
    fn owns(&self, partition: i32) -> bool {
        partition as usize % self.workers == self.worker
    }
}

/// Reads a worker's `share` of `broker`'s topic, in the epochs that `ticks` begin. What makes that impossible goes to
/// `ending`.
pub fn kafka<'scope>(
    ticks: StreamVec<'scope, Epoch, Tick>,
    broker: &Broker,
    share: Share,
    ending: Ending,
) -> Result<Source<'scope>> {
    let scope = ticks.scope();
    let mut builder = OperatorBuilder::new("Kafka".to_owned(), scope);
    let address = builder.operator_info().address;
    let waker = scope.worker().sync_activator_for(address.to_vec());
    let wake = move || {
        // Fails for a worker that is gone, which needs no waking.
        let _ = waker.activate();
    };
    let mut reader = Reader::new(broker, share, wake)?;
    let activator = scope.activator_for(address);
    let mut input = builder.new_input(ticks, Pipeline);
    let (intakes_output, intakes) = builder.new_output::<Vec<Arc<Intake>>>();
    let (reports_output, reports) = builder.new_output::<Vec<Report>>();
    builder.build(move |_capabilities| {
        let mut intakes_output = OutputBuilder::<_, CapacityContainerBuilder<_>>::from(intakes_output);
        let mut reports_output = OutputBuilder::<_, CapacityContainerBuilder<_>>::from(reports_output);
        let mut open: Option<(Tick, Capability<Epoch>, Capability<Epoch>)> = None;
        let mut looks_at = Instant::now();
        move |frontiers| {
            let mut ticked = Vec::new();
            input.for_each_stamp(|capability, data| {
                if let (Some(intake), Some(report)) = (capability.retain_least(0), capability.retain_least(1)) {
                    ticked.extend(
                        data.flat_map(|data| data.drain(..)).map(|tick| (tick, intake.clone(), report.clone())),
                    );
                }
            });
            ticked.sort_by_key(|(tick, ..)| tick.epoch);
            let (mut intakes, mut reports) = (intakes_output.activate(), reports_output.activate());
            for next in ticked {
                if let Some((tick, intake, report)) = open.take() {
                    intakes.session(&intake).give_iterator(reader.take().into_iter());
                    if tick.stage != Stage::Rebuild {
                        let closed = reader.take_oldest_ms().map(|oldest_ms| (tick.epoch, oldest_ms));
                        reports.session(&report).give(reader.report(closed));
                    }
                }
                reader.begin(&next.0);
                open = Some(next);
            }
            if frontiers[0].is_empty() {
                open = None;
            }
            let Some((tick, intake, report)) = &open else { return };
            // Who is to end reads no more, and so meets no more trouble.
            if tick.stage != Stage::Live || reader.is_full() || ending.is_due() {
                return;
            }
            let more = reader.read_on().unwrap_or_else(|error| {
                ending.because(error);
                false
            });
            if reader.is_batch_full() {
                intakes.session(intake).give_iterator(reader.take().into_iter());
            }
            if reader.is_news() {
                reports.session(report).give(reader.report(None));
            }
            if more {
                activator.activate();
            } else if looks_at <= Instant::now() {
                // One look is due at a time, however often the operator is woken before.
                looks_at = Instant::now() + LOOK_INTERVAL;
                activator.activate_after(LOOK_INTERVAL);
            }
        }
    });
    Ok(Source { intakes, reports })
}
