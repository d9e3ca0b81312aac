//! What the processes of a running cluster tell each other besides plays: that one is to end, or
//! cannot write.
//!
//! Each process reports its state to process 0 with the ticks, and process 0 sends orders to all
//! others. Both travel in the dataflow, so a run of one process uses the same path.

use std::time::{Duration, Instant};

use reprise_dataflows::{Epoch, Stage, Tick};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Operator;

use crate::process::shutdown::{Order, Shutdown};
use crate::report::{ProcessReport, Report};

/// How often a process reports while its state does not change.
const INTERVAL: Duration = Duration::from_secs(1);

/// Reports the state of this process, which `look` returns: at the next tick after it changes, at
/// the tick that stops the run, and at least once a second. `look` is `Some` on one worker of
/// each process only.
pub fn report_process<'scope>(
    ticks: StreamVec<'scope, Epoch, Tick>,
    look: Option<impl Fn() -> ProcessReport + 'static>,
) -> StreamVec<'scope, Epoch, Report> {
    let mut last: Option<(ProcessReport, Instant)> = None;
    ticks.unary(Pipeline, "ReportProcess", move |_capability, _info| {
        move |input, output| {
            input.for_each(|capability, ticks| {
                let stops = ticks.drain(..).any(|tick| tick.stage == Stage::Stop);
                let Some(report) = look.as_ref().map(|look| look()) else { return };
                let is_news = last.as_ref().is_none_or(|(last, at)| {
                    (&last.shutdown, &last.paused) != (&report.shutdown, &report.paused) || at.elapsed() >= INTERVAL
                });
                if is_news || stops {
                    last = Some((report.clone(), Instant::now()));
                    output.session(&capability).give(Report::Process(report));
                }
            });
        }
    })
}

/// Passes the orders that this process receives to `shutdown`.
pub fn apply_orders(orders: StreamVec<'_, Epoch, Order>, shutdown: Shutdown) {
    orders.sink(Pipeline, "Orders", move |(input, _frontier)| {
        input.for_each(|_capability, orders| orders.drain(..).for_each(|order| shutdown.apply(order)));
    });
}
