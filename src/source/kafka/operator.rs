//! The operator: it stamps what a [`Reader`] has read with the newest tick.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use reprise_dataflows::operators::{Outputs, TickedSource, Turn, by_tick};
use reprise_dataflows::{Epoch, Stage, Tick};
use timely::dataflow::StreamVec;

use super::reader::Reader;
use super::share::Share;
use crate::intake::Intake;
use crate::kafka::TopicConfig;
use crate::process::shutdown::Shutdown;
use crate::report::Report;
use crate::source::Source;

/// Records wake the operator. It checks for other events, such as errors and added partitions, at
/// this interval.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Reads a worker's `share` of `broker`'s topic, in the epochs that `ticks` begin. Permanent errors
/// during the run go to `shutdown`.
///
/// # Errors
/// If the consumer cannot be started.
pub fn kafka<'scope>(
    ticks: StreamVec<'scope, Epoch, Tick>,
    broker: &TopicConfig,
    share: Share,
    shutdown: Shutdown,
) -> Result<Source<'scope>> {
    let (intakes, reports) = by_tick("Kafka", ticks, |waker| {
        let wake = move || {
            // Fails for a worker that has ended, which needs no waking.
            let _ = waker.activate();
        };
        let reader = Reader::new(broker, share, wake)?;
        anyhow::Ok(Reading { reader, shutdown, polls_at: Instant::now() })
    })?;
    Ok(Source { intakes, reports })
}

struct Reading {
    reader: Reader,
    shutdown: Shutdown,
    /// When the operator is next due to run without new records.
    polls_at: Instant,
}

impl TickedSource for Reading {
    type Outputs = (Arc<Intake>, Report);

    fn end(&mut self, tick: &Tick, (intakes, reports): <Self::Outputs as Outputs<Epoch>>::Emit<'_>) {
        self.reader.take().into_iter().for_each(intakes);
        if tick.stage != Stage::Rebuild {
            let closed = self.reader.take_oldest_ms().map(|oldest_ms| (tick.epoch, oldest_ms));
            reports(self.reader.report(closed));
        }
    }

    fn begin(&mut self, tick: &Tick) {
        self.reader.begin(tick);
    }

    fn turn(&mut self, tick: &Tick, (intakes, reports): <Self::Outputs as Outputs<Epoch>>::Emit<'_>) -> Turn {
        // A process that is ending reads no more, so it meets no more errors either.
        if tick.stage != Stage::Live || self.reader.is_full() || self.shutdown.is_due() {
            return Turn::Woken;
        }
        let more = self.reader.read_on().unwrap_or_else(|error| {
            self.shutdown.because(error);
            false
        });
        if self.reader.is_batch_full() {
            self.reader.take().into_iter().for_each(intakes);
        }
        if self.reader.announces() {
            reports(self.reader.report(None));
        }
        if more {
            return Turn::Next;
        }
        // Only one timed activation is pending, however often the operator is woken before.
        if self.polls_at > Instant::now() {
            return Turn::Woken;
        }
        self.polls_at = Instant::now() + POLL_INTERVAL;
        Turn::After(POLL_INTERVAL)
    }
}
