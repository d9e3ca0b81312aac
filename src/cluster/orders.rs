//! What the processes of a running cluster tell each other beside the plays: that one is to end, or cannot write.
//!
//! Each process reports to process 0 with the ticks, and process 0 orders all others. It travels in the dataflow, like
//! everything else, so a process alone goes the same way.

use std::time::{Duration, Instant};

use reprise_dataflows::{Epoch, Stage, Tick};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Operator;

use crate::process::shutdown::{Order, Shutdown};
use crate::report::{ProcessReport, Report};

/// How often a process reports that has nothing new to say.
const INTERVAL: Duration = Duration::from_secs(1);

/// Reports how this process is, by `look`: at once when there is news, and now and then. Only one worker of a process does.
pub fn pulse<'scope>(
    ticks: StreamVec<'scope, Epoch, Tick>,
    look: Option<impl Fn() -> ProcessReport + 'static>,
) -> StreamVec<'scope, Epoch, Report> {
    let mut last: Option<(ProcessReport, Instant)> = None;
    ticks.unary(Pipeline, "Pulse", move |_capability, _info| {
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

/// Has this process do what it is ordered to.
pub fn obey(orders: StreamVec<'_, Epoch, Order>, shutdown: Shutdown) {
    orders.sink(Pipeline, "Orders", move |(input, _frontier)| {
        input.for_each(|_capability, orders| orders.drain(..).for_each(|order| shutdown.obey(order)));
    });
}
